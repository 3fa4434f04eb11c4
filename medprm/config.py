"""The settings of each verb, assembled from the rooms' own.

In: the composed mapping of `conf/`. Out: `TrainConfig`, `EvaluateConfig`, `AnnotateConfig` or `ReviewConfig`, typed and
checked. Light: no torch, no transformers, so that `--help` is quick. Rooms never import this file.
"""

import re
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeVar, cast

from omegaconf import DictConfig, OmegaConf

from medprm.annotation.settings import (
    ConsensusSettings,
    ExpertSettings,
    JudgeSettings,
    MonteCarloSettings,
    RetrievalSettings,
    SimulatedSettings,
    SolutionSettings,
    StageSettings,
    check_fitted,
    check_search,
)
from medprm.cases.filters.settings import FilterSettings
from medprm.cases.phantom.settings import PhantomSettings
from medprm.cases.settings import AnswerSettings
from medprm.clients.settings import GuardSettings, PriceSettings, ServerSettings
from medprm.encoding.settings import BLANKS, EncodingSettings, LabelSettings, TileSettings
from medprm.errors import InputError, check_choice
from medprm.evaluation.search_settings import SearchSettings
from medprm.evaluation.settings import EvaluationSettings
from medprm.model.settings import ModelSettings, TuningSettings
from medprm.review.settings import (
    AccountSettings,
    AddressSettings,
    ProtocolSettings,
    ReviewDataSettings,
    RuleSettings,
    check_together,
)
from medprm.scoring.settings import CALIBRATION_KINDS, ScoringSettings
from medprm.serving.settings import ServingSettings
from medprm.training.planning import PlanningSettings, stage_of
from medprm.training.settings import MixSettings, PackingSettings, SelectionSettings, TrainingSettings

RUN_STAGES = ("solutions", "machines", "experts")
WANDB_MODES = ("disabled", "offline", "online")
BUILT_IN = "cxr"
PHANTOM_CASES = 32  # what annotate does of the phantom in about three minutes on two cores


@dataclass
class DataSettings:
    """Which cases."""

    # A word for the set, shown in tables and reports; cxr alone is built in.
    name: str = "cxr"
    # Folder with train, validation and test as .jsonl or .parquet; null: the built-in phantom set.
    path: str | None = None
    # The phantom set, where path is null.
    phantom: PhantomSettings = field(default_factory=PhantomSettings)
    # Who labels the phantom's training solutions, where path is null.
    annotators: SimulatedSettings = field(default_factory=SimulatedSettings)

    def __post_init__(self) -> None:
        if self.path is None:
            if self.name != BUILT_IN:
                raise InputError(
                    f"data={self.name} has no built-in cases; give data.path=FOLDER with train, validation and test as "
                    f".jsonl or .parquet (conf/data/{self.name}.yaml)"
                )
            return
        for name, given in (("phantom", PhantomSettings()), ("annotators", SimulatedSettings())):
            if getattr(self, name) != given:
                raise InputError(
                    f"data.{name} is set but data.path={self.path} reads other cases; leave one of them out"
                )


@dataclass
class LabelledSettings:
    """Labels of an annotation run in the place of those of the train split."""

    # labelled.jsonl of annotate.py, or the same as Parquet; null: the split's own labels.
    path: str | None = None
    # Leave out the solutions that are not in the file; false: they keep the labels they have.
    only: bool = False

    def __post_init__(self) -> None:
        if self.only and self.path is None:
            raise InputError("labelled.only=true but labelled.path is null; name the file, or leave it out")


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
        _check_resume(self.resume, self.overwrite)
        if self.tracking.keep_report:
            raise InputError("tracking.keep_report=true: evaluate.py writes the report, train.py does not")
        _check_null_or_positive("num_threads", self.num_threads)
        self.mix.check_names(self.data.name)
        if self.mix.streaming and self.labelled.path is not None:
            raise InputError(
                "mix.streaming=true with labelled.path: labels of another file are laid over cases in memory; name the "
                "labelled file as train.jsonl of data.path instead"
            )
        _check_combination(self.tuning.kind, stage_of(self.deepspeed), self.training)


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
        _check_resume(self.resume, self.overwrite)
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
        _check_null_or_positive("max_cases", self.max_cases)
        _check_null_or_positive("num_threads", self.num_threads)


