"""The tables of a report as CSV and LaTeX, to be copied into a paper.

In: the mapping of metrics.json. Out: text by table name and form. LaTeX needs no package; numbers stand as value [low,
high], as everywhere.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.atomic import replaced_file
from medprm.evaluation.table import SELECTOR_NAMES, STEP_ROWS, columns_of, selectors_of
from medprm.evaluation.tables import number_tables

ESCAPED = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}


class Export(NamedTuple):
    """One table in both forms."""

    csv: str
    latex: str


def export_tables(metrics: Mapping[str, Any]) -> dict[str, Export]:
    """`step_metrics` and `best_of_n`, each where it was measured."""
    flat = number_tables(metrics)
    found = {}
    if "step_metrics" in flat:
        steps = metrics["step_metrics"]
        rows = [
            [title, _cell(steps[name]), f"{steps[name]['n']:,}"] for name, title in STEP_ROWS.items() if name in steps
        ]
        found["step_metrics"] = Export(
            _csv(flat["step_metrics"]), _latex(["metric", "value [95 % interval]", "n"], rows)
        )
    if "best_of_n" in flat:
        best, sizes = metrics["best_of_n"], columns_of(metrics)
        rows = [
            [SELECTOR_NAMES[name], *(_cell(best[name][size]) if size in best[name] else "" for size in sizes)]
            for name in selectors_of(metrics)
        ]
        found["best_of_n"] = Export(
            _csv(flat["best_of_n"]), _latex(["selector", *(f"N = {one}" for one in sizes)], rows)
        )
    if "step_metrics_by_category" in flat:
        table = flat["step_metrics_by_category"]
        rows = [[str(row[0]), str(row[1]), f"{row[2]:.3f} [{row[3]:.3f}, {row[4]:.3f}]"] for row in table.rows]
        found["step_metrics_by_category"] = Export(_csv(table), _latex(["category", "metric", "value"], rows))
    return found


def write_tables(folder: Path, metrics: Mapping[str, Any]) -> None:
    """NAME.csv and NAME.tex of every table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, export in export_tables(metrics).items():
        for suffix, text in (("csv", export.csv), ("tex", export.latex)):
            with replaced_file(folder / f"{name}.{suffix}") as draft:
                draft.write_text(text, encoding="utf-8")


def _cell(number: Mapping[str, Any]) -> str:
    return f"{number['value']:.3f} [{number['low']:.3f}, {number['high']:.3f}]"


def _csv(table: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue()


def _latex(header: list[str], rows: list[list[str]]) -> str:
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in (header, *rows)]
    columns = "l" + "r" * (len(header) - 1)
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", lines[0], r"\hline", *lines[1:], r"\hline", r"\end{tabular}"]
    return "\n".join(body) + "\n"


def _escaped(text: str) -> str:
    return "".join(ESCAPED.get(one, one) for one in text)
