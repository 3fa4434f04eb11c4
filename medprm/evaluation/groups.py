"""Groups of runs that differ in one thing, several seeds each: means, and paired differences with intervals.

In: the scored test splits of each group's runs, one threshold a run. Out: for each group the mean over its seeds, and
its difference from the first group. Intervals resample patients, the same ones for every run: how seeds differ is not
in them, and is shown beside them as the least and the most of a group.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medprm.errors import InputError
from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.steps import Resampling, confusion_sums, draw_resampling, judged_steps
from medprm.statistics.bootstrap import Estimate, estimate
from medprm.statistics.step_metrics import COUNT_METRICS

NUM_COUNTS = 4  # tp, fp, fn, tn


class ScoredRun(NamedTuple):
    """One run's test split, and the threshold that it chose on validation."""

    name: str
    solutions: Sequence[ScoredSolution]
    threshold: float


class GroupResult(NamedTuple):
    """Mean over the seeds; the values of each; the difference from the first group (None for that one itself)."""

    name: str
    mean: Estimate
    by_run: list[float]
    minus_first: Estimate | None


def compare_groups(
    groups: Mapping[str, Sequence[ScoredRun]], metric: str, num_bootstrap: int, seed: int = 0
) -> list[GroupResult]:
    """`metric` is one of COUNT_METRICS. InputError where two runs were not scored on the same steps."""
    if metric not in COUNT_METRICS:
        raise InputError(f"metric {metric!r}; expected one of {', '.join(COUNT_METRICS)}")
    runs = [run for group in groups.values() for run in group]
    _check_same_steps(runs)
    resampling = draw_resampling((one.group_id for one in runs[0].solutions), num_bootstrap, seed)
    num_steps = len(judged_steps(runs[0].solutions).scores)
    sums = {name: _sums(group, resampling) for name, group in groups.items()}
    first = next(iter(groups))
    results = []
    for name, group in groups.items():
        mean = estimate(_mean_of(metric, len(group)), sums[name], resampling.weights, num_steps)
        both = np.concatenate([sums[name], sums[first]], axis=1)
        statistic = _difference_of(metric, len(group), len(groups[first]))
        difference = estimate(statistic, both, resampling.weights, num_steps) if name != first else None
        totals = sums[name].sum(axis=0).reshape(len(group), NUM_COUNTS)
        results.append(GroupResult(name, mean, [float(COUNT_METRICS[metric](one)) for one in totals], difference))
    return results


def verdict(difference: Estimate) -> str:
    """better, worse, or a tie: the interval holds 0."""
    if difference.low <= 0 <= difference.high:
        return "tie"
    return "better" if difference.low > 0 else "worse"


def _sums(group: Sequence[ScoredRun], resampling: Resampling) -> np.ndarray:
    """Counts of every run side by side: (G, 4 x runs)."""
    return np.concatenate(
        [confusion_sums(judged_steps(run.solutions), run.threshold, resampling) for run in group], axis=1
    )


def _mean_of(metric: str, num_runs: int) -> Callable[[np.ndarray], np.ndarray]:
    def statistic(sums: np.ndarray) -> np.ndarray:
        by_run = sums.reshape(*sums.shape[:-1], num_runs, NUM_COUNTS)
        return np.asarray(COUNT_METRICS[metric](by_run)).mean(axis=-1)

    return statistic


def _difference_of(metric: str, num_first: int, num_second: int) -> Callable[[np.ndarray], np.ndarray]:
    first, second = _mean_of(metric, num_first), _mean_of(metric, num_second)
    border = NUM_COUNTS * num_first
    return lambda sums: first(sums[..., :border]) - second(sums[..., border:])


def _check_same_steps(runs: Sequence[ScoredRun]) -> None:
    def steps(run: ScoredRun) -> dict[tuple[str, str], list[str]]:
        return {(one.case_id, one.solution_id): one.labels for one in run.solutions}

    expected = steps(runs[0])
    for run in runs[1:]:
        if steps(run) != expected:
            raise InputError(
                f"{run.name} and {runs[0].name} were not scored on the same steps with the same truth; expected one "
                "test split for all"
            )
