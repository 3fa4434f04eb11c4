"""A CSV of questions about image files -> typed rows, checked before any image is opened.

Columns, in any order, UTF-8, comma-separated; a question names its image by `file` or by `study_id`:

| column | meaning |
|---|---|
| question | required: what is asked |
| file | image, relative to the source folder, with forward slashes |
| study_id | Study Instance UID: all images of the study; beside `file`, the study id of the record |
| frame | frame of a multi-frame file, counted from 0 |
| case_id | default: name of the CSV and row number; rows that share it are one case with several images |
| patient_id | default: Patient ID of the header |
| modality | chest_xray, ct_scan, pathology, clinical_photos; default: from the header |
| options | answers to choose from, separated by a vertical bar |
| answer, diagnosis, findings | the gold standard; findings separated by a vertical bar |
| age, sex | age in whole years; default: those of the header |
| symptoms, history, note | clinical context; symptoms and history separated by a vertical bar |
| view | default: View Position of the header |
| split | train, validation or test |
| source, licence | where the case is from, and its licence |

An unknown column is an error: a misspelt one would be lost silently.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from medprm.cases.parsing import RecordError
from medprm.cases.schema import Modality, SplitName, check_relative_path

LISTS = ("options", "findings", "symptoms", "history")
CHOICES = {"modality": get_args(Modality), "split": get_args(SplitName)}


@dataclass(frozen=True)
class Question:
    """One row. `where` names it in messages, `questions.csv:17`."""

    where: str
    question: str
    case_id: str
    file: str | None = None
    study_id: str | None = None
    frame: int | None = None
    patient_id: str | None = None
    modality: str | None = None
    options: tuple[str, ...] = ()
    answer: str | None = None
    diagnosis: str | None = None
    findings: tuple[str, ...] = ()
    age: int | None = None
    sex: str | None = None
    symptoms: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    note: str | None = None
    view: str | None = None
    split: str | None = None
    source: str | None = None
    licence: str | None = None


COLUMNS = tuple(one.name for one in fields(Question) if one.name != "where")
# What the rows of one case must agree on; the others belong to the image.
OF_THE_IMAGE = frozenset(("where", "file", "study_id", "frame", "view"))


def read_questions(path: Path) -> list[Question]:
    """All rows in order. RecordError names line, column and value."""
    if not path.is_file():
        raise RecordError(f"{path}: no such file; expected a CSV with columns question and file (or study_id)")
    try:
        with open(path, encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, strict=True)
            _check_columns(rows.fieldnames or (), path)
            questions = [
                _question(row, f"{path.name}:{rows.line_num}", path.stem, number) for number, row in _numbered(rows)
            ]
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from None
    except csv.Error as error:
        raise RecordError(f"{path}: not a readable CSV ({error}); save it with commas and double quotes") from error
    if not questions:
        raise RecordError(f"{path}: no rows; expected one question a row")
    return questions


def _numbered(rows: csv.DictReader) -> Iterator[tuple[int, dict[str, Any]]]:
    return enumerate(rows, start=1)


def _check_columns(names: Any, path: Path) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    twice = [name for name in names if list(names).count(name) > 1]
    if unknown or twice:
        raise RecordError(
            f"{path}: column {(unknown or twice)[0]!r}{'' if unknown else ' stands twice'}; expected "
            f"{', '.join(COLUMNS)}"
        )
    if "question" not in names or not {"file", "study_id"} & set(names):
        raise RecordError(f"{path}: columns {', '.join(names) or 'none'}; expected question, and file or study_id")


def _question(row: dict[str, Any], where: str, stem: str, number: int) -> Question:
    if None in row or None in row.values():
        raise RecordError(f"{where}: not as many cells as columns; put texts with commas into double quotes")
    given: dict[str, Any] = {name: value.strip() for name, value in row.items() if value.strip()}
    if not given.get("question"):
        raise RecordError(f"{where}: question is empty; expected the text that is asked")
    if not {"file", "study_id"} & given.keys():
        raise RecordError(f"{where}: neither file nor study_id; expected one of them")
    for name, allowed in CHOICES.items():
        if name in given and given[name] not in allowed:
            raise RecordError(f"{where}: {name} {given[name]!r}; expected one of {', '.join(allowed)}")
    for name in ("frame", "age"):
        if name in given:
            if not (given[name].isascii() and given[name].isdigit() and len(given[name]) < 8):
                raise RecordError(f"{where}: {name} {given[name]!r}; expected a whole number, 0 or more")
            given[name] = int(given[name])
    for name in LISTS:
        if name in given:
            given[name] = tuple(part.strip() for part in given[name].split("|") if part.strip())
    if "file" in given:
        try:
            check_relative_path(given["file"])
        except ValueError as error:
            raise RecordError(f"{where}: file: {error}") from None
    return Question(where=where, **{"case_id": f"{stem}_{number:06d}", **given})
