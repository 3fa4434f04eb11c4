"""What can be compared between runs: numbers that are a function of sums by group of patients.

In: a scored run, the resampling of its test set. Out: sums (G, width) and a function of such sums, so that means over
seeds and differences between runs can be taken on the same resamples.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from medprm.errors import InputError
from medprm.evaluation.calibration import fit_all
from medprm.evaluation.candidates import collect_candidates
from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.selection import Curves, selector_curves, shown_size
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import JudgedSteps, Resampling, confusion_sums, judged_steps
from medprm.statistics import step_metrics
from medprm.statistics.bootstrap import Statistic, ratio, sum_by_cluster
from medprm.statistics.step_metrics import COUNT_METRICS

BEST_OF_N = "best_of_n"
STEP_ERRORS: dict[str, tuple[Statistic, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "brier": (ratio, step_metrics.brier_rows),
    "ece": (step_metrics.expected_calibration_error, step_metrics.calibration_rows),
}
FIRST_ERROR_F1 = "first_error_f1"
MEASURES = (*COUNT_METRICS, *STEP_ERRORS, FIRST_ERROR_F1, BEST_OF_N)
RAW = "raw"


@dataclass(frozen=True)
class ScoredRun:
    """One run: its test split, and what it chose on validation.

    `validation` is there for what is fitted on it (calibration), `settings` for the values of N and the vote.
    """

    name: str
    solutions: Sequence[ScoredSolution]
    threshold: float
    aggregation: str = "mean"
    validation: Sequence[ScoredSolution] = ()
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)

    @cached_property
    def steps(self) -> JudgedSteps:
        """The judged test steps."""
        return judged_steps(self.solutions)

    @cached_property
    def curves(self) -> Curves | None:
        """Best-of-N of every case by every selector; None where no answer is known to be right or wrong."""
        candidates = collect_candidates(self.solutions)
        return selector_curves(candidates, self.aggregation, self.settings) if candidates.cases else None

    @cached_property
    def calibrated_steps(self) -> dict[str, JudgedSteps]:
        """The test steps with their scores as they came, and by each calibration fitted on validation."""
        fitted = fit_all(judged_steps(self.validation))
        return {RAW: self.steps} | {
            kind: self.steps.scored(one.apply(self.steps.scores)) for kind, one in fitted.items()
        }


class Measure(NamedTuple):
    """`statistic` of a run's `sums`, (G, width) by group, is its number; `count` is of how many rows."""

    name: str
    statistic: Statistic
    sums: Callable[[ScoredRun, Resampling], np.ndarray]
    count: Callable[[ScoredRun], int]


def measure_of(name: str, runs: Iterable[ScoredRun]) -> Measure:
    """The measure called so; Best-of-N is that of each run's own aggregation, at N = 8 or the largest N."""
    if name in COUNT_METRICS:
        return count_measure(name)
    if name in STEP_ERRORS:
        return error_measure(name)
    if name == FIRST_ERROR_F1:
        return first_error_measure()
    if name != BEST_OF_N:
        raise InputError(f"metric {name!r}; expected one of {', '.join(MEASURES)}")
    sizes = set.intersection(*(set(curves_of(run).sizes) for run in runs))
    return best_of_n_measure(shown_size(sorted(sizes)))


def count_measure(name: str) -> Measure:
    """A metric of the counts tp, fp, fn, tn at the run's threshold."""

    def sums(run: ScoredRun, resampling: Resampling) -> np.ndarray:
        return confusion_sums(run.steps, run.threshold, resampling)

    return Measure(name, COUNT_METRICS[name], sums, _num_steps)


def error_measure(name: str, kind: str = RAW) -> Measure:
    """Brier score or expected calibration error, of the scores as they came or by a calibration."""
    statistic, rows = STEP_ERRORS[name]

    def sums(run: ScoredRun, resampling: Resampling) -> np.ndarray:
        if kind not in run.calibrated_steps:
            raise InputError(f"{run.name}: too few validation steps are judged, or all alike, to fit {kind}")
        steps = run.calibrated_steps[kind]
        return sum_by_cluster(rows(steps.is_correct, steps.scores), resampling.clusters(steps.group_ids))

    return Measure(name, statistic, sums, _num_steps)


def first_error_measure() -> Measure:
    """ProcessBench's F1 of the first error at the run's threshold."""

    def rows(run: ScoredRun) -> tuple[list[tuple[int, int, int, int]], list[str]]:
        found = [
            (step_metrics.first_error_row(one.labels, one.step_scores, run.threshold), one) for one in run.solutions
        ]
        known = [(row, one.group_id) for row, one in found if row is not None]
        return [row for row, _ in known], [group for _, group in known]

    def sums(run: ScoredRun, resampling: Resampling) -> np.ndarray:
        found, groups = rows(run)
        width = len(step_metrics.FIRST_ERROR_COLUMNS)
        return sum_by_cluster(np.array(found, dtype=np.float64).reshape(-1, width), resampling.clusters(groups))

    return Measure(FIRST_ERROR_F1, step_metrics.first_error_f1, sums, lambda run: len(rows(run)[0]))


def best_of_n_measure(size: int, selector: str | None = None) -> Measure:
    """Expected correctness at N = `size`, of a selector or of the aggregation that each run chose."""

    def rows(run: ScoredRun, curves: Curves) -> np.ndarray:
        values = curves.at(selector or run.aggregation, size)
        return np.stack([values, np.ones_like(values)], axis=1)

    return _measure_of_cases(f"Best-of-{size}", size, rows)


def gap_measure(size: int) -> Measure:
    """The share of the gap from a random pick to the oracle that the run's aggregation closes at N = `size`."""

    def rows(run: ScoredRun, curves: Curves) -> np.ndarray:
        first = curves.values["random"][curves.enough(size), curves.sizes.index(1)]
        return np.stack([curves.at(run.aggregation, size) - first, curves.at("oracle", size) - first], axis=1)

    return _measure_of_cases("gap_closed", size, rows)


def _measure_of_cases(name: str, size: int, rows: Callable[[ScoredRun, Curves], np.ndarray]) -> Measure:
    def sums(run: ScoredRun, resampling: Resampling) -> np.ndarray:
        curves = curves_of(run)
        clusters = resampling.clusters([curves.group_ids[i] for i in curves.enough(size)])
        return sum_by_cluster(rows(run, curves), clusters)

    return Measure(name, ratio, sums, lambda run: len(curves_of(run).enough(size)))


def _num_steps(run: ScoredRun) -> int:
    return len(run.steps.scores)


def curves_of(run: ScoredRun) -> Curves:
    """Best-of-N by case; InputError where there is none."""
    if run.curves is None:
        raise InputError(f"{run.name}: no candidate answer is known to be right or wrong; Best-of-N needs that")
    return run.curves