@dataclass
class AnnotateConfig:
    """`python annotate.py`."""

    # Names the run; the folder follows from it.
    run_name: str = "cxr"
    # The run's folder.
    output_dir: str = "outputs/cxr_labels"
    # Go on with the run in output_dir; what was bought or computed is not done again.
    resume: bool = False
    # Delete a run that is in output_dir.
    overwrite: bool = False
    # Of every random number.
    seed: int = 0
    # CPU threads of this process; null: all cores.
    num_threads: int | None = None
    # The date that the records carry (no clock is read, so that a run gives the same bytes again).
    date: str | None = None
    data: DataSettings = field(default_factory=DataSettings)
    # File of cases with solutions (.jsonl, .parquet); null: the train split of data.path, or the phantom's candidates.
    cases: str | None = None
    # Folder that image paths start from; null: the folder of `cases`.
    image_root: str | None = None
    # Only the first so many cases; null: all of a file, PHANTOM_CASES of the phantom's.
    max_cases: int | None = None
    # What is done, from the first on: solutions (for cases that have none), machines (judge and rollouts), experts.
    stages: list[str] = field(default_factory=lambda: list(RUN_STAGES))
    # i/n: only every n-th case, from case i on (0 <= i < n), as one task of a SLURM array; null: all of them.
    shard: str | None = None
    # n: put the shards 0/n to n-1/n of this run together, and go on with the experts; null: there are none.
    merge_shards: int | None = None
    # Which stage of a project this is, and its gates.
    stage: StageSettings = field(default_factory=StageSettings)
    # What is left out of training data, before annotation and by its labels.
    filters: FilterSettings = field(default_factory=FilterSettings)
    solutions: SolutionSettings = field(default_factory=SolutionSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    monte_carlo: MonteCarloSettings = field(default_factory=MonteCarloSettings)
    consensus: ConsensusSettings = field(default_factory=ConsensusSettings)
    expert: ExpertSettings = field(default_factory=ExpertSettings)
    # How final answers are read and compared with the reference answer.
    answers: AnswerSettings = field(default_factory=AnswerSettings)
    # judge.kind=server: where it is.
    judge_server: ServerSettings = field(default_factory=ServerSettings)
    # monte_carlo.policy=server: where it is.
    policy_server: ServerSettings = field(default_factory=ServerSettings)
    # Name -> server of a policy that makes solutions; empty: the Monte Carlo policy makes them.
    solution_servers: dict[str, ServerSettings] = field(default_factory=dict)
    # Where cases may go.
    guard: GuardSettings = field(default_factory=GuardSettings)
    # What models outside cost.
    prices: PriceSettings = field(default_factory=PriceSettings)
    # Most dollars for bought calls, those under way at their worst; null: no limit. The run stops cleanly before it.
    budget_dollars: float | None = None
    # Say what the run would cost, and send nothing.
    estimate: bool = False
    # What an hour of computing on this site costs: a line of the ledger.
    dollars_per_compute_hour: float = 0.0
    # Resamples of the report's intervals.
    num_bootstrap: int = 2000

    def __post_init__(self) -> None:
        _check_resume(self.resume, self.overwrite)
        _check_null_or_positive("max_cases", self.max_cases)
        if self.cases is None and self.image_root is not None:
            raise InputError("image_root is set but cases is null: a data folder and the phantom know their images")
        if self.cases is not None and self.data.path is not None:
            raise InputError(f"cases={self.cases} and data.path={self.data.path}: two sources of cases; leave one out")
        if not self.is_phantom and self.expert.kind == "simulated":
            raise InputError("expert.kind=simulated knows the truth of the phantom only, not of cases of your own")
        check_search(self.monte_carlo, self.consensus)
        check_fitted(self.monte_carlo, self.consensus)
        self._check_parts()
        if self.is_phantom and self.answers != AnswerSettings():
            raise InputError("answers.* is set but the phantom's questions all have options: it would change nothing")
        if self.answers.open == "judge" and self.judge.kind != "server":
            raise InputError(
                f"answers.open=judge with judge.kind={self.judge.kind}: only a server can compare open answers; choose "
                "judge.kind=server or answers.open=text"
            )
        for kind, server, name in (
            (self.judge.kind, self.judge_server, "judge"),
            (self.monte_carlo.policy, self.policy_server, "policy"),
        ):
            if (kind == "server") != bool(server.base_urls):
                raise InputError(
                    f"{name} is {kind!r} and {name}_server.base_urls is {list(server.base_urls)}: addresses go with a "
                    "server, and only with one"
                )
            if server.base_urls and not server.model:
                raise InputError(f"{name}_server.model is empty; name the model to ask for: {name}_server.model=NAME")
        if self.expert.kind == "auto":
            self.expert.kind = "simulated" if self.is_phantom else "none"
        if self.is_phantom and self.max_cases is None:
            self.max_cases = PHANTOM_CASES
        _check_null_or_positive("num_threads", self.num_threads)

    def _check_parts(self) -> None:
        """Stages, shards, and the servers of solutions."""
        if not self.stages or self.stages != list(RUN_STAGES[: len(self.stages)]):
            raise InputError(f"stages={self.stages}; expected {list(RUN_STAGES)}, or the first one or two of them")
        if self.shard is not None:
            parse_shard(self.shard)
            if self.merge_shards is not None:
                raise InputError(f"shard={self.shard} and merge_shards={self.merge_shards}: one first, then the other")
        _check_null_or_positive("merge_shards", self.merge_shards)
        for name, server in self.solution_servers.items():
            if not server.base_urls or not server.model:
                raise InputError(f"solution_servers.{name}: expected base_urls=[http://HOST:PORT/v1] and model=NAME")

    @property
    def is_phantom(self) -> bool:
        """Whether the built-in cases are annotated."""
        return self.cases is None and self.data.path is None


@dataclass
class ServeConfig:
    """`python -m medprm.serving`."""

    # Folder or hub id of the trained PRM.
    checkpoint: str | None = None
    # CPU threads; null: all cores.
    num_threads: int | None = None
    serving: ServingSettings = field(default_factory=ServingSettings)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    # What is kept of decoded images.
    tiles: TileSettings = field(default_factory=TileSettings)
    # Whose data may be answered about, and to which address.
    guard: GuardSettings = field(default_factory=GuardSettings)

    def __post_init__(self) -> None:
        if self.scoring.protocol != "own":
            raise InputError(f"scoring.protocol={self.scoring.protocol}: only checkpoints of this project are served")
        _check_null_or_positive("num_threads", self.num_threads)


@dataclass
class ReviewConfig:
    """`python -m medprm.review`."""

    # Names the review; the folder follows from it.
    run_name: str = "review"
    # The review's folder: verdicts, accounts and the log; it is gone on with whenever it is there.
    output_dir: str = "outputs/review"
    data: ReviewDataSettings = field(default_factory=ReviewDataSettings)
    rules: RuleSettings = field(default_factory=RuleSettings)
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)
    accounts: AccountSettings = field(default_factory=AccountSettings)
    address: AddressSettings = field(default_factory=AddressSettings)
    # How labels follow from sources in the merged records; the default: as in the annotation run beside data.path.
    consensus: ConsensusSettings = field(default_factory=ConsensusSettings)
    # Folder to write every export into, instead of serving.
    export: str | None = None
    # File of verdicts to take in (JSON Lines, or Label Studio's export .json), instead of serving.
    verdicts: str | None = None

    def __post_init__(self) -> None:
        check_together(self.address, self.rules, self.protocol, self.accounts)
        if self.export is not None and self.verdicts is not None:
            raise InputError("export and verdicts: one takes out, the other takes in; give one")


