"""The data card for people: a table for the terminal, and a page that needs nothing beside it.

In: the numbers of `data_card`, some cases with their pictures. Out: text, HTML.
"""

import base64
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.atomic import replaced_file
from medprm.cases.schema import Case, CaseSolutions
from medprm.evaluation.data_card import NOT_GIVEN, SOURCES
from medprm.evaluation.pages import page_template
from medprm.evaluation.shown_cases import TRUTH_MARKS, context_rows
from medprm.evaluation.table import aligned, with_interval

TITLES = {
    "modality": "Modality (cases)",
    "source": "Source (cases)",
    "split": "Split (cases)",
    "licence": "Licence (cases)",
    "phi_removed": "Identifiers removed (cases)",
    "irb_approved": "IRB approval (cases)",
    "label": "Label (steps)",
    "category": "Category (steps)",
    "annotation_method": "How labelled (steps)",
    "generator": "Generator (solutions)",
    "final_answer": "Final answer (solutions)",
    "solution_labels": "Labels within a solution (solutions)",
    "difficulty": "Difficulty (cases)",
    "specialty": "Specialty (cases)",
}
PRINTED = ("modality", "source", "split", "licence", "category", "label", "solution_labels", "final_answer")
MOST_ROWS = 12


class Bar(NamedTuple):
    """A row of a table: its share of the longest and of all."""

    name: str
    num: int
    share: float
    width: float


class ExampleStep(NamedTuple):
    """One step as shown, with what each source says of it."""

    text: str
    category: str
    label: str
    mark: str
    said: str


class Example(NamedTuple):
    """One case with one of its solutions as shown."""

    case: Case
    images: list[str]
    context: list[tuple[str, str]]
    reference: str
    generator: str
    answer: str
    steps: list[ExampleStep]


def pick_examples(cases: Sequence[CaseSolutions], num: int, seed: int = 0) -> list[tuple[CaseSolutions, int]]:
    """Cases and the number of a solution: modalities in turn, drawn; the first with an incorrect step, if any."""
    order = list(range(len(cases)))
    random.Random(seed).shuffle(order)
    by_modality: dict[str, list[int]] = {}
    for number in order:
        if cases[number].solutions:
            by_modality.setdefault(cases[number].case.modality, []).append(number)
    chosen: list[int] = []
    while len(chosen) < num and any(by_modality.values()):
        chosen += [numbers.pop(0) for numbers in by_modality.values() if numbers][: num - len(chosen)]
    found = []
    for number in chosen:
        item = cases[number]
        wrong = [place for place, one in enumerate(item.solutions) if "incorrect" in one.labels]
        found.append((item, wrong[0] if wrong else 0))
    return found


def example_of(item: CaseSolutions, number: int, image_png: Callable[[Case], list[bytes]]) -> Example:
    case, solution = item.case, item.solutions[number]
    gold = case.gold_standard
    reference = [one for one in (gold.answer, gold.diagnosis, ", ".join(gold.findings)) if one] if gold else []
    return Example(
        case,
        ["data:image/png;base64," + base64.b64encode(png).decode("ascii") for png in image_png(case)],
        context_rows(case),
        "; ".join(dict.fromkeys(reference)),
        solution.generator or NOT_GIVEN,
        solution.answer or NOT_GIVEN,
        [
            ExampleStep(
                step.content,
                step.category or "",
                step.label or "unknown",
                TRUTH_MARKS[step.label or "unknown"],
                _said(step.sources),
            )
            for step in solution.solution_steps
        ],
    )


def write_page(
    path: Path, card: Mapping[str, Any], name: str, examples: Sequence[Example], notes: Sequence[str]
) -> None:
    """The page, whole or not at all."""
    page = page_template("data_card.html.j2").render(
        name=name,
        card=card,
        totals=totals_of(card),
        tables={TITLES[key]: bars(table) for key, table in card["tables"].items() if _says_something(table)},
        histogram=bars(card["steps_per_solution"], num_rows=None),
        sources=SOURCES,
        examples=examples,
        notes=notes,
        interval=with_interval,
    )
    with replaced_file(path) as draft:
        draft.write_text(page, encoding="utf-8")


def format_card(card: Mapping[str, Any], name: str) -> str:
    """The same for the terminal, without the examples."""
    lines = [name, ", ".join(f"{num:,} {what}" for what, num in totals_of(card))]
    for key in PRINTED:
        table = card["tables"].get(key, {})
        if _says_something(table):
            rows = [[TITLES[key], "", ""]]
            rows += [[f"  {one.name}", f"{one.num:,}", f"{100 * one.share:.1f} %"] for one in bars(table)]
            lines += ["", aligned(rows)]
    rows = [["steps a solution", "solutions"]]
    rows += [[f"  {length}", f"{num:,}"] for length, num in card["steps_per_solution"].items()]
    lines += ["", aligned(rows)]
    if card["agreement"]:
        rows = [["sources", "steps", "agreement", "kappa [95 %]"]]
        for one in card["agreement"]:
            kappa = with_interval(one["kappa"]) if "kappa" in one else "undefined"
            rows.append(
                [f"  {one['first']}, {one['second']}", f"{one['n']:,}", f"{one['raw_agreement']['value']:.3f}", kappa]
            )
        lines += ["", aligned(rows)]
    return "\n".join(lines)


def totals_of(card: Mapping[str, Any]) -> list[tuple[str, int]]:
    names = ("cases", "patients", "solutions", "steps", "images", "documents")
    rest = ("cases_without_patient_id", "cases_without_solutions", "cases_without_reference")
    found = [(name, card["totals"].get(name, 0)) for name in names]
    return found + [(name.replace("_", " "), num) for name in rest if (num := card["totals"].get(name, 0))]


def bars(table: Mapping[str, int], num_rows: int | None = MOST_ROWS) -> list[Bar]:
    """The largest rows, and one for all others together."""
    total, longest = sum(table.values()), max(table.values(), default=0)
    rows = list(table.items())
    shown = rows if num_rows is None or len(rows) <= num_rows else rows[: num_rows - 1]
    if rest := rows[len(shown) :]:
        shown = [*shown, (f"{len(rest)} others", sum(num for _, num in rest))]
    longest = max(longest, *(num for _, num in shown), 1) if shown else 1
    return [Bar(name, num, num / max(1, total), num / longest) for name, num in shown]


def _says_something(table: Mapping[str, int]) -> bool:
    return bool(table) and set(table) != {NOT_GIVEN}


def _said(sources: Any) -> str:
    """`judge incorrect; rollouts 3 of 16; expert correct`."""
    if sources is None:
        return ""
    said = [
        f"{name} {one.verdict}" for name in ("judge", "expert", "rule", "outcome") for one in getattr(sources, name)
    ]
    said += [f"rollouts {run.num_correct} of {run.num_correct + run.num_wrong} right" for run in sources.monte_carlo]
    return "; ".join(said)
