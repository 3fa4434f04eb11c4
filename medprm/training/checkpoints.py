"""Which checkpoint of a run can be resumed from.

In: a run's folder. Out: its newest complete `checkpoint-N`, or None. A run that was killed while saving leaves a torn
checkpoint with the highest number, and `transformers.trainer_utils.get_last_checkpoint` would take it. Complete means:
every file of every process that wrote it; how many these were is in its `trainer_state.json` (`Writers`).
"""

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d+)")
STATE_FILE = "trainer_state.json"
WEIGHT_FILES = ("model.safetensors", "adapter_model.safetensors")
INDEX_FILE = "model.safetensors.index.json"
LATEST_FILE = "latest"


class Writers(TrainerCallback, ExportableState):
    """Leaves the number of processes in `trainer_state.json`, the last file that the Trainer writes."""

    def __init__(self, num_processes: int = 1) -> None:
        self.num_processes = num_processes

    def state(self) -> dict[str, Any]:
        return {"args": {"num_processes": self.num_processes}, "attributes": {}}


def find_resumable(run_folder: Path, num_processes: int = 1) -> Path | None:
    """The newest complete checkpoint; each incomplete one is skipped with a warning.

    `num_processes`: who wrote a checkpoint that does not say.
    """
    if not run_folder.is_dir():
        return None
    numbered = [(int(found[1]), path) for path in run_folder.iterdir() if (found := _NAME.fullmatch(path.name))]
    for number, path in sorted(numbered, reverse=True):
        fault = _fault(path, number, num_processes)
        if fault is None:
            return path
        logger.warning("%s is skipped: %s", path, fault)
    return None


def discard_newer(run_folder: Path, start: Path | None) -> None:
    """Remove the checkpoints after `start` (all, where it is None): each is incomplete, and the run would write the
    files of another number of processes between its."""
    first = int(_NAME.fullmatch(start.name)[1]) if start else -1  # type: ignore[index]
    for path in run_folder.iterdir():
        if (found := _NAME.fullmatch(path.name)) and int(found[1]) > first:
            logger.warning("%s is removed: it is incomplete", path)
            shutil.rmtree(path)


def num_writers(checkpoint: Path, default: int) -> int:
    """How many processes wrote a checkpoint with a readable state; `default` where it does not say."""
    state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    said = state.get("stateful_callbacks", {}).get(Writers.__name__, {}).get("args", {})
    return int(said.get("num_processes", default))


def is_sharded(checkpoint: Path) -> bool:
    """Whether DeepSpeed wrote the optimiser's states, each process its part."""
    return (checkpoint / LATEST_FILE).is_file()


def _fault(checkpoint: Path, number: int, num_processes: int) -> str | None:
    """Why a checkpoint cannot be resumed from; None where it can."""
    if found := _state_fault(checkpoint, number) or _weights_fault(checkpoint):
        return found
    written_by = num_writers(checkpoint, num_processes)
    return _optimiser_fault(checkpoint, written_by) or _random_state_fault(checkpoint, written_by)


def _state_fault(checkpoint: Path, number: int) -> str | None:
    # Written last by the Trainer.
    try:
        step = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))["global_step"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{STATE_FILE} cannot be read ({error})"
    return None if step == number else f"{STATE_FILE} is of step {step}"


def _weights_fault(checkpoint: Path) -> str | None:
    files = [checkpoint / name for name in WEIGHT_FILES if (checkpoint / name).is_file()]
    index = checkpoint / INDEX_FILE
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return f"{INDEX_FILE} cannot be read ({error})"
        files += [checkpoint / name for name in sorted(shards)]
    if not files:
        return f"no weights (expected one of {', '.join((*WEIGHT_FILES, INDEX_FILE))})"
    for file in files:
        try:
            # Checks the header against the length of the file; reads no tensor.
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            return f"{file.name} cannot be read ({error})"
    return None


def _optimiser_fault(checkpoint: Path, num_processes: int) -> str | None:
    if is_sharded(checkpoint):
        tag = (checkpoint / LATEST_FILE).read_text(encoding="utf-8").strip()
        return _deepspeed_fault(checkpoint / tag, num_processes)
    missing = [name for name in ("optimizer.pt", "scheduler.pt") if not _has_content(checkpoint / name)]
    return f"no {', '.join(missing)}" if missing else None


def _deepspeed_fault(folder: Path, num_processes: int) -> str | None:
    num_found = len(list(folder.glob("*zero_pp_rank_*_optim_states.pt")))
    if num_found == num_processes:
        return None
    return f"{folder.name} has the optimiser states of {num_found} processes, expected {num_processes}"


def _random_state_fault(checkpoint: Path, num_processes: int) -> str | None:
    names = ["rng_state.pth"] if num_processes == 1 else [f"rng_state_{rank}.pth" for rank in range(num_processes)]
    missing = [name for name in names if not _has_content(checkpoint / name)]
    if not missing:
        return None
    return f"no {', '.join(missing)}; cut while saving, or written by another number of processes"


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
