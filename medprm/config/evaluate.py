"""The settings of `evaluate`."""

from dataclasses import dataclass, field

from medprm.clients.settings import GuardSettings
from medprm.config.checks import check_null_or_positive, check_resume
from medprm.config.data import DataSettings
from medprm.config.tracking import TrackingSettings
from medprm.encoding.settings import BLANKS, EncodingSettings, LabelSettings, TileSettings
from medprm.errors import InputError, check_choice
from medprm.evaluation.settings import EvaluationSettings
from medprm.scoring.settings import CALIBRATION_KINDS, ScoringSettings
from medprm.training.settings import PackingSettings


@dataclass
class EvaluateConfig:
    """`python evaluate.py`."""

    # The run that is evaluated.
    run_name: str = "cxr"
    # The run's folder.
    output_dir: str = "outputs/cxr"
    # Folder of the trained PRM; null: `checkpoint` in output_dir.
    checkpoint: str | None = None
    # Folder below output_dir for the results; null: evaluation, or permuted_<input>, blank_<inputs>.
    name: str | None = None
    # Go on with scoring that was interrupted; rows that were scored are not scored again.
    resume: bool = False
    # Delete results that are there.
    overwrite: bool = False
    # Of the permutation.
    seed: int = 0
    # CPU threads; null: all cores.
    num_threads: int | None = None
    data: DataSettings = field(default_factory=DataSettings)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    # What is kept of decoded images.
    tiles: TileSettings = field(default_factory=TileSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    # Where what is made of the cases may go.
    guard: GuardSettings = field(default_factory=GuardSettings)
    # Control: swap images, contexts or documents between the patients of the test split; null: as they are.
    permute: str | None = None
    # Control: inputs taken away (images, context, documents); null: as the model was trained.
    blank: list[str] | None = None
    # scored.jsonl of a run with labels=outcome on the same cases: its last step is the selector `orm`; null: none.
    orm: str | None = None
    # Keep with the checkpoint the map fitted on validation: temperature or isotonic; null: none is kept.
    save_calibration: str | None = None
    # Score only the first so many cases of each split; null: all.
    max_cases: int | None = None

    def __post_init__(self) -> None:
        check_resume(self.resume, self.overwrite)
        if self.save_calibration is not None:
            check_choice("save_calibration", self.save_calibration, CALIBRATION_KINDS)
            if self.scoring.calibration != "none":
                raise InputError("save_calibration with scoring.calibration=saved would fit a map of mapped scores")
            if self.permute or self.blank:
                raise InputError("save_calibration with a control (permute, blank): fit it on the inputs as they are")
        for one in [*([self.permute] if self.permute else []), *(self.blank or [])]:
            check_choice("permute and blank", one, BLANKS)
        if self.tracking.keep_checkpoint:
            raise InputError("tracking.keep_checkpoint=true: train.py keeps checkpoints, evaluate.py does not")
        check_null_or_positive("max_cases", self.max_cases)
        check_null_or_positive("num_threads", self.num_threads)


@dataclass
class EvaluateComposition(EvaluateConfig):
    """What Hydra composes for `evaluate`: an experiment may set these for training, and serves both verbs."""

    # Not read: a checkpoint says how it was trained.
    labels: LabelSettings = field(default_factory=LabelSettings)
    # Not read, likewise.
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    # Not read: scores do not depend on it; scoring.max_row_tokens and scoring.tree_attention are evaluation's own.
    packing: PackingSettings = field(default_factory=PackingSettings)