@dataclass
class SearchConfig:
    """`python -m medprm.commands.search`."""

    # The run whose checkpoint guides the search.
    run_name: str = "cxr"
    # The run's folder; results go to `search` below it.
    output_dir: str = "outputs/cxr"
    # Folder of the trained PRM; null: `checkpoint` in output_dir.
    checkpoint: str | None = None
    # Folder below output_dir for the results.
    name: str = "search"
    # Go on with a search that was interrupted: what was drawn is not drawn again.
    resume: bool = False
    # Delete results that are there.
    overwrite: bool = False
    # Of what is drawn.
    seed: int = 0
    # CPU threads; null: all cores.
    num_threads: int | None = None
    data: DataSettings = field(default_factory=DataSettings)
    # Which split's cases are solved.
    split: str = "test"
    # Only the first so many cases; null: all.
    max_cases: int | None = 40
    search: SearchSettings = field(default_factory=SearchSettings)
    # search.policy=server: where it is.
    policy_server: ServerSettings = field(default_factory=ServerSettings)
    # How final answers are read and compared with the reference answer.
    answers: AnswerSettings = field(default_factory=AnswerSettings)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    # What is kept of decoded images.
    tiles: TileSettings = field(default_factory=TileSettings)
    # Where cases may go.
    guard: GuardSettings = field(default_factory=GuardSettings)
    # What models outside cost.
    prices: PriceSettings = field(default_factory=PriceSettings)
    # Most dollars for bought calls; null: no limit.
    budget_dollars: float | None = None
    # Resamples of the intervals.
    num_bootstrap: int = 2000

    def __post_init__(self) -> None:
        _check_resume(self.resume, self.overwrite)
        check_choice("split", self.split, ("validation", "test"))
        _check_null_or_positive("max_cases", self.max_cases)
        _check_null_or_positive("num_threads", self.num_threads)
        if (self.search.policy == "server") != bool(self.policy_server.base_urls):
            raise InputError(
                f"search.policy is {self.search.policy!r} and policy_server.base_urls is "
                f"{list(self.policy_server.base_urls)}: addresses go with a server, and only with one"
            )
        if self.scoring.protocol != "own":
            raise InputError(
                f"scoring.protocol={self.scoring.protocol}: only checkpoints of this project guide a search"
            )
        if self.num_bootstrap < 100:
            raise InputError(f"num_bootstrap is {self.num_bootstrap}; a 95 % interval needs at least 100")


