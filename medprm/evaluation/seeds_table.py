"""One experiment under several seeds: every number as the mean of its runs, with an interval for another seed too.

In: scored runs of the same test split, and what a search came to in each where there was one. Out: tables of text:
step metrics, Best-of-N by selector and N, calibration before and after, search beside Best-of-N at equal tokens.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medprm.errors import InputError
from medprm.evaluation.groups import MeasuredRuns, check_same_steps, measured_runs, measured_sums
from medprm.evaluation.measures import (
    RAW,
    STEP_ERRORS,
    Measure,
    ScoredRun,
    best_of_n_measure,
    curves_of,
    error_measure,
    gap_measure,
    measure_of,
)
from medprm.evaluation.search_table import METHOD_NAMES, Outcome
from medprm.evaluation.selection import shown_size
from medprm.evaluation.steps import Resampling, draw_resampling
from medprm.evaluation.table import SELECTOR_NAMES, STEP_ROWS, with_interval
from medprm.scoring.settings import CALIBRATION_KINDS
from medprm.statistics.bootstrap import Estimate, ratio, sum_by_cluster

STEP_MEASURES = (
    *("macro_f1", "f1_correct", "f1_incorrect", "balanced_accuracy", "mcc", "first_error_f1"),
    *STEP_ERRORS,
)


TOKENS = ("num_tokens", "best_of_n_tokens")


class Table(NamedTuple):
    """A title, and rows of which the first is the header."""

    title: str
    rows: list[list[str]]


def seeds_tables(
    runs: Sequence[ScoredRun], num_bootstrap: int, searches: Sequence[Sequence[Outcome]] = (), seed: int = 0
) -> list[Table]:
    """All tables. InputError where two runs were not scored on the same steps."""
    check_same_steps(runs)
    resampling = draw_resampling((one.group_id for one in runs[0].solutions), num_bootstrap, seed)

    def mean(measure: Measure) -> MeasuredRuns:
        return measured_runs(runs, measure, resampling)

    num_groups = len(resampling.numbers)
    tables = [_step_table(runs, {name: mean(measure_of(name, runs)) for name in STEP_MEASURES}, num_groups)]
    if all(run.curves is not None for run in runs):
        tables += [_selector_table(runs, resampling), _gap_table(runs, resampling)]
    if all(set(run.calibrated_steps) == {RAW, *CALIBRATION_KINDS} for run in runs):
        tables.append(_calibration_table(runs, resampling))
    if searches:
        tables.append(_search_table(searches, num_bootstrap, seed))
    return tables


def _by_run(found: MeasuredRuns) -> list[str]:
    return [f"{one:.3f}" for one in found.by_run]


def _shown(number: Estimate) -> str:
    return with_interval(number.as_json()) if number.is_defined else f"{number.value:.3f}"


def _step_table(runs: Sequence[ScoredRun], found: Mapping[str, MeasuredRuns], num_groups: int) -> Table:
    rows = [["", "mean over seeds [95 %]", *(run.name for run in runs)]]
    for name, one in found.items():
        rows.append([STEP_ROWS[name], _shown(one.over_seeds(num_groups)), *_by_run(one)])
    return Table("Steps", rows)


def _selector_table(runs: Sequence[ScoredRun], resampling: Resampling) -> Table:
    sizes = _common_sizes(runs)
    names = [name for name in SELECTOR_NAMES if all(name in curves_of(run).values for run in runs)]
    rows = [["selector", *(f"N = {size}" for size in sizes)]]
    for name in (None, *names):
        means = [measured_runs(runs, best_of_n_measure(size, name), resampling) for size in sizes]
        title = "the aggregation chosen on validation" if name is None else SELECTOR_NAMES[name]
        rows.append([title, *(_shown(one.over_seeds(len(resampling.numbers))) for one in means)])
    return Table("Best-of-N", rows)


def _gap_table(runs: Sequence[ScoredRun], resampling: Resampling) -> Table:
    size = shown_size(_common_sizes(runs))
    found = measured_runs(runs, gap_measure(size), resampling)
    rows = [["", "mean over seeds [95 %]", *(run.name for run in runs)]]
    rows.append(["aggregation chosen on validation", "", *(run.aggregation for run in runs)])
    rows.append([f"gap closed at N = {size}", _shown(found.over_seeds(len(resampling.numbers))), *_by_run(found)])
    return Table("Gap to the oracle", rows)


def _common_sizes(runs: Sequence[ScoredRun]) -> list[int]:
    return sorted(set.intersection(*(set(curves_of(run).sizes) for run in runs)))


def _calibration_table(runs: Sequence[ScoredRun], resampling: Resampling) -> Table:
    rows = [["scores", *(cell for name in STEP_ERRORS for cell in (STEP_ROWS[name], *(run.name for run in runs)))]]
    for kind in (RAW, *CALIBRATION_KINDS):
        found = [measured_runs(runs, error_measure(name, kind), resampling) for name in STEP_ERRORS]
        num_groups = len(resampling.numbers)
        rows.append([kind, *(cell for one in found for cell in (_shown(one.over_seeds(num_groups)), *_by_run(one)))])
    return Table("Calibration, fitted on validation and measured on test", rows)


def _search_table(searches: Sequence[Sequence[Outcome]], num_bootstrap: int, seed: int) -> Table:
    """Search minus Best-of-N at equal tokens, paired by case, the mean over the searches of all seeds."""
    searches = _in_common(searches)
    keys = list(dict.fromkeys((one.method, one.num_candidates) for one in searches[0]))
    rows = [["", "tokens a case", "search", "Best-of-N", "majority", "search minus Best-of-N (paired)", "by seed"]]
    resampling = draw_resampling((one.group_id for one in searches[0]), num_bootstrap, seed)
    for method, size in keys:
        parts = [[one for one in found if (one.method, one.num_candidates) == (method, size)] for found in searches]
        search, best, majority = (
            np.array([[float(getattr(one, name)) for one in part] for part in parts])
            for name in ("is_correct", "best_of_n", "majority")
        )
        groups = [one.group_id for one in parts[0]]
        means = [_mean(values, groups, resampling) for values in (search, best, majority, search - best)]
        tokens = [np.mean([getattr(one, name) for part in parts for one in part]) for name in TOKENS]
        cells = [_shown(one.over_seeds(len(resampling.numbers))) for one in means]
        rows.append([f"{METHOD_NAMES[method]}, N = {size}", " / ".join(f"{one:.0f}" for one in tokens), *cells])
        rows[-1].append(", ".join(f"{one:+.3f}" for one in means[-1].by_run))
    num_cases, num_patients = len({one.case_id for one in searches[0]}), len(resampling.numbers)
    title = f"Search, {num_cases} cases that every run searched, of {num_patients} patients"
    return Table(title, rows)


def _in_common(searches: Sequence[Sequence[Outcome]]) -> list[list[Outcome]]:
    """What every run searched, in one order; InputError where that is nothing."""
    by_key = [{(one.method, one.num_candidates, one.case_id): one for one in found} for found in searches]
    keys = [key for key in by_key[0] if all(key in found for found in by_key)]
    if not keys:
        raise InputError("the searches of the runs have no case with one method and N in common; expected some")
    return [[found[key] for key in keys] for found in by_key]


def _mean(values: np.ndarray, groups: Sequence[str], resampling: Resampling) -> MeasuredRuns:
    """Means of (S, n) values by run."""
    clusters = resampling.clusters(groups)
    sums = [sum_by_cluster(np.stack([one, np.ones_like(one)], axis=1), clusters) for one in values]
    return measured_sums(sums, ratio, resampling, values.shape[1])
