"""Settings of an evaluation: what is chosen on validation, what is resampled, what the report shows."""

from dataclasses import dataclass, field

from medprm.errors import InputError, check_choice
from medprm.scoring.aggregate import AGGREGATORS

AGGREGATIONS = tuple(AGGREGATORS)
"""The names `aggregation` may take, all of them reported; of equally good ones the first is chosen."""

PROTOCOLS = (
    *("visualprocessbench", "processbench", "prmbench", "mr_ben", "mr_gsm8k", "medec", "prm_clinic"),
    *("med_prm", "visualprm"),
)
"""The published protocols by name (protocols.py)."""


@dataclass
class EvaluationSettings:
    protocol: str | None = None  # numbers by a published protocol beside ours, one of PROTOCOLS; null: ours alone
    threshold: float | None = None  # step score from which a step counts as correct; null: best macro F1 on validation
    aggregation: str | None = None  # steps to solution, one of AGGREGATIONS; null: chosen on validation
    selection_candidates: int = 8  # N at which the aggregation is chosen on validation
    # values of N for Best-of-N; null: every one up to the most candidates that a case has
    max_candidates: list[int] | None = field(default_factory=lambda: [1, 2, 4, 8, 16, 32])
    num_bootstrap: int = 2000  # resamples of patients behind each 95 % interval
    greedy_first: bool = False  # the first candidate of each case was decoded greedily: every subset of N holds it
    num_vote_subsets: int = 1000  # sampled orders per case for the score-weighted vote, which has no closed form
    seed: int = 0  # of resampling, of the weighted vote and of the choice of cases shown
    num_report_cases: int = 12  # cases shown in the report

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"evaluation.threshold is {self.threshold}; expected null or a number from 0 to 1")
        if self.aggregation is not None and self.aggregation not in AGGREGATIONS:
            allowed = ", ".join(AGGREGATIONS)
            raise InputError(f"evaluation.aggregation is {self.aggregation!r}; expected null or one of {allowed}")
        if self.protocol is not None:
            check_choice("evaluation.protocol", self.protocol, PROTOCOLS)
        if self.max_candidates is not None and min(self.max_candidates, default=0) < 1:
            raise InputError(
                f"evaluation.max_candidates is {list(self.max_candidates)}; expected null (every N) or whole numbers "
                "of at least 1"
            )
        if self.num_bootstrap < 100:
            raise InputError(f"evaluation.num_bootstrap is {self.num_bootstrap}; a 95 % interval needs at least 100")
        for name in ("selection_candidates", "num_vote_subsets", "num_report_cases"):
            if getattr(self, name) < 1:
                raise InputError(f"evaluation.{name} is {getattr(self, name)}; expected a whole number of at least 1")
