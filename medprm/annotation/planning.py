"""Quality against cost: annotators of stated accuracy and price over many simulated steps.

In: `PlanSettings`, thresholds of the consensus rule. Out: for each expert budget the accuracy of the labels and dollars
per 10,000 cases, with intervals by case. The annotators are independent of each other given the truth, which real ones
are not: read the results as the best case.

Monte Carlo scores of correct steps are drawn from a beta distribution whose share above one half is the stated
accuracy; those of incorrect steps from its mirror image. So scores near one half are the doubtful ones, and thresholds
away from it send them to the experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta

from medprm.errors import InputError, check_least
from medprm.statistics.bootstrap import (
    Clusters,
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
    # Share of the steps whose Monte Carlo score is on the right side of one half.
    mc_accuracy: float = 0.85
    # How far the scores are from one half: the beta distribution's a + b; smaller is farther.
    mc_concentration: float = 3.0
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
        if not 0.01 <= self.mc_accuracy <= 0.99:
            raise InputError(f"mc_accuracy is {self.mc_accuracy}; expected 0.01 to 0.99, since scores overlap")
        if self.mc_concentration <= 0:
            raise InputError(f"mc_concentration is {self.mc_concentration}; expected more than 0")


class Thresholds(NamedTuple):
    """The rule: judge - and a score below `low` is incorrect, judge + and one above `high` correct, else disputed."""

    low: float
    high: float


class Point(NamedTuple):
    """One expert budget, as a share of all steps, and what it gives.

    `accuracy` is over all steps, the likelier label where nobody has decided; `labelled` over those with a label.
    """

    reviewed_share: float
    accuracy: Estimate
    labelled: Estimate
    coverage: Estimate
    dollars: float


class Plan(NamedTuple):
    """`points` by rising budget; `disputed` is the share of steps that the rule leaves open."""

    thresholds: Thresholds
    disputed: Estimate
    agreed_accuracy: Estimate
    points: list[Point]


class _Steps(NamedTuple):
    """(n,) each: truth, verdicts, score, and P(correct) given judge and score."""

    is_correct: np.ndarray
    judge_says_correct: np.ndarray
    score: np.ndarray
    expert_is_right: np.ndarray
    chance: np.ndarray


def simulate(settings: PlanSettings, shares: Sequence[float], thresholds: Thresholds = Thresholds(0.5, 0.5)) -> Plan:
    """Judge and score agree: their label. They do not: the experts' while the budget lasts, doubtful steps first."""
    steps = _draw(settings)
    agrees = np.where(steps.judge_says_correct, steps.score > thresholds.high, steps.score < thresholds.low)
    is_right = steps.judge_says_correct == steps.is_correct
    guess_is_right = (steps.chance >= 0.5) == steps.is_correct
    num = len(agrees)
    clusters = number_clusters(np.repeat(np.arange(settings.num_cases), settings.steps_per_case).tolist())
    weights = draw_weights(clusters.num, settings.num_bootstrap, settings.seed)
    certainty = np.maximum(steps.chance, 1 - steps.chance)
    open_steps = np.flatnonzero(~agrees)
    order = open_steps[np.argsort(certainty[open_steps], kind="stable")]
    points = []
    for share in shares:
        reviewed = np.zeros(num, dtype=bool)
        reviewed[order[: round(share * num)]] = True
        right = np.where(reviewed, steps.expert_is_right, np.where(agrees, is_right, guess_is_right))
        has_label = reviewed | agrees
        points.append(
            Point(
                share,
                estimate_mean(right.astype(float), clusters, weights),
                _mean_where(right, has_label, clusters, weights),
                estimate_mean(has_label.astype(float), clusters, weights),
                _dollars(settings, reviewed),
            )
        )
    disputed = estimate_mean((~agrees).astype(float), clusters, weights)
    return Plan(thresholds, disputed, _mean_where(is_right, agrees, clusters, weights), points)


def least_budget(plan: Plan, target: float) -> Point | None:
    """The smallest budget whose accuracy over all steps reaches the target; None where none does."""
    return next((one for one in plan.points if one.accuracy.value >= target), None)


def _draw(settings: PlanSettings) -> _Steps:
    rng = np.random.default_rng(settings.seed)
    num = settings.num_cases * settings.steps_per_case
    is_correct = rng.random(num) < settings.share_correct
    judge = is_correct == (rng.random(num) < settings.judge_accuracy)
    a, b = score_shape(settings.mc_accuracy, settings.mc_concentration)
    score = rng.beta(a, b, num)
    score = np.where(is_correct, score, 1 - score)
    expert_is_right = rng.random(num) < settings.expert_accuracy
    # Bayes: the settings are known here, as a pilot of expert labels would tell them.
    odds = np.log(settings.share_correct / (1 - settings.share_correct)) if 0 < settings.share_correct < 1 else 0.0
    said = np.clip(settings.judge_accuracy, 1e-6, 1 - 1e-6)
    log_odds = odds + np.where(judge, 1, -1) * np.log(said / (1 - said))
    log_odds = log_odds + beta.logpdf(score, a, b) - beta.logpdf(1 - score, a, b)
    return _Steps(is_correct, judge, score, expert_is_right, 1 / (1 + np.exp(-log_odds)))


def score_shape(accuracy: float, concentration: float) -> tuple[float, float]:
    """(a, b) of the beta distribution with a + b = `concentration` and the share `accuracy` above one half."""

    def missing(mean: float) -> float:
        return float(beta.sf(0.5, mean * concentration, (1 - mean) * concentration)) - accuracy

    mean = float(brentq(missing, 1e-4, 1 - 1e-4))  # type: ignore[arg-type]
    return mean * concentration, (1 - mean) * concentration


def _mean_where(values: np.ndarray, mask: np.ndarray, clusters: Clusters, weights: np.ndarray) -> Estimate:
    sums = sum_by_cluster(np.stack([values & mask, mask], axis=1).astype(float), clusters)
    return estimate(ratio, sums, weights, int(mask.sum()))


def _dollars(settings: PlanSettings, reviewed: np.ndarray) -> float:
    steps_of_all = reviewed.mean() * settings.steps_per_case * CASES
    return settings.judge_dollars + settings.mc_dollars + float(steps_of_all) * settings.expert_dollars_per_step
