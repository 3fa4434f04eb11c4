"""The settings of `annotate`."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from medprm.annotation.settings import (
    ConsensusSettings,
    ExpertSettings,
    JudgeSettings,
    MonteCarloSettings,
    RetrievalSettings,
    SolutionSettings,
    StageSettings,
    check_fitted,
    check_search,
    check_unread,
)
from medprm.cases.filters.settings import FilterSettings
from medprm.cases.settings import AnswerSettings
from medprm.clients.settings import GuardSettings, PriceSettings, ServerSettings
from medprm.config.checks import check_addresses, check_model, check_null_or_positive, check_resume
from medprm.config.data import DataSettings
from medprm.encoding.settings import EncodingSettings, LabelSettings
from medprm.errors import InputError, check_least
from medprm.evaluation.settings import EvaluationSettings
from medprm.training.settings import PackingSettings

RUN_STAGES = ("solutions", "machines", "experts")
PHANTOM_CASES = 32  # what annotate does of the phantom in about three minutes on two cores


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
    # n: put the shards 0/n to n-1/n of this run together (stages=[solutions]: their candidates), and go on with the
    # experts; null: there are none.
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
    # Of the whole run: each of n shards may spend an n-th of it.
    budget_dollars: float | None = None
    # Say what the run would cost, and send nothing.
    estimate: bool = False
    # What an hour of computing on this site costs: a line of the ledger.
    dollars_per_compute_hour: float = 0.0
    # Resamples of the report's intervals.
    num_bootstrap: int = 2000

    def __post_init__(self) -> None:
        check_resume(self.resume, self.overwrite)
        check_null_or_positive("max_cases", self.max_cases)
        check_least("budget_dollars", self.budget_dollars or 0.0, 0.0)
        check_least("dollars_per_compute_hour", self.dollars_per_compute_hour, 0.0)
        self._check_cases()
        check_search(self.monte_carlo, self.consensus)
        check_fitted(self.monte_carlo, self.consensus)
        self._check_parts()
        self._check_answers()
        check_addresses("judge", self.judge.kind, "judge_server", self.judge_server)
        check_model("judge_server", self.judge_server)
        check_addresses("policy", self.monte_carlo.policy, "policy_server", self.policy_server)
        check_model("policy_server", self.policy_server)
        if self.expert.kind == "auto":
            self.expert.kind = "simulated" if self.is_phantom else "none"
        if self.expert.kind != "simulated" and self.stage.name in ("none", "prototype"):  # pilot and full say three
            reason = f"only kind=simulated reads it (kind={self.expert.kind})"
            check_unread("expert", self.expert, ("num_experts", "double_share"), reason)
        if self.is_phantom and self.max_cases is None:
            self.max_cases = PHANTOM_CASES
        check_null_or_positive("num_threads", self.num_threads)

    def _check_cases(self) -> None:
        """One source of cases, and a truth for whoever is simulated."""
        if self.cases is None and self.image_root is not None:
            raise InputError("image_root is set but cases is null: a data folder and the phantom know their images")
        if self.cases is not None and self.data.path is not None:
            raise InputError(f"cases={self.cases} and data.path={self.data.path}: two sources of cases; leave one out")
        if not self.is_phantom and self.expert.kind == "simulated":
            raise InputError("expert.kind=simulated knows the truth of the phantom only, not of cases of your own")

    def _check_parts(self) -> None:
        """Stages, shards, and the servers of solutions."""
        if not self.stages or self.stages != list(RUN_STAGES[: len(self.stages)]):
            raise InputError(f"stages={self.stages}; expected {list(RUN_STAGES)}, or the first one or two of them")
        if self.shard is not None:
            parse_shard(self.shard)
            if self.merge_shards is not None:
                raise InputError(f"shard={self.shard} and merge_shards={self.merge_shards}: one first, then the other")
        check_null_or_positive("merge_shards", self.merge_shards)
        for name, server in self.solution_servers.items():
            if not server.base_urls or not server.model:
                raise InputError(f"solution_servers.{name}: expected base_urls=[http://HOST:PORT/v1] and model=NAME")
        models = [server.model for server in self.solution_servers.values()]
        if len(set(models)) < len(models):
            raise InputError(
                f"solution_servers ask for the models {models}; expected another name of each, since solutions and "
                "what was bought are known by it: give all addresses of one model as base_urls of one server"
            )

    def _check_answers(self) -> None:
        """Open answers need cases that have them, and whoever compares them."""
        if self.is_phantom and self.answers != AnswerSettings():
            raise InputError("answers.* is set but the phantom's questions all have options: it would change nothing")
        if self.answers.open == "judge" and self.judge.kind != "server":
            raise InputError(
                f"answers.open=judge with judge.kind={self.judge.kind}: only a server can compare open answers; choose "
                "judge.kind=server or answers.open=text"
            )

    @property
    def is_phantom(self) -> bool:
        """Whether the built-in cases are annotated."""
        return self.cases is None and self.data.path is None


@dataclass
class AnnotateComposition(AnnotateConfig):
    """What Hydra composes for `annotate`, likewise."""

    # Not read: labels are made here, and trained on elsewhere.
    labels: LabelSettings = field(default_factory=LabelSettings)
    # Not read, likewise.
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    # Not read, likewise.
    packing: PackingSettings = field(default_factory=PackingSettings)
    # Not read, likewise.
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)


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
