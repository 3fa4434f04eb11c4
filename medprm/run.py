"""Everything around a run that is not its work: the folder, the log, seeds, threads, and what is kept to repeat it.

A run's folder holds `config.yaml` (resolved settings), `run.json` (versions, git commit, data hash and counts, command
line), `log.txt`, `metrics.jsonl`, `checkpoint-N/` (to resume from) and `checkpoint/` (the result). Only the first of
several processes writes.
"""

import json
import logging
import math
import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import yaml

from medprm import __version__
from medprm.cases.atomic import replaced_file
from medprm.config import AnnotateConfig, AnyConfig, EvaluateConfig, SearchConfig
from medprm.errors import InputError
from medprm.tracking import redact

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
RUN_FILE = "run.json"
PLAN_FILE = "plan.json"
# Whoever makes this file in a run's folder asks the run to save a checkpoint and end.
STOP_FILE = "stop"
_HANDLER = "medprm-run"
PACKAGES = ("torch", "transformers", "accelerate", "peft", "deepspeed", "numpy", "pillow", "pydicom", "tokenizers")
# What may differ when a run goes on: it does not change the weights.
FREE_ON_RESUME = (
    "resume",
    "overwrite",
    "output_dir",
    "run_name",
    "num_threads",
    "tracking",
    "tiles",
    "plan",
    "training.disable_tqdm",
    "training.dataloader_num_workers",
    "training.save_total_limit",
)
# Their product with the number of processes is the number of solutions in an optimiser step, which must stay.
PARTS_OF_A_STEP = ("training.per_device_train_batch_size", "training.gradient_accumulation_steps")


class RunError(InputError):
    """A run cannot start as asked."""


class RunStopped(Exception):
    """A run was asked to end before its last step; it can go on from the checkpoint it has saved."""


def num_processes() -> int:
    """Processes of this run, as torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def num_cores_of_a_process() -> int:
    """Cores of this machine for each of its processes of this run."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def is_first_process() -> bool:
    return process_rank() == 0


@contextmanager
def joined_processes() -> Iterator[Callable[[], None]]:
    """Within it the processes of this run can wait for each other by the function given; alone it does nothing."""
    if num_processes() == 1:
        yield lambda: None
        return
    import torch.distributed  # heavy

    # Tensors never travel: gloo serves beside GPUs, too. One process may be far ahead of another.
    torch.distributed.init_process_group("gloo", timeout=timedelta(days=1))
    try:
        yield lambda: torch.distributed.barrier() and None
    finally:
        torch.distributed.destroy_process_group()


def check_launch(scale: str, is_said: bool, arguments: Sequence[str]) -> None:
    """Refuse the laptop's scale on more than a laptop, unless it was asked for by name."""
    if scale != "laptop" or is_said:
        return
    rest = " ".join(arguments[1:])
    if num_processes() > 1:
        found, meant = f"{num_processes()} processes", f"torchrun ... train.py {rest} scale=node8"
    else:
        import torch  # heavy, and training needs it right after

        if not torch.cuda.is_available():
            return
        found, meant = "a GPU", f"python train.py {rest} scale=gpu"
    raise RunError(
        f"{found} but scale=laptop (the default: tiny model, CPU); probably meant: {meant}; "
        "scale=laptop on the command line goes ahead as it is"
    )


