"""A DeepSpeed checkpoint of one number of processes made readable for any other.

In: a run's `checkpoint-N`, complete, written by this run. Out: beside its `global_stepN` a folder
`global_stepN_universal` in DeepSpeed's universal layout (arXiv 2406.18820): weights and optimiser states whole, one
folder for each weight; and a file `latest_universal`, written last. DeepSpeed reads its checkpoints by pickle: only a
run's own folder is given here.
"""

import contextlib
import io
import logging
import shutil
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from medprm.cases.atomic import replaced_file
from medprm.errors import InputError

logger = logging.getLogger(__name__)

LATEST = "latest"
LATEST_UNIVERSAL = "latest_universal"


def reading_universal(deepspeed: Mapping[str, Any]) -> dict[str, Any]:
    """The same DeepSpeed configuration, resuming from the universal layout."""
    return {**deepspeed, "checkpoint": {**deepspeed.get("checkpoint", {}), "load_universal": True}}


class MendUniversal(TrainerCallback):
    """Sets right what DeepSpeed 0.19.8 leaves wrong in AdamW after it has read the universal layout under ZeRO-3.

    One step counter serves all weights, so that each step counts several times; and every group of weights gets the
    first one's weight decay, biases and norms too. The Trainer makes two groups: with decay, and without.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        optimizer = kwargs["optimizer"]
        while hasattr(optimizer, "optimizer"):
            optimizer = optimizer.optimizer
        for values in optimizer.state.values():
            if torch.is_tensor(values.get("step")):
                values["step"] = values["step"].clone()
        decays = [args.weight_decay, *[0.0] * (len(optimizer.param_groups) - 1)]
        for group, decay in zip(optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay


def ensure_universal(checkpoint: Path, is_first_process: bool, wait_seconds: float = 5.0) -> None:
    """Convert `checkpoint` unless that is done; the other processes wait, however long it takes.

    Before the processes are joined: a conversion of hours would be longer than any timeout of a collective call.
    Raises InputError where DeepSpeed cannot convert it.
    """
    if is_first_process:
        if not (checkpoint / LATEST_UNIVERSAL).is_file():
            _convert(checkpoint)
        return
    while not (checkpoint / LATEST_UNIVERSAL).is_file():
        time.sleep(wait_seconds)


def _convert(checkpoint: Path) -> None:
    from deepspeed.checkpoint import ds_to_universal  # heavy and optional  # pyright: ignore[reportMissingImports]

    tag = (checkpoint / LATEST).read_text(encoding="utf-8").strip()
    logger.info("%s was written by another number of processes: made readable for this one", checkpoint)
    # A folder of its own: DeepSpeed writes its own note of the newest checkpoint beside what it converts.
    draft = checkpoint / ".universal"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    given = Namespace(
        input_folder=str(checkpoint / tag),
        output_folder=str(draft / tag),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            ds_to_universal.main(given)
    # Its converter asserts, where others raise.
    except (AssertionError, RuntimeError, ValueError, KeyError, NotImplementedError) as error:
        raise InputError(
            f"{checkpoint}: DeepSpeed cannot convert it for another number of processes ({error}); resume with the "
            "number that wrote it"
        ) from error
    target = checkpoint / f"{tag}_universal"
    shutil.rmtree(target, ignore_errors=True)
    (draft / tag).rename(target)
    shutil.rmtree(draft)
    with replaced_file(checkpoint / LATEST_UNIVERSAL) as file:
        file.write_text(target.name, encoding="utf-8")
