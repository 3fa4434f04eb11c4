"""What is sent to Weights & Biases, and how."""

from dataclasses import dataclass

from medprm.errors import InputError, check_choice

WANDB_MODES = ("disabled", "offline", "online")


@dataclass
class TrackingSettings:
    """Weights & Biases. Metrics, tables of numbers and settings are sent, secrets redacted; texts and images never."""

    # disabled, offline (files below the run folder) or online.
    wandb: str = "disabled"
    # Project name there.
    project: str = "medprm"
    # evaluate: keep the report as an artifact, without its cases.
    keep_report: bool = False
    # train: keep the checkpoint as an artifact. Weights can hold what they were trained on: ask whose data that is.
    keep_checkpoint: bool = False

    def __post_init__(self) -> None:
        check_choice("tracking.wandb", self.wandb, WANDB_MODES)
        kept = [name for name in ("keep_report", "keep_checkpoint") if getattr(self, name)]
        if kept and self.wandb == "disabled":
            raise InputError(f"tracking.{kept[0]}=true with tracking.wandb=disabled: there is nowhere to keep it")
