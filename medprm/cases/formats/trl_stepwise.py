"""TRL's stepwise supervision (huggingface.co/docs/trl, dataset formats): `prompt`, `completions`, `labels`.

One row a solution: the prompt, its steps, true or false for each. Text only; two labels.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from medprm.cases.formats.labels import ruled_steps
from medprm.cases.formats.reading import Labelled, Unusable, question_id, split_of
from medprm.cases.formats.writing import TWO, Writer, without_images
from medprm.cases.rows import Row
from medprm.cases.schema import Case, Label, Metadata, Solution

FILES = ("*.jsonl", "*.json", "*.parquet")
RULE = "trl_stepwise_label"


def read_row(row: Row, _left_out: Counter[str]) -> Iterator[Labelled]:
    """The one solution of a row."""
    prompt, texts, given = row.text("prompt"), row.texts("completions"), row.values("labels")
    if not all(isinstance(one, bool) for one in given):
        raise row.error("labels", "a list of true and false")
    if len(given) != len(texts):
        raise Unusable("another number of labels than of steps")
    labels: list[Label] = ["correct" if one else "incorrect" for one in given]
    case = Case(
        case_id=question_id("trl", prompt),
        modality="text",
        metadata=Metadata(source="TRL stepwise", split=split_of(row.where)),
        question=prompt,
    )
    yield Labelled(case, Solution(solution_steps=ruled_steps(texts, labels, RULE, "given")))


def write_row(case: Case, solution: Solution, writer: Writer) -> dict[str, Any]:
    """The row of one solution."""
    texts, labels = writer.judged(solution, TWO)
    prompt = writer.statement(without_images(case))
    return {"prompt": prompt, "completions": texts, "labels": [label == "correct" for label in labels]}
