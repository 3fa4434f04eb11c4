"""End a run early on request: a file in the run's folder, which a batch system's script makes before time is up.

A file, not a signal: torchrun answers signals itself and gives its processes 30 seconds, too few for a checkpoint of
8 billion parameters; and all ranks must end at the same step, or the last collective call hangs.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StopOnRequest(TrainerCallback):
    """At the first step after `file` appears: save a checkpoint, end training. `is_stopped` says that it did."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.is_stopped = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step < state.max_steps and self._is_asked(args.device):
            self.is_stopped = True
            control.should_save = True
            control.should_training_stop = True

    def _is_asked(self, device: torch.device) -> bool:
        """As the first rank sees it: shared folders show a new file at different moments."""
        asked = torch.tensor(int(self.file.exists()), device=device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.broadcast(asked, 0)
        return bool(asked.item())
