"""Groups of runs that differ in one thing, several seeds each: means, and paired differences with intervals.

In: the scored test splits of each group's runs, one threshold a run. Out: for each group the mean over its seeds, and
its difference from the first group, with p-values corrected for the number of groups. The intervals of `mean` and of
the difference resample patients, the same ones for every run: they hold for these seeds. `over_seeds` holds for another
seed too: how the seeds differ is in it (statistics/seeds.py).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medprm.errors import InputError
from medprm.evaluation.measures import Measure, ScoredRun, measure_of
from medprm.evaluation.steps import Resampling, draw_resampling
from medprm.statistics.bootstrap import Estimate, Statistic, interval, resample_sums
from medprm.statistics.seeds import combine_seeds
from medprm.statistics.significance import bootstrap_p, holm


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
    """`metric` is one of MEASURES. InputError where two runs were not scored on the same steps."""
    runs = [run for group in groups.values() for run in group]
    measure = measure_of(metric, runs)
    check_same_steps(runs)
    resampling = draw_resampling((one.group_id for one in runs[0].solutions), num_bootstrap, seed)
    measured = {name: measured_runs(group, measure, resampling) for name, group in groups.items()}
    first = next(iter(measured.values()))
    results = [_result(name, one, first, resampling) for name, one in measured.items()]
    corrected = holm([one.p for one in results if one.p is not None])
    return [one if one.p is None else one._replace(p_holm=corrected.pop(0)) for one in results]


class MeasuredRuns(NamedTuple):
    """One number of a group of runs: of each run, (S,), and of each run in every resample, (R, S). `n` counts rows."""

    by_run: np.ndarray
    resampled: np.ndarray
    n: int

    def over_seeds(self, num_groups: int) -> Estimate:
        """The mean with an interval for another seed too."""
        return combine_seeds(self.by_run.tolist(), self.resampled.mean(axis=1), num_groups, self.n)


def measured_runs(runs: Sequence[ScoredRun], measure: Measure, resampling: Resampling) -> MeasuredRuns:
    """A measure of every run of a group, on the same resamples."""
    sums = [measure.sums(run, resampling) for run in runs]
    return measured_sums(sums, measure.statistic, resampling, measure.count(runs[0]))


def measured_sums(sums: Sequence[np.ndarray], statistic: Statistic, resampling: Resampling, n: int) -> MeasuredRuns:
    """The same from the sums of every run, (G, width) each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        by_run = np.array([float(statistic(one.sum(axis=0))) for one in sums])
        resampled = [np.asarray(statistic(resample_sums(one, resampling.weights))) for one in sums]
    return MeasuredRuns(by_run, np.stack(resampled, axis=1), n)


def _result(name: str, group: MeasuredRuns, first: MeasuredRuns, resampling: Resampling) -> GroupResult:
    num_groups, by_run = len(resampling.numbers), group.by_run.tolist()
    means = group.resampled.mean(axis=1)
    mean, over_seeds = interval(float(group.by_run.mean()), means, group.n), group.over_seeds(num_groups)
    if group is first:
        return GroupResult(name, mean, by_run, None, over_seeds)
    differences = means - first.resampled.mean(axis=1)
    difference = interval(float(group.by_run.mean() - first.by_run.mean()), differences, group.n)
    # Run k of one group against run k of the other: seeds that were paired stay so.
    pairs = [one - other for one, other in zip(by_run, first.by_run.tolist(), strict=False)]
    paired = pairs if len(by_run) == len(first.by_run) else pairs[:1]
    beyond = combine_seeds(paired, differences, num_groups, group.n)._replace(value=difference.value)
    return GroupResult(name, mean, by_run, difference, over_seeds, beyond, bootstrap_p(differences))


def verdict(difference: Estimate) -> str:
    """better, worse, or a tie: the interval holds 0."""
    if difference.low <= 0 <= difference.high:
        return "tie"
    return "better" if difference.low > 0 else "worse"


def check_same_steps(runs: Sequence[ScoredRun]) -> None:
    """InputError where two of the runs have other solutions, other true labels or other right answers."""

    def steps(run: ScoredRun) -> dict[tuple[str, str], tuple[list[str], bool | None]]:
        return {(one.case_id, one.solution_id): (one.labels, one.is_correct) for one in run.solutions}

    expected = steps(runs[0])
    for run in runs[1:]:
        if steps(run) != expected:
            raise InputError(
                f"{run.name} and {runs[0].name} were not scored on the same steps with the same truth; expected one "
                "test split for all"
            )
