"""The model card with what an evaluation found: README.md of the checkpoint, its results between two marks.

In: the card as training wrote it, metrics.json, the name of the data. Out: Markdown. Filled again, the results are
replaced. No text, id or path of a case enters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from medprm.evaluation.table import SELECTOR_NAMES, STEP_ROWS, sizes_of, with_interval

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def filled_card(card: str, metrics: Mapping[str, Any], data_name: str, notes: Sequence[str]) -> str:
    """The card with its results; they come last where it has none yet."""
    before, _, rest = card.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before.rstrip()}\n\n{BEGIN}\n{_results(metrics, data_name, notes)}{END}\n{after.lstrip()}"


def _results(metrics: Mapping[str, Any], data_name: str, notes: Sequence[str]) -> str:
    test = metrics["counts"]["test"]
    lines = [
        f"## Results on {data_name}",
        "",
        *(f"**{note}**" for note in notes),
        f"{test['cases']:,} test cases of {test['patients']:,} patients, {test['solutions']:,} solutions. "
        f"{metrics['protocol']['intervals']}",
        "",
        "| | value | n |",
        "|---|---|---|",
    ]
    steps = metrics.get("step_metrics", {})
    shown = [(title, steps[name]) for name, title in STEP_ROWS.items() if name in steps]
    lines += [f"| {title} | {with_interval(number)} | {number['n']:,} |" for title, number in shown]
    if "best_of_n" in metrics:
        best, sizes = metrics["best_of_n"], sizes_of(metrics)
        size = "8" if "8" in sizes else sizes[-1]
        for name in dict.fromkeys([metrics["aggregation"], "majority", "random", "oracle"]):
            if number := best.get(name, {}).get(size):
                lines.append(f"| Best-of-{size}, {SELECTOR_NAMES[name]} | {with_interval(number)} | {number['n']:,} |")
    lines += [f"\nNote, {name}: {text}" for name, text in metrics["notes"].items()]
    return "\n".join(lines) + "\n"
