"""Groups of runs that differ in one thing, several seeds each: means, and paired differences with intervals.

In: the scored test splits of each group's runs, one threshold a run. Out: for each group the mean over its seeds, and
its difference from the first group, with p-values corrected for the number of groups. The intervals of `mean` and of
the difference resample patients, the same ones for every run: they hold for these seeds. `over_seeds` holds for another
seed too: how the seeds differ is in it (statistics/seeds.py).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medprm.errors import InputError
from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.steps import Resampling, confusion_sums, draw_resampling, judged_steps
from medprm.statistics.bootstrap import Estimate, interval, resample_sums
from medprm.statistics.seeds import combine_seeds
from medprm.statistics.significance import bootstrap_p, holm
from medprm.statistics.step_metrics import COUNT_METRICS

NUM_COUNTS = 4  # tp, fp, fn, tn


class ScoredRun(NamedTuple):
    """One run's test split, and the threshold that it chose on validation."""

    name: str
    solutions: Sequence[ScoredSolution]
    threshold: float


class GroupResult(NamedTuple):
    """Mean over the seeds; the values of each; the difference from the first group (None for that one itself).

    `over_seeds` and `minus_first_over_seeds` have intervals for another seed too, undefined with one seed a group; the
    difference's is undefined as well where two groups have other numbers of seeds. `p_holm` of the difference is
    corrected for all groups.
    """

    name: str
    mean: Estimate
    by_run: list[float]
    minus_first: Estimate | None
    over_seeds: Estimate
    minus_first_over_seeds: Estimate | None = None
    p: float | None = None
    p_holm: float | None = None


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
    results = [
        _result(name, sums, {one: len(group) for one, group in groups.items()}, first, metric, resampling, num_steps)
        for name in groups
    ]
    corrected = holm([one.p for one in results if one.p is not None])
    return [one if one.p is None else one._replace(p_holm=corrected.pop(0)) for one in results]


def _result(
    name: str,
    sums: Mapping[str, np.ndarray],
    num_runs: Mapping[str, int],
    first: str,
    metric: str,
    resampling: Resampling,
    num_steps: int,
) -> GroupResult:
    by_run, weights, num_groups = _values(metric, sums[name]), resampling.weights, len(resampling.numbers)
    mean_of = _mean_of(metric, num_runs[name])
    resampled = np.asarray(mean_of(resample_sums(sums[name], weights)))
    mean = interval(float(np.mean(by_run)), resampled, num_steps)
    over_seeds = combine_seeds(by_run, resampled, num_groups, num_steps)
    if name == first:
        return GroupResult(name, mean, by_run, None, over_seeds)
    both = np.concatenate([sums[name], sums[first]], axis=1)
    differences = np.asarray(_difference_of(metric, num_runs[name], num_runs[first])(resample_sums(both, weights)))
    of_first = _values(metric, sums[first])
    difference = interval(float(np.mean(by_run) - np.mean(of_first)), differences, num_steps)
    # Run k of one group against run k of the other: seeds that were paired stay so.
    pairs = [one - other for one, other in zip(by_run, of_first, strict=False)]
    paired = pairs if len(by_run) == len(of_first) else pairs[:1]
    beyond = combine_seeds(paired, differences, num_groups, num_steps)._replace(value=difference.value)
    return GroupResult(name, mean, by_run, difference, over_seeds, beyond, bootstrap_p(differences))


def _values(metric: str, sums: np.ndarray) -> list[float]:
    """The metric of each run of a group."""
    return [float(COUNT_METRICS[metric](one)) for one in sums.sum(axis=0).reshape(-1, NUM_COUNTS)]


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
