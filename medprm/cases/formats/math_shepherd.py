"""Math-Shepherd (peiyi9979/Math-Shepherd, arXiv 2312.08935, MIT): + and - from rollouts, behind every step.

A row has `input`, question and steps in one text with ` ки` behind every step, and `label`, the same text with + or -
in the place of every `ки`. The question ends where `Step 1:` begins. `+`: some rollout from here was right.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from medprm.cases.formats.labels import SIGN_OF, SIGNS, ruled_steps
from medprm.cases.formats.reading import Labelled, Unusable, question_id, split_of
from medprm.cases.formats.writing import TWO, Writer, without_images
from medprm.cases.rows import Row
from medprm.cases.schema import Case, Label, Metadata, Solution

FILES = ("math-shepherd*.jsonl", "*.jsonl", "*.parquet")
STEP_TOKEN = "ки"
RULE = "math_shepherd_hard_estimation"
FIRST_STEP = re.compile(r"Step 1\s*:")
NUMBERED = re.compile(r"Step (\d+)\s*:")


def read_row(row: Row, _left_out: Counter[str]) -> Iterator[Labelled]:
    """The one solution of a row; text behind the last step token is a step without a label."""
    *pieces, tail = row.text("input").split(STEP_TOKEN)
    if not pieces:
        raise Unusable("no step token")
    labels = _labels(pieces, tail, row)
    begin = FIRST_STEP.search(pieces[0])
    if begin is None or not pieces[0][: begin.start()].strip():
        raise Unusable("no question before `Step 1:`")
    question = pieces[0][: begin.start()].strip()
    texts = [pieces[0][begin.start() :], *pieces[1:]]
    if tail.strip():
        texts.append(tail)
        labels.append("unknown")
    task = row.optional_text("task")
    case = Case(
        case_id=question_id("math_shepherd", question),
        modality="text",
        metadata=Metadata(source="Math-Shepherd", licence="MIT", split=split_of(row.where)),
        question=question,
    )
    steps = ruled_steps(texts, labels, RULE, "monte_carlo_hard", [{"task": task}] * len(texts) if task else ())
    yield Labelled(case, Solution(solution_steps=steps))


def write_row(case: Case, solution: Solution, writer: Writer) -> dict[str, Any]:
    """The row of one solution. Steps that do not open with `Step k:` are given it."""
    question = writer.statement(without_images(case))
    texts, labels = writer.judged(solution, TWO)
    if FIRST_STEP.search(question) or any(STEP_TOKEN in text for text in (question, *texts)):
        raise Unusable("`Step 1:` in the question or the step token in a text, which the format could not tell apart")
    if not all(_number(text) == number for number, text in enumerate(texts, start=1)):
        writer.changed["`Step k:` put before every step"] += 1
        texts = [f"Step {number}: {text}" for number, text in enumerate(texts, start=1)]
    extra = solution.solution_steps[0].extra or {}
    marked = {
        name: f"{question} " + "\n".join(f"{text} {mark}" for text, mark in zip(texts, marks, strict=True))
        for name, marks in (("input", [STEP_TOKEN] * len(texts)), ("label", [SIGN_OF[label] for label in labels]))
    }
    return {**marked, **({"task": extra["task"]} if "task" in extra else {})}


def _labels(pieces: list[str], tail: str, row: Row) -> list[Label]:
    """The sign behind each piece of `input`, read off `label`, which must be the same text otherwise."""
    label, place = row.text("label"), 0
    found: list[Label] = []
    for piece in pieces:
        end = place + len(piece)
        if label[place:end] != piece or label[end : end + 1] not in SIGNS:
            raise Unusable("input and label are not the same text with + or - behind every step")
        found.append(SIGNS[label[end]])
        place = end + 1
    if label[place:] != tail:
        raise Unusable("input and label are not the same text with + or - behind every step")
    return found


def _number(text: str) -> int | None:
    found = NUMBERED.match(text)
    return int(found.group(1)) if found else None
