"""Quality against cost: annotators of stated accuracy and price over many simulated steps.

In: `PlanSettings`. Out: for each expert budget the accuracy, coverage and dollars per 10,000 cases, with intervals by
case. The annotators are independent of each other, which real ones are not: read the results as the best case.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medprm.errors import InputError, check_least
from medprm.statistics.bootstrap import (
    Estimate,
    draw_weights,
    estimate,
    estimate_mean,
    number_clusters,
    ratio,
    sum_by_cluster,
)

CASES = 10_000


@dataclass(frozen=True)
class PlanSettings:
    """Accuracies are the brief's; dollars are per 10,000 cases, of an expert per step."""

    seed: int = 0
    num_cases: int = 10_000
    steps_per_case: int = 5
    share_correct: float = 0.65
    judge_accuracy: float = 0.70
    # The sign of the Monte Carlo score is right this often; its distance from one half is drawn apart.
    mc_accuracy: float = 0.85
    expert_accuracy: float = 0.98
    judge_dollars: float = 20.0
    mc_dollars: float = 100.0
    expert_dollars_per_step: float = 0.0333
    num_bootstrap: int = 500

    def __post_init__(self) -> None:
        for name in ("num_cases", "steps_per_case", "num_bootstrap"):
            check_least(name, getattr(self, name), 1)
        for name in ("share_correct", "judge_accuracy", "mc_accuracy", "expert_accuracy"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} is {getattr(self, name)}; expected a share in [0, 1]")


class Point(NamedTuple):
    """One expert budget: share of steps reviewed, accuracy of the best guess everywhere, dollars per 10,000 cases."""

    reviewed_share: float
    accuracy: Estimate
    dollars: float


class Plan(NamedTuple):
    """`points` by rising budget; `disputed` is the share of steps on which judge and score differ."""

    disputed: Estimate
    agreed_accuracy: Estimate
    points: list[Point]


def simulate(settings: PlanSettings, shares: Sequence[float]) -> Plan:
    """Judge and score agree: their label. They differ: the expert's, while the budget lasts, else the score's."""
    rng = np.random.default_rng(settings.seed)
    num = settings.num_cases * settings.steps_per_case
    judge_right = rng.random(num) < settings.judge_accuracy
    mc_right = rng.random(num) < settings.mc_accuracy
    expert_right = rng.random(num) < settings.expert_accuracy
    is_disputed = judge_right != mc_right
    clusters = number_clusters(np.repeat(np.arange(settings.num_cases), settings.steps_per_case).tolist())
    weights = draw_weights(clusters.num, settings.num_bootstrap, settings.seed)
    disputed = estimate_mean(is_disputed.astype(float), clusters, weights)
    both = np.stack([judge_right & mc_right, ~is_disputed], axis=1).astype(float)
    agreed = estimate(ratio, sum_by_cluster(both, clusters), weights, int((~is_disputed).sum()))
    order = rng.permutation(np.flatnonzero(is_disputed))
    points = []
    for share in shares:
        reviewed = np.zeros(num, dtype=bool)
        reviewed[order[: round(share * num)]] = True
        right = np.where(reviewed, expert_right, mc_right)
        points.append(Point(share, estimate_mean(right.astype(float), clusters, weights), _dollars(settings, reviewed)))
    return Plan(disputed, agreed, points)


def least_share(plan: Plan, target: float) -> float | None:
    """The smallest budget whose accuracy reaches the target; None where none does."""
    return next((one.reviewed_share for one in plan.points if one.accuracy.value >= target), None)


def _dollars(settings: PlanSettings, reviewed: np.ndarray) -> float:
    steps_of_all = reviewed.mean() * settings.steps_per_case * CASES
    return settings.judge_dollars + settings.mc_dollars + float(steps_of_all) * settings.expert_dollars_per_step
