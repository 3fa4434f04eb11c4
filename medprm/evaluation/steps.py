"""Step metrics of scored solutions, with intervals by patient, and baselines.

In: scored solutions, a threshold, and the resampling shared by the whole report. Out: estimates by name.
Steps that are neutral or unknown are left out (VisualProcessBench's rule for neutral).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from medprm.evaluation.scored import ScoredSolution
from medprm.statistics import step_metrics
from medprm.statistics.average_precision import average_precision, resample_average_precision
from medprm.statistics.bootstrap import Clusters, Estimate, draw_weights, estimate, interval, ratio, sum_by_cluster

BASELINE_METRICS = ("macro_f1", "f1_correct", "f1_incorrect", "balanced_accuracy", "mcc")


class Resampling(NamedTuple):
    """One bootstrap for every number of a report: weights (R, G) over the groups (patients) of the test set."""

    numbers: dict[str, int]
    weights: np.ndarray

    def clusters(self, group_ids: Sequence[str]) -> Clusters:
        """Rows of a part of the test set, numbered among all groups: resamples stay paired across parts."""
        return Clusters(np.array([self.numbers[one] for one in group_ids], dtype=np.int64), len(self.numbers))


def draw_resampling(group_ids: Iterable[str], num_bootstrap: int, seed: int) -> Resampling:
    """The resampling of these groups. Sorted first: the order of a file has no say in its intervals."""
    numbers = {one: number for number, one in enumerate(sorted(set(group_ids)))}
    return Resampling(numbers, draw_weights(len(numbers), num_bootstrap, seed))


@dataclass(frozen=True)
class JudgedSteps:
    """The steps judged correct or incorrect: truth (n,) bool, scores (n,), and of each its solution and place there."""

    is_correct: np.ndarray
    scores: np.ndarray
    solutions: Sequence[ScoredSolution]
    places: Sequence[int]

    @property
    def group_ids(self) -> list[str]:
        return [one.group_id for one in self.solutions]

    @property
    def categories(self) -> list[str]:
        return [
            one.categories[place] or "uncategorised" for one, place in zip(self.solutions, self.places, strict=True)
        ]

    def where(self, mask: np.ndarray) -> "JudgedSteps":
        kept = np.flatnonzero(mask).tolist()
        solutions, places = [self.solutions[i] for i in kept], [self.places[i] for i in kept]
        return JudgedSteps(self.is_correct[kept], self.scores[kept], solutions, places)

    def scored(self, scores: np.ndarray) -> "JudgedSteps":
        """The same steps with other scores, (n,)."""
        assert len(scores) == len(self.scores), f"{len(scores)} scores for {len(self.scores)} steps"
        return replace(self, scores=np.asarray(scores, dtype=np.float64))


def judged_steps(solutions: Iterable[ScoredSolution]) -> JudgedSteps:
    """All judged steps, pooled."""
    rows = [
        (solution.labels[place] == "correct", solution.step_scores[place], solution, place)
        for solution in solutions
        for place in range(len(solution.labels))
        if solution.labels[place] in ("correct", "incorrect")
    ]
    truth, scores, owners, places = zip(*rows, strict=True) if rows else ((), (), (), ())
    return JudgedSteps(np.array(truth, bool), np.array(scores, np.float64), owners, places)


def estimate_auroc(steps: JudgedSteps, resampling: Resampling) -> Estimate:
    """AUROC of the steps."""
    value = step_metrics.auroc(steps.is_correct, steps.scores)
    return interval(value, resampled_auroc(steps, resampling), len(steps.scores))


def resampled_auroc(steps: JudgedSteps, resampling: Resampling) -> np.ndarray:
    """AUROC of each resample: (R,)."""
    index = resampling.clusters(steps.group_ids).index
    return step_metrics.resample_auroc(steps.is_correct, steps.scores, index, resampling.weights)


def confusion_sums(steps: JudgedSteps, threshold: float, resampling: Resampling) -> np.ndarray:
    """Counts tp, fp, fn, tn by group: (G, 4)."""
    rows = step_metrics.confusion_rows(steps.is_correct, steps.scores >= threshold)
    return sum_by_cluster(rows, resampling.clusters(steps.group_ids))


def step_estimates(steps: JudgedSteps, threshold: float, resampling: Resampling) -> dict[str, Estimate]:
    """Every metric of `COUNT_METRICS`, AUROC, AUPRC of each class, Brier score and expected calibration error."""
    results = count_estimates(steps, threshold, resampling)
    results["auroc"] = estimate_auroc(steps, resampling)
    results |= auprc_estimates(steps, resampling)
    return results | calibration_estimates(steps, resampling)


def count_estimates(steps: JudgedSteps, threshold: float, resampling: Resampling) -> dict[str, Estimate]:
    """Every metric of `COUNT_METRICS`."""
    sums, num_steps = confusion_sums(steps, threshold, resampling), len(steps.scores)
    metrics = step_metrics.COUNT_METRICS.items()
    return {name: estimate(metric, sums, resampling.weights, num_steps) for name, metric in metrics}


def auprc_estimates(steps: JudgedSteps, resampling: Resampling) -> dict[str, Estimate]:
    """Average precision with correct steps as the positives, and with incorrect ones, which are the rarer."""
    index, results = resampling.clusters(steps.group_ids).index, {}
    for name, truth, scores in (
        ("auprc_correct", steps.is_correct, steps.scores),
        ("auprc_incorrect", ~steps.is_correct, -steps.scores),
    ):
        value = average_precision(truth, scores)
        resampled = resample_average_precision(truth, scores, index, resampling.weights)
        results[name] = interval(value, resampled, len(scores))
    return results


def calibration_estimates(steps: JudgedSteps, resampling: Resampling) -> dict[str, Estimate]:
    """Brier score and expected calibration error."""
    num_steps, weights = len(steps.scores), resampling.weights
    clusters, results = resampling.clusters(steps.group_ids), {}
    squared = sum_by_cluster(step_metrics.brier_rows(steps.is_correct, steps.scores), clusters)
    results["brier"] = estimate(ratio, squared, weights, num_steps)
    bins = sum_by_cluster(step_metrics.calibration_rows(steps.is_correct, steps.scores), clusters)
    results["ece"] = estimate(step_metrics.expected_calibration_error, bins, weights, num_steps)
    return results


class FirstErrors(NamedTuple):
    """First-error F1 with its two accuracies; `num_left_out` solutions have a first error that nobody knows."""

    estimates: dict[str, Estimate]
    num_left_out: int


def first_error_estimates(
    solutions: Sequence[ScoredSolution], threshold: float, resampling: Resampling
) -> FirstErrors | None:
    """ProcessBench's F1 of the first error; None where no solution's first error is known."""
    rows, groups = [], []
    for solution in solutions:
        row = step_metrics.first_error_row(solution.labels, solution.step_scores, threshold)
        if row is not None:
            rows.append(row)
            groups.append(solution.group_id)
    if not rows:
        return None
    sums = sum_by_cluster(np.array(rows), resampling.clusters(groups))
    weights, num_erroneous = resampling.weights, int(sums[:, 0].sum())
    estimates = {
        "first_error_f1": estimate(step_metrics.first_error_f1, sums, weights, len(rows)),
        "first_error_found": estimate(lambda s: s[..., 1] / s[..., 0], sums, weights, num_erroneous),
        "error_free_kept": estimate(lambda s: s[..., 3] / s[..., 2], sums, weights, len(rows) - num_erroneous),
    }
    return FirstErrors(estimates, len(solutions) - len(rows))


class Baselines(NamedTuple):
    """What guessers reach, and how far the model is above them on the same resamples."""

    estimates: dict[str, dict[str, Estimate]]
    versus: dict[str, dict[str, Estimate]]


def baseline_estimates(steps: JudgedSteps, threshold: float, resampling: Resampling) -> Baselines:
    """Expected metrics of guessers that look at nothing: all correct, a fair coin, a coin with the test base rate."""
    sums = confusion_sums(steps, threshold, resampling)
    num_steps = len(steps.scores)
    shares = {"all_plus": 1.0, "coin": 0.5, "base_rate": float(np.mean(steps.is_correct))}
    estimates, versus = {}, {}
    for name, share in shares.items():
        estimates[name] = {
            metric: estimate(_of_guesser(metric, share), sums, resampling.weights, num_steps)
            for metric in BASELINE_METRICS
        }
        versus[name] = {"macro_f1": estimate(_above_guesser("macro_f1", share), sums, resampling.weights, num_steps)}
    return Baselines(estimates, versus)


def _of_guesser(metric: str, share: float) -> Callable[[np.ndarray], np.ndarray]:
    def statistic(counts: np.ndarray) -> np.ndarray:
        num_correct, num_incorrect = counts[..., 0] + counts[..., 2], counts[..., 1] + counts[..., 3]
        return step_metrics.COUNT_METRICS[metric](step_metrics.chance_counts(num_correct, num_incorrect, share))

    return statistic


def _above_guesser(metric: str, share: float) -> Callable[[np.ndarray], np.ndarray]:
    guesser = _of_guesser(metric, share)
    return lambda counts: step_metrics.COUNT_METRICS[metric](counts) - guesser(counts)
