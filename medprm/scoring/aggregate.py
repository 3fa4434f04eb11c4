"""Step scores of one solution to one solution score.

In: S scores in [0, 1], S >= 1. Out: one number in [0, 1]. Mean is the default, as in VisualPRM (arXiv 2503.10291).
"""

import math
from collections.abc import Callable, Sequence


def mean(step_scores: Sequence[float]) -> float:
    return math.fsum(step_scores) / len(step_scores)


def last(step_scores: Sequence[float]) -> float:
    return step_scores[-1]


AGGREGATORS: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": mean,
    "min": min,
    "max": max,
    "product": math.prod,
    "last": last,
}
DEFAULT_AGGREGATION = "mean"


def aggregate_all(step_scores: Sequence[float]) -> dict[str, float]:
    """The solution score under every aggregation."""
    assert step_scores, "a solution without steps has no score"
    return {name: float(aggregate(step_scores)) for name, aggregate in AGGREGATORS.items()}
