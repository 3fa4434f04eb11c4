"""What a published protocol is measured on, and ratios by part with one mean over the parts."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import Resampling
from medprm.statistics.bootstrap import Estimate, estimate, sum_by_cluster

ALL = "all"


class ProtocolInput(NamedTuple):
    """Scored solutions, what was chosen on validation, and the resampling of the report."""

    validation: Sequence[ScoredSolution]
    test: Sequence[ScoredSolution]
    threshold: float
    aggregation: str
    settings: EvaluationSettings
    resampling: Resampling

    def estimate(
        self, statistic: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, group_ids: Sequence[str]
    ) -> Estimate:
        """`statistic` of the sums of rows (n, K), resampled by group."""
        sums = sum_by_cluster(rows, self.resampling.clusters(group_ids))
        return estimate(statistic, sums, self.resampling.weights, len(rows))

    def mean_over_parts(
        self,
        statistic: Callable[[np.ndarray], np.ndarray],
        rows: np.ndarray,
        parts: Sequence[str],
        group_ids: Sequence[str],
    ) -> Estimate:
        """The mean over parts of the statistic of each part, every part weighing alike. rows (n, K), one part each."""
        names = sorted(set(parts))
        wide = np.zeros((len(rows), len(names), rows.shape[1]))
        wide[np.arange(len(rows)), [names.index(one) for one in parts]] = rows

        def mean(sums: np.ndarray) -> np.ndarray:
            return np.asarray(statistic(sums.reshape(*sums.shape[:-1], len(names), rows.shape[1]))).mean(axis=-1)

        return self.estimate(mean, wide.reshape(len(rows), -1), group_ids)


def parts_of(solutions: Sequence[ScoredSolution]) -> dict[str, list[ScoredSolution]]:
    """`all`, and the solutions of each source where there are several."""
    sources = sorted({one.source for one in solutions if one.source})
    named = {source: [one for one in solutions if one.source == source] for source in sources}
    return {ALL: list(solutions), **(named if len(named) > 1 else {})}
