"""What all readers of step-labelled formats share: files, questions with several solutions, and counts.

In: files of rows and a function row -> (case, solution). Out: a `Reading`: solutions of one question together, and a
count, by reason, of all that could not be used.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from medprm.cases.parsing import RecordError
from medprm.cases.reading import Reading
from medprm.cases.rows import Row, read_rows
from medprm.cases.schema import Case, CaseSolutions, Solution, SplitName

# As the names of published files say it.
SPLIT_WORDS: tuple[tuple[str, SplitName], ...] = (
    ("train", "train"),
    ("valid", "validation"),
    ("val", "validation"),
    ("dev", "validation"),
    ("test", "test"),
)


class Unusable(ValueError):
    """Why a row gives no labelled solution: counted by its text, which therefore names no row."""


class Labelled(NamedTuple):
    """One solution and the case it belongs to."""

    case: Case
    solution: Solution


RowReader = Callable[[Row, Counter[str]], Iterable[Labelled]]
"""Row, tally of what is left out of kept solutions -> solutions. Raises Unusable."""


def read_solutions(path: Path, patterns: Sequence[str], read_one: RowReader) -> Reading:
    """All files of `path` (a file, or a folder searched by `patterns`), cases in the order of their first rows."""
    refused: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    cases: dict[str, CaseSolutions] = {}
    num_read = 0
    for file in find_files(path, patterns):
        for row in read_rows(file):
            try:
                found = list(read_one(row, left_out))
            except Unusable as reason:
                refused[str(reason)] += 1
                num_read += 1
                continue
            num_read += len(found)
            for labelled in found:
                _add(cases, labelled, row.where)
    return Reading(list(cases.values()), num_read, dict(refused), dict(left_out))


def find_files(path: Path, patterns: Sequence[str]) -> list[Path]:
    """The file itself, or the files of a folder that fit a pattern; RecordError where there is none."""
    if path.is_file():
        return [path]
    found = sorted({file for pattern in patterns for file in path.glob(pattern) if file.is_file()})
    if not found:
        raise RecordError(f"{path}: no file that fits {' or '.join(patterns)}; give the file or the folder that has it")
    return found


def question_id(prefix: str, question: str, *parts: object) -> str:
    """An id from what is asked: rows of one question share it, in whatever order and file they stand."""
    content = json.dumps([question, *parts], ensure_ascii=False, default=str)
    return f"{prefix}_{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def split_of(where: str) -> SplitName | None:
    """The official split that the name of a file says; None where it says none."""
    name = file_of(where).name.casefold()
    return next((split for word, split in SPLIT_WORDS if word in name), None)


def file_of(where: str) -> Path:
    """The file of a row, from `Row.where`."""
    return Path(where.split(":")[0].split(" row ")[0])


def _add(cases: dict[str, CaseSolutions], labelled: Labelled, where: str) -> None:
    known = cases.setdefault(labelled.case.case_id, CaseSolutions(labelled.case, []))
    if known.case != labelled.case:
        differing = _differing(known.case, labelled.case)
        raise RecordError(f"{where}: {differing} differs from an earlier row of the same question; expected one")
    place = len(known.solutions)
    known.solutions.append(
        labelled.solution
        if labelled.solution.solution_id
        else labelled.solution.model_copy(update={"solution_id": f"{known.case.case_id}-{place}"})
    )


def _differing(one: Case, other: Case) -> str:
    return ", ".join(name for name in Case.model_fields if getattr(one, name) != getattr(other, name))


def solutions_of(cases: Iterable[CaseSolutions]) -> Iterator[Labelled]:
    """Every solution with its case, in order."""
    for case, solutions in cases:
        for solution in solutions:
            yield Labelled(case, solution)
