"""`train.py` in several processes, and cut short: stopped on request, killed, resumed by as many or by others."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file
from small_run import train_arguments, train_config

from medprm.commands import train
from medprm.commands.entry import STOPPED
from medprm.model.settings import TuningSettings
from medprm.run import RunError

ROOT = Path(__file__).parents[2]
HALF = {"per_device_train_batch_size": 2, "eval_strategy": "no"}
WHOLE = HALF | {"per_device_train_batch_size": 4}


def program(num_processes: int, *arguments: str) -> subprocess.Popen[str]:
    """train.py under torchrun, or by itself for no process."""
    # Packages that compile look for their tools beside the interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PATH": path}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes)]
    command = [sys.executable, *(launcher if num_processes else []), "train.py", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)


def finished(process: subprocess.Popen[str], result: Path) -> str:
    """Standard error of a run that must leave `result`."""
    _, said = process.communicate(timeout=400)
    assert result.exists(), said[-3000:]
    return said


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the launcher and to every process of the run, which are in sessions of their own."""
    for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        one.kill()
    process.communicate(timeout=60)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], timeout_seconds: float = 200.0) -> None:
    end = time.monotonic() + timeout_seconds
    while not condition():
        assert process.poll() is None, "the run ended before it could be cut short"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def largest_difference(first: Path, second: Path) -> float:
    """Of any weight of two results."""
    one, two = (load_file(run / "checkpoint" / "model.safetensors") for run in (first, second))
    assert one.keys() == two.keys()
    return max(float((two[name] - value).abs().max()) for name, value in one.items())


def cut_after(run: Path, step: int, copy: Path) -> Path:
    """The run's folder as a kill behind `step` would have left it."""
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoint")
    for folder in copy.glob("checkpoint-*"):
        if int(folder.name.partition("-")[2]) > step:
            shutil.rmtree(folder)
    return copy


def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_weights(base: Path, records: Path, tmp_path: Path) -> None:
    """The file appears while the run is on its way, as a batch system's script makes it."""
    longer: dict[str, Any] = {"max_steps": 80, "save_steps": 40}
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = program(0, *train_arguments(base, records, stopped, longer))
    wait_for(lambda: (stopped / "metrics.jsonl").is_file() and bool(losses(stopped)), process)
    (stopped / "stop").touch()
    _, said = process.communicate(timeout=200)
    assert process.returncode == STOPPED, said[-2000:]
    (saved,) = stopped.glob("checkpoint-*")
    step = int(saved.name.partition("-")[2])
    assert 1 <= step < 80 and max(losses(stopped)) == step and f"at step {step}" in said
    assert not (stopped / "checkpoint").exists(), "half a training is no result"
    train.run(train_config(base, records, stopped, training=longer, resume=True))
    assert not (stopped / "stop").exists()
    train.run(train_config(base, records, whole, training=longer))
    assert largest_difference(whole, stopped) == 0


@pytest.mark.distributed
def test_plain_processes_may_be_more_or_fewer_when_a_run_goes_on(base: Path, records: Path, tmp_path: Path) -> None:
    two = tmp_path / "two"
    finished(program(2, *train_arguments(base, records, two, HALF | {"save_total_limit": 5})), two / "checkpoint")
    alone = cut_after(two, 4, tmp_path / "alone")
    with pytest.raises(RunError, match="an optimiser step were 4 on 2 processes, are 2 on 1"):
        train.run(train_config(base, records, alone, training=HALF, resume=True))
    train.run(train_config(base, records, alone, training=WHOLE, resume=True))
    assert "going on from" in (alone / "log.txt").read_text() and "checkpoint-4" in (alone / "log.txt").read_text()
    # Sums in another order.
    assert losses(alone) == pytest.approx(losses(two), abs=1e-4)
    assert largest_difference(two, alone) < 1e-4


@pytest.mark.distributed
@pytest.mark.timeout(600)
def test_adapters_beside_sharded_weights_give_the_checkpoint_of_one_process(
    base: Path, records: Path, tmp_path: Path
) -> None:
    """LoRA under ZeRO-3, two processes with two solutions each, against one process with four."""
    pytest.importorskip("deepspeed", reason="deepspeed is an extra: pip install 'medprm[train]'")
    two, one = tmp_path / "two", tmp_path / "one"
    given = ["tuning=lora", "tuning.lora_dropout=0", "deepspeed=zero3"]
    finished(program(2, *train_arguments(base, records, two, HALF), *given), two / "checkpoint")
    train.run(
        train_config(base, records, one, tuning=TuningSettings(kind="lora", lora_dropout=0.0), training=dict(WHOLE))
    )
    before, after = load_file(base / "model.safetensors"), load_file(one / "checkpoint" / "model.safetensors")
    assert max(float((before[name] - value).abs().max()) for name, value in after.items()) > 1e-4
    # Six steps of AdamW at a learning rate of 1e-3, which makes much of last digits where gradients are near zero.
    assert largest_difference(one, two) < 1e-4


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_a_killed_run_under_deepspeed_goes_on(stage: str, base: Path, records: Path, tmp_path: Path) -> None:
    """SIGKILL of every process; the newest checkpoint torn; resumed by two processes, and by one."""
    pytest.importorskip("deepspeed", reason="deepspeed is an extra: pip install 'medprm[train]'")
    longer = {"max_steps": 40, "save_steps": 2, "save_total_limit": 20}
    killed, whole, alone = tmp_path / "killed", tmp_path / "whole", tmp_path / "alone"

    def arguments(run: Path, settings: dict[str, Any]) -> list[str]:
        return [*train_arguments(base, records, run, settings | longer), f"deepspeed={stage}"]

    process = program(2, *arguments(killed, HALF))
    wait_for(lambda: (killed / "checkpoint-6" / "trainer_state.json").is_file(), process)
    kill(process)
    assert not (killed / "checkpoint").exists()
    for torn in killed.glob("checkpoint-*"):
        if int(torn.name.partition("-")[2]) > 4:
            next(torn.rglob("*rank_1*optim_states.pt")).unlink(missing_ok=True)
    shutil.copytree(killed, alone)

    finished(program(2, *arguments(whole, HALF)), whole / "checkpoint")
    finished(program(2, *arguments(killed, HALF), "resume=true"), killed / "checkpoint")
    finished(program(1, *arguments(alone, WHOLE), "resume=true"), alone / "checkpoint")
    for run in (killed, alone):
        said = (run / "log.txt").read_text()
        assert "checkpoint-6 is skipped" in said and "checkpoint-4\n" in said
    assert losses(killed) == losses(whole), "the same number of processes: bit for bit"
    assert largest_difference(whole, killed) == 0
    assert "made readable for this one" in (alone / "log.txt").read_text()
    # 36 more steps, with sums in another order.
    assert losses(alone) == pytest.approx(losses(whole), abs=1e-4)
    assert largest_difference(whole, alone) < 1e-3
