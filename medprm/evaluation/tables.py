"""The numbers of metrics.json as flat tables, one row a number: what a tracker or a spreadsheet takes.

In: the mapping of metrics.json. Out: columns and rows by the table's name. Names of metrics, selectors and categories
are the only words in them: nothing of a record.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

INTERVAL = ("value", "low", "high", "n")


class NumberTable(NamedTuple):
    """Rows of as many cells as there are columns; intervals are 95 %."""

    columns: tuple[str, ...]
    rows: list[list[str | float]]


def number_tables(metrics: Mapping[str, Any]) -> dict[str, NumberTable]:
    """`step_metrics`, `step_metrics_by_category` and `best_of_n`, each where it was measured."""
    steps = [[name, *_cells(number)] for name, number in metrics.get("step_metrics", {}).items()]
    categories = [
        [category, name, *_cells(number)]
        for category, numbers in metrics.get("by_category", {}).items()
        for name, number in numbers.items()
    ]
    best = [
        [selector, int(size), *_cells(number)]
        for selector, numbers in metrics.get("best_of_n", {}).items()
        if selector != "pass@1"  # the same as N = 1
        for size, number in numbers.items()
    ]
    tables = {
        "step_metrics": NumberTable(("metric", *INTERVAL), steps),
        "step_metrics_by_category": NumberTable(("category", "metric", *INTERVAL), categories),
        "best_of_n": NumberTable(("selector", "num_candidates", *INTERVAL), best),
    }
    return {name: table for name, table in tables.items() if table.rows}


def _cells(number: Mapping[str, float]) -> list[float]:
    return [number[name] for name in INTERVAL]
