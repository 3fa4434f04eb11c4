"""The settings of `search`."""

from dataclasses import dataclass, field

from medprm.cases.settings import AnswerSettings
from medprm.clients.settings import GuardSettings, PriceSettings, ServerSettings
from medprm.config.checks import check_addresses, check_null_or_positive, check_resume
from medprm.config.data import DataSettings
from medprm.encoding.settings import TileSettings
from medprm.errors import InputError, check_choice, check_least
from medprm.evaluation.search_settings import SearchSettings
from medprm.scoring.settings import ScoringSettings


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
        check_resume(self.resume, self.overwrite)
        check_choice("split", self.split, ("validation", "test"))
        check_null_or_positive("max_cases", self.max_cases)
        check_least("budget_dollars", self.budget_dollars or 0.0, 0.0)
        check_null_or_positive("num_threads", self.num_threads)
        check_addresses("search.policy", self.search.policy, "policy_server", self.policy_server)
        if self.scoring.protocol != "own":
            raise InputError(
                f"scoring.protocol={self.scoring.protocol}: only checkpoints of this project guide a search"
            )
        if self.num_bootstrap < 100:
            raise InputError(f"num_bootstrap is {self.num_bootstrap}; a 95 % interval needs at least 100")
