"""Mr-Ben (dvlab-research/Mr-Ben, arXiv 2406.13975, MIT): human labels of the first wrong step, medicine.

In: `medicine.json`, one object question id -> list of rows, one row a model's solution. Out: text cases with
their solutions. Three traps of the format are handled here and nowhere else:
the list of steps also holds continuation lines, which belong to the step before them; the first wrong step is the
number in the label `Step N`, 1-based, and no list index; the solution's own `Model_Solution_Correctness` is the
truth, not a comparison with `Ground_Truth_Answer`, which was corrected for some questions.

A first-error label says nothing of later steps: they are `unknown`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.answers import parse_answer
from medprm.cases.formats.labels import first_error_labels, ruled_steps
from medprm.cases.formats.reading import Unusable
from medprm.cases.parsing import RecordError, parse_json
from medprm.cases.reading import Reading
from medprm.cases.schema import (
    Case,
    CaseSolutions,
    GoldStandard,
    Metadata,
    Solution,
)

RULE = "mrben_first_error"
FILE_NAME = "medicine.json"
STEP_START = re.compile(r"\s*Step (\d+):")
SOLUTION_START = re.compile(r"\s*Solution:")
OPTION_START = re.compile(r"(?m)^\s*([A-Z]):")
FIELDS = (
    "Question_UUID",
    "Question",
    "Options",
    "Subject",
    "Ground_Truth_Answer",
    "Ground_Truth_Answer_Modified",
    "Sampled_Model",
    "Model_Solution_Correctness",
    "Model_Solution_First_Error_Step",
)


class NumberedStep(NamedTuple):
    """A merged step. `number` is the 1-based one of its label; None for text before `Step 1`."""

    number: int | None
    text: str


def read_mrben(path: str | Path) -> list[CaseSolutions]:
    """The cases of `medicine.json` (or of the folder that holds it); refused solutions are counted and logged."""
    reading = load_mrben(path)
    reading.log("mrben")
    return reading.cases


def load_mrben(path: str | Path) -> Reading:
    """Like `read_mrben`, with the counts of solutions read and refused by reason."""
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    refused: Counter[str] = Counter()
    num_read = 0
    cases: list[CaseSolutions] = []
    for question_id, rows in _questions(path):
        solutions: list[Solution] = []
        for place, row in enumerate(rows):
            num_read += 1
            try:
                solutions.append(_solution(row, f"mrben_{question_id}_{place}"))
            except Unusable as reason:
                refused[str(reason)] += 1
        cases.append(CaseSolutions(_case(rows[0], question_id, f"{path} question {question_id}"), solutions))
    return Reading(cases, num_read, dict(refused))


def merge_steps(lines: list[str]) -> list[NumberedStep]:
    """Steps by their labels: `Step N:` opens step N, `Solution:` opens the one after the last, other lines continue.

    Text before `Step 1` is a step of its own, without a number.
    """
    merged: list[NumberedStep] = []
    last_number = 0
    for line in lines:
        start = STEP_START.match(line)
        if start or SOLUTION_START.match(line):
            last_number = int(start.group(1)) if start else last_number + 1
            merged.append(NumberedStep(last_number, line))
        elif merged:
            merged[-1] = merged[-1]._replace(text=f"{merged[-1].text}\n{line}")
        else:
            merged.append(NumberedStep(None, line))
    return [step._replace(text=step.text.strip()) for step in merged]


def first_error_index(row: Mapping[str, Any], steps: list[NumberedStep]) -> int | None:
    """0-based place of the first wrong step, None for a correct solution: here, and only here, 1-based ends."""
    correctness, given = row["Model_Solution_Correctness"], row["Model_Solution_First_Error_Step"].strip()
    if correctness == "correct" and given == "N/A":
        return None
    if correctness != "incorrect" or not given.isdecimal():
        raise Unusable("correctness and first error step contradict each other")
    numbers = [step.number for step in steps]
    if int(given) not in numbers:
        raise Unusable("the first error step is not among the steps")
    return numbers.index(int(given))


def _solution(row: Mapping[str, Any], solution_id: str) -> Solution:
    merged = merge_steps(row["Model_Solution_Steps"])
    numbers = [step.number for step in merged if step.number is not None]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise Unusable("the steps are not numbered 1, 2, 3, ...")
    first_error = first_error_index(row, merged)
    labels = first_error_labels(len(merged), first_error)
    steps = ruled_steps([step.text for step in merged], labels, RULE, "human_first_error")
    answer = parse_answer(steps[-1].content, _options(row["Options"]))
    return Solution(
        solution_id=solution_id,
        generator=row["Sampled_Model"],
        answer=answer,
        is_correct=first_error is None,
        solution_steps=steps,
    )


def _case(row: Mapping[str, Any], question_id: str, where: str) -> Case:
    options = _options(row["Options"])
    letters = row["Ground_Truth_Answer_Modified"].strip()
    if not re.fullmatch(r"[A-Z]+", letters) or max(map(_place, letters)) >= len(options):
        raise RecordError(f"{where}: Ground_Truth_Answer_Modified {letters!r}; expected letters of its options")
    # Some questions have two right letters: then there is no one answer to name.
    answer = options[_place(letters)] if len(letters) == 1 else None
    extra = {"letters": letters, "letters_before_correction": row["Ground_Truth_Answer"]}
    return Case(
        case_id=f"mrben_{question_id}",
        modality="text",
        metadata=Metadata(source="Mr-Ben medicine", licence="MIT", specialty=row["Subject"]),
        question=_newlines(row["Question"]),
        options=options,
        gold_standard=GoldStandard(answer=answer, extra=extra),
    )


def _options(text: str) -> tuple[str, ...]:
    starts = list(OPTION_START.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    if [_place(start.group(1)) for start in starts] != list(range(len(starts))):
        return ()
    return tuple(_newlines(text[start.end() : end]).strip() for start, end in zip(starts, ends, strict=True))


def _place(letter: str) -> int:
    return ord(letter) - ord("A")


def _newlines(text: str) -> str:
    """Plain line ends; the rows of one question differ in their white space only."""
    return text.replace("\r\n", "\n").strip()


def _questions(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    if not path.is_file():
        raise RecordError(f"{path}: no such file; expected Mr-Ben's {FILE_NAME}")
    value = parse_json(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(value, dict) or not value:
        raise RecordError(f"{path}: expected one JSON object, question id -> list of solutions")
    for question_id, rows in value.items():
        where = f"{path} question {question_id}"
        if not isinstance(rows, list) or not rows:
            raise RecordError(f"{where}: expected a list of solutions")
        for place, row in enumerate(rows):
            _check_row(row, rows[0], question_id, f"{where} solution {place}")
        yield question_id, rows


def _check_row(row: Any, first: Mapping[str, Any], question_id: str, where: str) -> None:
    if not isinstance(row, dict):
        raise RecordError(f"{where}: expected an object")
    for field in FIELDS:
        if not isinstance(row.get(field), str):
            raise RecordError(f"{where}: {field} {row.get(field)!r}; expected text")
    lines = row.get("Model_Solution_Steps")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise RecordError(f"{where}: Model_Solution_Steps is no list of texts")
    if row["Question_UUID"] != question_id or row["Question"].split() != first["Question"].split():
        raise RecordError(f"{where}: its question is not that of question {question_id}")
