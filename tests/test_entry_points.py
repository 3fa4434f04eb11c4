"""However it is started, `import evaluate` finds Hugging Face's package; --help is quick; the scripts are inert."""

import importlib.util
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Runs in the started process, after its own work: says which file `import evaluate` finds.
PROBE = """
import atexit, importlib.util, sys
def say():
    spec = importlib.util.find_spec("evaluate")
    print("EVALUATE IS", spec and spec.origin, flush=True)
atexit.register(say)
"""
STARTS = {
    "train.py": ["train.py", "--help"],
    "evaluate.py": ["evaluate.py", "--help"],
    "annotate.py": ["annotate.py", "--help"],
    "train.py, safe path": ["-P", "train.py", "--help"],
    "python -m evaluate": ["-m", "evaluate", "--help"],
    "pytest": [str(Path(sys.executable).with_name("pytest")), "--collect-only", "-q", "tests/test_rooms.py"],
    "python -m pytest": ["-m", "pytest", "--collect-only", "-q", "tests/test_rooms.py"],
}


def start(arguments: list[str], folder: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(PROBE)
    # Under -P the script's folder is not searched: an uninstalled checkout has to be named.
    search = [str(folder), *([str(ROOT)] if "-P" in arguments else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(search)}
    environment.pop("PYTHONSAFEPATH", None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def found(output: str) -> Path:
    (line,) = [line for line in output.splitlines() if line.startswith("EVALUATE IS")]
    return Path(line.removeprefix("EVALUATE IS "))


def is_hugging_faces(path: Path) -> bool:
    return path.parent.name == "evaluate" and path.name == "__init__.py" and path != ROOT / "evaluate.py"


@pytest.mark.parametrize("arguments", STARTS.values(), ids=STARTS)
def test_evaluate_is_hugging_faces(arguments: list[str], tmp_path: Path) -> None:
    done = start(arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert is_hugging_faces(found(done.stdout)), done.stdout[-300:]


def test_a_checkout_behind_a_link_works(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ROOT)
    (tmp_path / "site").mkdir()
    done = start([str(tmp_path / "link" / "train.py"), "--help"], tmp_path / "site", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert is_hugging_faces(found(done.stdout))


def test_the_probe_can_fail(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("")
    (tmp_path / "evaluate.py").write_text("")
    (tmp_path / "site").mkdir()
    assert not is_hugging_faces(found(start([str(tmp_path / "script.py")], tmp_path / "site").stdout))


def test_evaluate_is_hugging_faces_in_this_process() -> None:
    spec = importlib.util.find_spec("evaluate")
    assert spec is not None and spec.origin is not None and is_hugging_faces(Path(spec.origin))


@pytest.mark.parametrize("name", ["train", "evaluate", "annotate"])
def test_importing_a_script_does_nothing(name: str) -> None:
    spec = importlib.util.spec_from_file_location(f"{name}_as_a_module", ROOT / f"{name}.py")
    assert spec is not None and spec.loader is not None
    modules, path = set(sys.modules), list(sys.path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(sys.modules) == modules and sys.path == path
    assert len((ROOT / f"{name}.py").read_text().splitlines()) <= 25


@pytest.mark.parametrize("name", ["train", "evaluate", "annotate"])
def test_help_is_quick_and_shows_the_common_commands(name: str, tmp_path: Path) -> None:
    """In seconds of a processor: on a machine that is busy otherwise they pass as slowly as it likes."""
    seconds = []
    for _ in range(2):  # the first may have to compile
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = start([f"{name}.py", "--help"], tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 6, seconds  # about 1 on an idle machine
    assert f"python {name}.py +experiment=cxr" in done.stdout
    assert "--cfg job" in done.stdout


def test_settings_answer_without_torch(tmp_path: Path) -> None:
    code = "import sys, medprm.commands.entry; print([n for n in ('torch', 'transformers') if n in sys.modules])"
    done = start(["-c", code], tmp_path)
    assert done.stdout.startswith("[]"), done.stdout + done.stderr
