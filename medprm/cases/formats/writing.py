"""Records to published formats: what cannot be said in a format is refused and counted, never bent.

In: cases with labelled solutions. Out: rows of the format and the counts. Formats with two labels cannot hold `neutral`
or `unknown`; the settings say whether such solutions are refused (default) or made to fit.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from medprm.cases.formats.reading import Unusable
from medprm.cases.schema import Case, CaseSolutions, Label, Solution
from medprm.errors import check_choice

TWO = ("correct", "incorrect")
THREE = (*TWO, "neutral")
IMAGE = "<image>"


@dataclass(frozen=True)
class WriteSettings:
    """How labels that a format has no word for are written."""

    # refuse: a solution with an unknown step is left out; truncate: it ends before its first unknown step.
    unknown: str = "refuse"
    # refuse: a solution with a neutral step is left out; correct or incorrect: written as that.
    neutral: str = "refuse"

    def __post_init__(self) -> None:
        check_choice("unknown", self.unknown, ("refuse", "truncate"))
        check_choice("neutral", self.neutral, ("refuse", *TWO))


@dataclass(frozen=True)
class Writer:
    """What writing one file shares: settings, the texts around a case, the tallies."""

    settings: WriteSettings = WriteSettings()
    # What the format's question holds of a case; formats without a field for options need more than `question`.
    statement: Callable[[Case], str] = lambda case: case.question
    # The system message of chat formats; "": none.
    system: str = ""
    refused: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)

    def judged(self, solution: Solution, allowed: Sequence[str]) -> "Judged":
        """The steps and labels that the format can hold. Raises Unusable."""
        labels: list[Label] = solution.labels
        texts = solution.step_texts
        if "neutral" not in allowed and "neutral" in labels:
            if self.settings.neutral == "refuse":
                raise Unusable("a neutral step, which the format has no word for")
            self.changed[f"neutral steps written as {self.settings.neutral}"] += labels.count("neutral")
            written: Label = "correct" if self.settings.neutral == "correct" else "incorrect"
            labels = [written if label == "neutral" else label for label in labels]
        if "unknown" not in allowed and "unknown" in labels:
            end = labels.index("unknown")
            if self.settings.unknown == "refuse" or end == 0:
                raise Unusable("a step without a label, which the format has no word for")
            self.changed["steps from the first unknown one on, cut"] += len(labels) - end
            texts, labels = texts[:end], labels[:end]
        if not texts:
            raise Unusable("no steps")
        return Judged(texts, labels)


class Judged(NamedTuple):
    """Step texts and their labels, of one length."""

    texts: list[str]
    labels: list[Label]


class Writing(NamedTuple):
    """Rows to write, and what became of the solutions."""

    rows: list[dict[str, Any]]
    num_read: int
    refused: Counter[str]
    changed: Counter[str]


RowWriter = Callable[[Case, Solution, Writer], dict[str, Any]]


def write_solutions(cases: Iterable[CaseSolutions], write_one: RowWriter, writer: Writer) -> Writing:
    """One row a solution, in order."""
    rows, num_read = [], 0
    for case, solutions in cases:
        for solution in solutions:
            num_read += 1
            writer.changed["documents, which the format does not hold"] += bool(case.documents)
            try:
                rows.append(write_one(case, solution, writer))
            except Unusable as reason:
                writer.refused[str(reason)] += 1
    return Writing(rows, num_read, writer.refused, +writer.changed)


def without_images(case: Case) -> Case:
    """The case, for a format that holds text only. Raises Unusable where it has images."""
    if case.all_images:
        raise Unusable("images, which the format cannot hold")
    return case


def gold_answer(case: Case) -> str:
    """The reference answer. Raises Unusable where there is none."""
    if case.gold_standard is None or case.gold_standard.answer is None:
        raise Unusable("no reference answer, which the format asks for")
    return case.gold_standard.answer