def prepare_run_folder(folder: Path, resume: bool, overwrite: bool, ways_out: str) -> None:
    """Make the folder; one that exists is refused, resumed or deleted. Only folders of runs are ever deleted."""
    if not is_first_process():
        return
    if folder.exists() and not folder.is_dir():
        raise RunError(
            f"{folder}: a file is in the way; expected a folder or nothing; move it or choose another run_name"
        )
    names = {path.name for path in folder.iterdir()} - {PLAN_FILE, STOP_FILE} if folder.is_dir() else set()
    if names and not resume:
        if not overwrite:
            raise RunError(f"{folder} exists already; {ways_out}")
        if not (folder / CONFIG_FILE).is_file():
            raise RunError(
                f"{folder} holds no {CONFIG_FILE}, so it is no run and is not deleted; choose another run_name"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def begin_run(
    folder: Path,
    config: EvaluateConfig | AnnotateConfig | SearchConfig,
    ways_out: str,
    free: tuple[str, ...],
    meet: Callable[[], None] = lambda: None,
) -> Path:
    """The folder, the log, what is kept to repeat the run, seeds and threads; returns the folder.

    `free`: settings that may differ where the run goes on. `meet` waits for the other processes.
    """
    from transformers.utils import logging as transformers_logging  # heavy

    prepare_run_folder(folder, config.resume, config.overwrite, ways_out)
    meet()
    start_log(folder)
    transformers_logging.disable_progress_bar()  # of weight files; ours stay
    if config.resume and (folder / CONFIG_FILE).is_file():
        check_same_config(folder, config, free)
    save_config(folder, config)
    save_run(folder, **provenance())
    set_seed_and_threads(config.seed, config.num_threads)
    return folder


class _Terminal(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what is standard error at the moment, not at the start."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Given by the parent class; not used."""


def start_log(folder: Path) -> None:
    """Our messages to the terminal; those and the warnings of all libraries to log.txt.

    The other processes show warnings of ours only.
    """
    everything, ours = logging.getLogger(), logging.getLogger("medprm")
    for owner in (everything, ours):
        for handler in [one for one in owner.handlers if one.name == _HANDLER]:
            owner.removeHandler(handler)
            handler.close()
    ours.setLevel(logging.INFO if is_first_process() else logging.WARNING)
    logging.captureWarnings(True)
    file = logging.FileHandler(folder / "log.txt", encoding="utf-8") if is_first_process() else logging.NullHandler()
    for owner, handler in ((ours, _Terminal()), (everything, file)):
        handler.name = _HANDLER
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        owner.addHandler(handler)


def set_seed_and_threads(seed: int, num_threads: int | None) -> None:
    """Every generator gets the seed. By default the processes of this machine share its cores."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(num_threads or num_cores_of_a_process())


def save_config(folder: Path, config: AnyConfig) -> None:
    """The resolved settings as YAML."""
    if is_first_process():
        _write(folder / CONFIG_FILE, yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))


def check_same_config(folder: Path, config: AnyConfig, free: tuple[str, ...] = FREE_ON_RESUME) -> None:
    """A run goes on with the settings it began with but for the `free` ones, else RunError naming what differs."""
    saved = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    before, now = flat(saved), flat(asdict(config))
    differ = [
        f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not key.startswith((*free, *PARTS_OF_A_STEP))
    ]
    ranks_before = int(read_run(folder).get("num_processes", num_processes()))
    steps = [
        (math.prod(int(values[part]) for part in PARTS_OF_A_STEP if values.get(part)) * ranks, ranks)
        for values, ranks in ((before, ranks_before), (now, num_processes()))
    ]
    if any(part in now for part in PARTS_OF_A_STEP) and steps[0][0] != steps[1][0]:
        differ.append(
            f"solutions in an optimiser step were {steps[0][0]} on {steps[0][1]} processes, are {steps[1][0]} on "
            f"{steps[1][1]} (set {' and '.join(PARTS_OF_A_STEP)})"
        )
    if differ:
        raise RunError(
            f"{folder}: resume=true with other settings: {'; '.join(differ)}; "
            "give those it began with, or another run_name"
        )


def check_same_data(folder: Path, content_hash: str) -> None:
    """A run goes on with the data it began with."""
    before = read_run(folder).get("data", {}).get("hash")
    if before is not None and before != content_hash:
        raise RunError(
            f"{folder}: resume=true but the data changed since the run began (sha256 {before[:12]}, now "
            f"{content_hash[:12]}); restore the data, or start another run_name"
        )


def read_run(folder: Path) -> dict[str, Any]:
    """run.json, empty where there is none."""
    path = folder / RUN_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def save_run(folder: Path, **sections: Any) -> None:
    """Add sections to run.json; what it holds of others stays."""
    if is_first_process():
        _write(folder / RUN_FILE, json.dumps(read_run(folder) | sections, indent=2, ensure_ascii=False) + "\n")


def provenance() -> dict[str, Any]:
    """Which code ran on what."""
    versions = {"medprm": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "command": redact({"argv": list(sys.argv)})["argv"],
        "versions": versions,
        "git": git_state(Path(__file__).resolve().parents[1]),
        "platform": platform.platform(),
        "num_processes": num_processes(),
    }


def git_state(checkout: Path) -> dict[str, Any] | None:
    """Commit and whether tracked files differ from it; None where the code is no git checkout."""
    if not (checkout / ".git").exists():
        return None
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(checkout, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError) as error:
        logger.warning("the git commit is not known (%s)", error)
        return None


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested mappings as one, names joined by dots."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        here = f"{path}.{name}" if path else str(name)
        result |= flat(value, here) if isinstance(value, Mapping) and value else {here: value}
    return result


def _write(path: Path, text: str) -> None:
    with replaced_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