@dataclass
class EvaluateComposition(EvaluateConfig):
    """What Hydra composes for `evaluate`: an experiment may set these for training, and serves both verbs."""

    # Not read: a checkpoint says how it was trained.
    labels: LabelSettings = field(default_factory=LabelSettings)
    # Not read, likewise.
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    # Not read: scores do not depend on it; scoring.max_row_tokens and scoring.tree_attention are evaluation's own.
    packing: PackingSettings = field(default_factory=PackingSettings)


@dataclass
class AnnotateComposition(AnnotateConfig):
    """The same for `annotate`."""

    # Not read: labels are made here, and trained on elsewhere.
    labels: LabelSettings = field(default_factory=LabelSettings)
    # Not read, likewise.
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    # Not read, likewise.
    packing: PackingSettings = field(default_factory=PackingSettings)
    # Not read, likewise.
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)


AnyConfig = TrainConfig | EvaluateConfig | AnnotateConfig | ServeConfig | SearchConfig | ReviewConfig
Config = TypeVar("Config", bound=AnyConfig)

SCHEMAS: dict[str, type[AnyConfig]] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "annotate": AnnotateConfig,
    "serve": ServeConfig,
    "review": ReviewConfig,
    "search": SearchConfig,
}
COMPOSITIONS: dict[str, type[AnyConfig]] = SCHEMAS | {
    "evaluate": EvaluateComposition,
    "annotate": AnnotateComposition,
}
# What an experiment may set and the verb does not read.
NOT_READ = {
    verb: {one.name for one in fields(COMPOSITIONS[verb])} - {one.name for one in fields(schema)}
    for verb, schema in SCHEMAS.items()
}


def typed(composed: DictConfig, schema: type[Config]) -> Config:
    """The composed settings as dataclasses.

    Merged once more into a fresh schema: `+training.lr=1` adds a key that composition alone would let pass unread.
    """
    values = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    unread = next(NOT_READ[verb] for verb, one in SCHEMAS.items() if one is schema)
    values = {name: value for name, value in values.items() if name not in unread}
    return cast(Config, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values)))


class Shard(NamedTuple):
    """One of `num` parts of the cases, counted from 0."""

    index: int
    num: int


def parse_shard(text: str) -> Shard:
    """`3/16` -> shard 3 of 16."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not int(found[1]) < int(found[2]):
        raise InputError(f"shard={text}; expected i/n with 0 <= i < n, such as 0/16 to 15/16")
    return Shard(int(found[1]), int(found[2]))


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


def _check_resume(resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise InputError("resume=true and overwrite=true: one goes on with the run, the other deletes it; leave one")


def _check_null_or_positive(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise InputError(f"{name} is {value}; expected null or 1 or more")
