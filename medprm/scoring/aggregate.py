"""Step scores of one solution to one solution score.

In: S scores in [0, 1], S >= 1. Out: one number in [0, 1]. Mean is the default, as in VisualPRM (arXiv 2503.10291).
"""

import math
from collections.abc import Callable, Sequence


def mean(step_scores: Sequence[float]) -> float:
    return math.fsum(step_scores) / len(step_scores)


def last(step_scores: Sequence[float]) -> float:
    return step_scores[-1]


def logit_mean(step_scores: Sequence[float]) -> float:
    """Mean of log p / (1 - p), back as a probability: one step near 0 weighs more than in the mean."""
    logits = [math.log(score / (1 - score)) for score in (min(max(s, LEAST), 1 - LEAST) for s in step_scores)]
    return 1 / (1 + math.exp(-math.fsum(logits) / len(logits)))


def geometric_mean(step_scores: Sequence[float]) -> float:
    """The length-normalised product: product ** (1 / S), so that long solutions are not punished for their length."""
    if min(step_scores) == 0:
        return 0.0
    return math.exp(math.fsum(map(math.log, step_scores)) / len(step_scores))


LEAST = 1e-7
"""Scores nearer to 0 or 1 than float32 can tell count as this near in `logit_mean`, whose logit is infinite there."""

AGGREGATORS: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": mean,
    "min": min,
    "max": max,
    "product": math.prod,
    "last": last,
    "logit_mean": logit_mean,
    "geometric_mean": geometric_mean,
}
DEFAULT_AGGREGATION = "mean"


def aggregate_all(step_scores: Sequence[float]) -> dict[str, float]:
    """The solution score under every aggregation."""
    assert step_scores, "a solution without steps has no score"
    return {name: float(aggregate(step_scores)) for name, aggregate in AGGREGATORS.items()}
