"""PRMBench (ssmisya/PRMBench, arXiv 2501.03124, Apache-2.0): solutions changed on purpose, every wrong step listed.

`error_steps` counts from 1 and is complete: the other steps are correct, also behind an error. Steps that are wrong by
being redundant or circular are `incorrect`, as the benchmark scores them; `classification` is kept, so that they can be
told apart. The unchanged originals come from the redundancy rows, as in the benchmark's own `correct` class.
"""

from collections import Counter
from collections.abc import Iterator

from medprm.cases.formats.labels import from_one_based, ruled_steps
from medprm.cases.formats.reading import Labelled, question_id
from medprm.cases.rows import Row
from medprm.cases.schema import Case, Label, Metadata, Solution

FILES = ("prmtest*.jsonl", "prmbench*.jsonl", "*.jsonl")
RULE = "prmbench_error_steps"


def read_row(row: Row, _left_out: Counter[str]) -> Iterator[Labelled]:
    """The changed solution and, of redundancy rows, the original."""
    kind, index = row.text("classification"), row.word("idx")
    changed = row.optional_text("modified_question") or row.text("original_question")
    yield _labelled(row, changed, "modified_process", _wrong_places(row), f"{index}-modified", kind)
    if kind.startswith("redund"):
        original = row.text("original_question")
        yield _labelled(row, original, "original_process", set(), f"{index}-original", "correct")


def _wrong_places(row: Row) -> set[int]:
    num_steps = len(row.texts("modified_process"))
    numbers = row.values("error_steps")
    if not all(type(number) is int for number in numbers):
        raise row.error("error_steps", "a list of whole numbers")
    return {from_one_based(number, num_steps) for number in numbers}


def _labelled(row: Row, question: str, name: str, wrong: set[int], solution_id: str, kind: str) -> Labelled:
    texts = row.texts(name)
    labels: list[Label] = ["incorrect" if place in wrong else "correct" for place in range(len(texts))]
    steps = ruled_steps(texts, labels, RULE, "construction", [{"classification": kind}] * len(texts))
    case = Case(
        case_id=question_id("prmbench", question),
        modality="text",
        metadata=Metadata(source="PRMBench", licence="Apache-2.0", split="test"),
        question=question,
    )
    return Labelled(case, Solution(solution_id=solution_id, solution_steps=steps))
