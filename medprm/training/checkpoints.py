"""Which checkpoint of a run can be resumed from.

In: a run's folder. Out: its newest complete `checkpoint-N`, or None. A run that was killed while saving leaves a torn
checkpoint with the highest number, and `transformers.trainer_utils.get_last_checkpoint` would take it.
"""

import json
import logging
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d+)")
STATE_FILE = "trainer_state.json"
WEIGHT_FILES = ("model.safetensors", "adapter_model.safetensors")
INDEX_FILE = "model.safetensors.index.json"


def find_resumable(run_folder: Path, num_processes: int = 1) -> Path | None:
    """The newest complete checkpoint written by `num_processes`; each incomplete one is skipped with a warning."""
    if not run_folder.is_dir():
        return None
    numbered = [(int(found[1]), path) for path in run_folder.iterdir() if (found := _NAME.fullmatch(path.name))]
    for number, path in sorted(numbered, reverse=True):
        fault = _fault(path, number, num_processes)
        if fault is None:
            return path
        logger.warning("%s is skipped: %s", path, fault)
    return None


def _fault(checkpoint: Path, number: int, num_processes: int) -> str | None:
    """Why a checkpoint cannot be resumed from; None where it can."""
    return (
        _state_fault(checkpoint, number)
        or _weights_fault(checkpoint)
        or _optimiser_fault(checkpoint, num_processes)
        or _random_state_fault(checkpoint, num_processes)
    )


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
        except (ValueError, KeyError, TypeError, AttributeError) as error:
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
    latest = checkpoint / "latest"
    if latest.is_file():
        return _deepspeed_fault(checkpoint / latest.read_text(encoding="utf-8").strip(), num_processes)
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
    return f"no {', '.join(missing)}; it was written by another number of processes" if missing else None


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
