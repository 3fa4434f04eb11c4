"""The settings of `train`."""

from dataclasses import dataclass, field
from typing import Any

from medprm.clients.settings import GuardSettings
from medprm.config.checks import check_null_or_positive, check_resume
from medprm.config.data import DataSettings, LabelledSettings
from medprm.config.tracking import TrackingSettings
from medprm.encoding.settings import EncodingSettings, LabelSettings, TileSettings
from medprm.errors import InputError
from medprm.evaluation.settings import EvaluationSettings
from medprm.model.settings import ModelSettings, TuningSettings
from medprm.training.planning import PlanningSettings, stage_of
from medprm.training.settings import MixSettings, PackingSettings, SelectionSettings, TrainingSettings


@dataclass
class TrainConfig:
    """`python train.py`."""

    # Names the run; the folder follows from it.
    run_name: str = "cxr"
    # The run's folder; everything the run leaves is in it.
    output_dir: str = "outputs/cxr"
    # Go on from the newest complete checkpoint in output_dir.
    resume: bool = False
    # Delete a run that is in output_dir.
    overwrite: bool = False
    # Of every random number: data order, dropout, new weights.
    seed: int = 0
    # CPU threads of one process; null: all cores, shared between the processes of this machine.
    num_threads: int | None = None
    data: DataSettings = field(default_factory=DataSettings)
    # Labels that annotate.py has made for the train split.
    labelled: LabelledSettings = field(default_factory=LabelledSettings)
    # Which of the labelled solutions of the train split are trained on.
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    # Further sets to train on, and weights.
    mix: MixSettings = field(default_factory=MixSettings)
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)
    # A DeepSpeed configuration; empty: none.
    deepspeed: dict[str, Any] = field(default_factory=dict)
    packing: PackingSettings = field(default_factory=PackingSettings)
    # What is kept of decoded images.
    tiles: TileSettings = field(default_factory=TileSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    # How threshold and aggregation are chosen on validation and written into the checkpoint.
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    # Where what is made of the cases may go.
    guard: GuardSettings = field(default_factory=GuardSettings)
    # Say what the run will need, and train nothing.
    plan: bool = False
    # The machine that the plan reckons with.
    planning: PlanningSettings = field(default_factory=PlanningSettings)

    def __post_init__(self) -> None:
        check_resume(self.resume, self.overwrite)
        if self.tracking.keep_report:
            raise InputError("tracking.keep_report=true: evaluate.py writes the report, train.py does not")
        check_null_or_positive("num_threads", self.num_threads)
        self.mix.check_names(self.data.name)
        if self.mix.streaming and self.labelled.path is not None:
            raise InputError(
                "mix.streaming=true with labelled.path: labels of another file are laid over cases in memory; name the "
                "labelled file as train.jsonl of data.path instead"
            )
        _check_combination(self.tuning.kind, stage_of(self.deepspeed), self.training)


def _check_combination(tuning: str, stage: str, training: TrainingSettings) -> None:
    """What each setting allows by itself and all of them together do not."""
    if training.use_cpu:
        if tuning == "qlora":
            raise InputError(
                "tuning=qlora with training.use_cpu=true (scale=laptop): four-bit weights need a GPU; choose "
                "tuning=lora, or a scale with a GPU"
            )
        if stage == "zero3_offload":
            raise InputError(
                "deepspeed=zero3_offload with training.use_cpu=true (scale=laptop): there is no GPU memory to free; "
                "choose deepspeed=zero3 or none"
            )
    if tuning == "qlora" and stage.startswith("zero3"):
        raise InputError(
            f"tuning=qlora with deepspeed={stage}: weights in four bits are not sharded; choose tuning=lora with "
            f"{stage}, or deepspeed=zero2 or none with qlora"
        )
    if stage != "none" and training.trainer_extra.get("fsdp"):
        raise InputError("training.trainer_extra.fsdp with deepspeed: two ways to shard the weights; leave one out")
