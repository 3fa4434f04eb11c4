"""Several evaluations side by side: ranked by one number of metrics.json, each number with its interval.

In: runs with their metrics and settings. Out: a table as text, or one self-contained HTML page without scripts.
Intervals are of each run by itself; whether two runs differ needs a paired test, and the page says so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medprm import __version__
from medprm.cases.atomic import replaced_file
from medprm.errors import InputError
from medprm.evaluation.pages import page_template
from medprm.evaluation.table import STEP_ROWS, aligned, sizes_of, with_interval

BEST_OF_N = "best_of_n"
LOWER_IS_BETTER = ("brier", "ece")
RANKED_BY = (*STEP_ROWS, BEST_OF_N)
SHOWN = ("macro_f1", "auroc", "first_error_f1", BEST_OF_N)


class Run(NamedTuple):
    """One evaluation. `settings` are those that it was trained with, flat; `data_hash` is that of the cases."""

    name: str
    metrics: Mapping[str, Any]
    settings: Mapping[str, Any]
    data_hash: str | None


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


def format_comparison(runs: Sequence[Run], by: str) -> str:
    """The table as text, and the notes."""
    return "\n\n".join([aligned(rows_of(runs, by)), "\n".join(f"note: {one}" for one in notes_on(runs))]) + "\n"


def write_comparison(path: Path, runs: Sequence[Run], by: str) -> None:
    """The table as a page."""
    header, *rows = rows_of(runs, by)
    page = page_template("comparison.html.j2").render(
        header=header, rows=rows, by=header[1], notes=notes_on(runs), version=__version__
    )
    with replaced_file(path) as draft:
        draft.write_text(page, encoding="utf-8")
