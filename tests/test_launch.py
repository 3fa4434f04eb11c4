"""launch/: the scripts parse, and a dry run prints the command that would start."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path for path in (ROOT / "launch").iterdir() if path.suffix in (".sh", ".sbatch"))
OURS = ("one_node.sh", "slurm.sbatch", "slurm_sweep.sbatch")


def start(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    return subprocess.run(
        ["bash", str(ROOT / "launch" / script), *arguments],
        env=clean | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    files = [str(ROOT / "launch" / name) for name in OURS]
    done = subprocess.run(["shellcheck", *files], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_one_node_starts_a_process_per_gpu() -> None:
    done = start("one_node.sh", "+experiment=cxr", "data.path=a b", DRY_RUN="1", NPROC_PER_NODE="2", PYTHON="py")
    words = shlex.split(done.stdout)
    assert words[:3] == ["py", "-m", "torch.distributed.run"]
    assert words[words.index("--nproc-per-node") + 1] == "2"
    assert words[-3:] == ["train.py", "+experiment=cxr", "data.path=a b"]
    assert "--log-dir" in words


def test_one_node_without_a_gpu_says_so() -> None:
    done = start("one_node.sh", "+experiment=cxr", DRY_RUN="1", NPROC_PER_NODE="0")
    assert done.returncode == 2 and "set NPROC_PER_NODE" in done.stderr


def test_slurm_meets_at_the_first_node(tmp_path: Path) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\nprintf 'node7\\nnode8\\n'\n")
    scontrol.chmod(0o755)
    given = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "42", "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_GPUS_ON_NODE": "4", "SLURM_SUBMIT_DIR": str(tmp_path), "DRY_RUN": "1",
    }  # fmt: skip
    words = shlex.split(start("slurm.sbatch", "scale=cluster", "run_name=big", "data.path=a b", **given).stdout)
    options = dict(zip(words[3::2], words[4::2], strict=False))
    assert options["--rdzv-endpoint"] == "node7:29500" and options["--rdzv-id"] == "42"
    assert options["--nnodes"] == "2" and options["--nproc-per-node"] == "4"
    assert options["--log-dir"] == "logs/42/node_${SLURM_NODEID:-0}"
    assert words[-4:] == ["train.py", "scale=cluster", "run_name=big", "data.path=a b"]
    # A job that was queued again finds its run.
    (tmp_path / "outputs" / "big").mkdir(parents=True)
    (tmp_path / "outputs" / "big" / "config.yaml").write_text("")
    assert shlex.split(start("slurm.sbatch", "run_name=big", **given).stdout)[-1] == "resume=true"


def test_slurm_saves_and_queues_again_when_asked_to_stop(tmp_path: Path) -> None:
    """A stand-in for srun sends the signal and works until the stop file is there, as training does."""
    run = tmp_path / "outputs" / "big"
    run.mkdir(parents=True)
    programs = {
        "srun": f'kill -USR1 "$PPID"\nwhile [ ! -e {run}/stop ]; do sleep 0.05; done\nexit 1\n',
        "scontrol": f'echo "$@" >> {tmp_path}/asked\n',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "42", "SLURM_SUBMIT_DIR": str(tmp_path)}
    done = start("slurm.sbatch", "run_name=big", **given)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked").read_text() == "requeue 42\n"


def test_slurm_keeps_the_exit_code_of_a_failed_run(tmp_path: Path) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "srun").chmod(0o755)
    done = start("slurm.sbatch", "run_name=x", PATH=f"{tmp_path}:{os.environ['PATH']}", SLURM_SUBMIT_DIR=str(tmp_path))
    assert done.returncode == 3


def test_slurm_needs_the_name_of_the_run() -> None:
    done = start("slurm.sbatch", "scale=cluster", DRY_RUN="1")
    assert done.returncode == 2 and "give run_name=NAME" in done.stderr


def test_a_sweep_job_takes_one_trial() -> None:
    done = start("slurm_sweep.sbatch", "me/medprm/abc", DRY_RUN="1")
    assert shlex.split(done.stdout) == ["wandb", "agent", "--count", "1", "me/medprm/abc"]
    refused = start("slurm_sweep.sbatch", DRY_RUN="1")
    assert refused.returncode == 2 and "expected one argument" in refused.stderr
