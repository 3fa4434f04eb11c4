"""Several evaluations side by side: ranked by one number of metrics.json, each number with its interval.

In: runs with their metrics and settings, and their scores where there are any. Out: tables as text, or one
self-contained HTML page without scripts. Intervals in the first table are of each run by itself; the second has the
paired differences from the best run, with p-values corrected for their number.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from medprm import __version__
from medprm.cases.atomic import replaced_file
from medprm.errors import InputError
from medprm.evaluation.groups import GroupResult, compare_groups, verdict
from medprm.evaluation.measures import BEST_OF_N, MEASURES, ScoredRun
from medprm.evaluation.pages import page_template
from medprm.evaluation.plots import runs_plot
from medprm.evaluation.table import STEP_ROWS, aligned, sizes_of, with_interval

LOWER_IS_BETTER = ("brier", "ece")
RANKED_BY = (*STEP_ROWS, BEST_OF_N)
SHOWN = ("macro_f1", "auroc", "first_error_f1", BEST_OF_N)
MAX_DRAWN = 8  # runs whose curves and paired differences are shown: more lines cannot be told apart


class Run(NamedTuple):
    """One evaluation. `settings` are those that it was trained with, flat; `data_hash` is that of the cases.

    `scored` is None where scored.jsonl is not there any more: the run then has no paired difference and no curve.
    """

    name: str
    metrics: Mapping[str, Any]
    settings: Mapping[str, Any]
    data_hash: str | None
    scored: ScoredRun | None = None


def number_of(run: Run, name: str) -> Mapping[str, Any] | None:
    """The number called `name` with its interval; Best-of-N at N = 8, or the largest N. None where it is undefined."""
    if name != BEST_OF_N:
        return run.metrics.get("step_metrics", {}).get(name)
    if BEST_OF_N not in run.metrics:
        return None
    sizes = sizes_of(run.metrics)
    return run.metrics[BEST_OF_N][run.metrics["aggregation"]].get("8" if "8" in sizes else sizes[-1])


def ranked(runs: Sequence[Run], by: str) -> list[Run]:
    """The best first; of equals, by name. Runs that lack the number come last."""
    if by not in RANKED_BY:
        raise InputError(f"--by {by}: no such number; expected one of {', '.join(RANKED_BY)}")
    if all(number_of(run, by) is None for run in runs):
        raise InputError(f"--by {by}: none of the {len(runs)} runs has this number; choose another")
    sign = 1 if by in LOWER_IS_BETTER else -1

    def order(run: Run) -> tuple[bool, float, str]:
        number = number_of(run, by)
        return number is None, 0.0 if number is None else sign * number["value"], run.name

    return sorted(runs, key=order)


def differing_settings(runs: Sequence[Run]) -> list[str]:
    """Names of the settings in which the runs differ, but for names and folders."""
    names = sorted({name for run in runs for name in run.settings} - {"run_name", "output_dir", "overwrite", "resume"})
    return [name for name in names if len({str(run.settings.get(name)) for run in runs}) > 1]


def notes_on(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before comparing."""
    notes = ["Intervals are 95 %, of each run by itself; overlapping intervals do not show that two runs are equal."]
    hashes = {run.data_hash for run in runs}
    tests = {str(run.metrics.get("counts", {}).get("test")) for run in runs}
    if len(hashes) > 1 or len(tests) > 1:
        notes.append("The runs were evaluated on different cases: their numbers cannot be compared.")
    if len(runs) > 1:
        notes.append("The best of many runs on one test set looks better than it is; choose on validation.")
    return notes


def rows_of(runs: Sequence[Run], by: str) -> list[list[str]]:
    """A header and a row per run, in the order given."""
    numbers = list(dict.fromkeys([by, *SHOWN]))
    settings = differing_settings(runs)
    titles = [f"Best-of-{best_size(runs)}" if one == BEST_OF_N else STEP_ROWS[one] for one in numbers]
    rows = [["run", *titles, *settings]]
    for run in runs:
        cells = [with_interval(found) if (found := number_of(run, one)) else "undefined" for one in numbers]
        rows.append([run.name, *cells, *(str(run.settings.get(name, "")) for name in settings)])
    return rows


def best_size(runs: Sequence[Run]) -> str:
    """The N of the column; N where the runs differ in it."""
    sizes = {
        sizes[-1] if "8" not in sizes else "8"
        for run in runs
        if BEST_OF_N in run.metrics
        if (sizes := sizes_of(run.metrics))
    }
    return sizes.pop() if len(sizes) == 1 else "N"


class Differences(NamedTuple):
    """Paired differences of runs from the best one: a header and a row per run; `note` says what is not there."""

    rows: list[list[str]]
    note: str | None


def paired_differences(runs: Sequence[Run], by: str, num_bootstrap: int) -> Differences:
    """Of the best `MAX_DRAWN` runs: the number ranked by (macro F1 where that has no paired test) and Best-of-N."""
    best, *others = runs[:MAX_DRAWN]
    if not others:
        return Differences([], None)
    if any(run.scored is None for run in (best, *others)):
        return Differences([], "No paired differences: a run lacks scored.jsonl.")
    groups = {run.name: [run.scored] for run in (best, *others) if run.scored is not None}
    metrics = [by if by in MEASURES else "macro_f1"]
    if BEST_OF_N not in metrics and all(BEST_OF_N in run.metrics for run in (best, *others)):
        metrics.append(BEST_OF_N)
    try:
        results = [compare_groups(groups, metric, num_bootstrap)[1:] for metric in metrics]
    except InputError as error:
        return Differences([], f"No paired differences: {error}.")
    titles = [f"Best-of-{best_size(runs)}" if one == BEST_OF_N else STEP_ROWS.get(one, one) for one in metrics]
    rows = [[f"minus {best.name}", *(cell for title in titles for cell in (title, "p (Holm)", ""))]]
    for number, run in enumerate(others):
        rows.append([run.name, *(cell for found in results for cell in _difference_cells(found[number]))])
    left_out = len(runs) - MAX_DRAWN
    return Differences(rows, f"Differences and curves are of the best {MAX_DRAWN} runs." if left_out > 0 else None)


def _difference_cells(found: GroupResult) -> list[str]:
    difference = found.minus_first
    if difference is None or not difference.is_defined:
        return ["undefined", "", ""]
    return [with_interval(difference.as_json()), f"{found.p_holm:.3g}", verdict(difference)]


def format_comparison(runs: Sequence[Run], by: str, differences: Differences) -> str:
    """The tables as text, and the notes."""
    tables = [aligned(rows) for rows in (rows_of(runs, by), differences.rows) if rows]
    notes = [*notes_on(runs), *([differences.note] if differences.note else [])]
    return "\n\n".join([*tables, "\n".join(f"note: {one}" for one in notes)]) + "\n"


def write_comparison(path: Path, runs: Sequence[Run], by: str, differences: Differences) -> None:
    """The tables and the Best-of-N curves as a page."""
    header, *rows = rows_of(runs, by)
    drawn = {run.name: run.metrics for run in runs[:MAX_DRAWN] if BEST_OF_N in run.metrics}
    page = page_template("comparison.html.j2").render(
        header=header,
        rows=rows,
        by=header[1],
        notes=[*notes_on(runs), *([differences.note] if differences.note else [])],
        differences=differences.rows,
        curves=Markup(runs_plot(drawn)) if drawn else None,  # made here from numbers; names are escaped in it
        version=__version__,
    )
    with replaced_file(path) as draft:
        draft.write_text(page, encoding="utf-8")
