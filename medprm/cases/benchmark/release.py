"""A release of a benchmark: numbered, with sums of its files, test labels apart.

In: a built folder, a checklist that people have answered. Out: the release (test without anything that says which
step or answer is right), and beside it the hidden folder, which stays with whoever runs the evaluation. `evaluate.py
data.path=HIDDEN` scores against it.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medprm.cases.atomic import replaced_file
from medprm.cases.folder import DESCRIPTION
from medprm.cases.schema import Case, CaseSolutions, Record, Solution, from_json, to_json
from medprm.errors import InputError

SUMS_FILE, VERSION_FILE = "SHA256SUMS", "VERSION"
# What a test case may say; everything else could tell.
OPEN_CASE_FIELDS = (
    "case_id",
    "patient_id",
    "modality",
    "metadata",
    "clinical_context",
    "image",
    "images",
    "question",
    "options",
    "documents",
)
OPEN_SOLUTION_FIELDS = ("solution_id", "answer", "solution_steps")
OPEN_STEP_FIELDS = ("step_id", "category", "content")


def hidden(cases: Sequence[CaseSolutions], seed: int) -> list[CaseSolutions]:
    """Test cases without labels, verdicts, references and free fields; candidates in drawn order under new names.

    `solution_key` gives the same names to the hidden side.
    """
    found = []
    for item in cases:
        record = from_json(_open_case(item.case))
        order = list(range(len(item.solutions)))
        random.Random(f"{seed} {item.case.case_id}").shuffle(order)
        solutions = [
            _open_solution(record, item.solutions[place], solution_key(item.case, place, seed)) for place in order
        ]
        found.append(CaseSolutions(record.case(), solutions))
    return found


def keyed(cases: Sequence[CaseSolutions], seed: int) -> list[CaseSolutions]:
    """The same cases with all they say, solutions under the names that the open side has."""
    return [
        CaseSolutions(
            item.case,
            [
                one.model_copy(update={"solution_id": solution_key(item.case, place, seed)})
                for place, one in enumerate(item.solutions)
            ],
        )
        for item in cases
    ]


def solution_key(case: Case, place: int, seed: int) -> str:
    """A name that does not say where in the file the solution stood, nor what it was called there."""
    return hashlib.blake2b(f"{seed} {case.case_id} {place}".encode(), digest_size=6).hexdigest()


def place_images(folder: Path, images: dict[str, Path]) -> None:
    """The files under their new paths: linked where the disk allows, else copied."""
    for path, origin in images.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not origin.is_file():
            raise InputError(f"{origin}: no such image file; complete the set's folder")
        target.unlink(missing_ok=True)
        try:
            os.link(origin.resolve(), target)
        except OSError:
            shutil.copyfile(origin, target)


def write_description(folder: Path, facts: dict[str, Any]) -> None:
    with replaced_file(folder / DESCRIPTION) as draft:
        draft.write_text(
            json.dumps({"image_root": ".", **facts}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def write_sums(folder: Path) -> int:
    """SHA256SUMS over every other file, as `sha256sum --check` reads it. Returns how many."""
    files = sorted(one for one in folder.rglob("*") if one.is_file() and one.name != SUMS_FILE)
    lines = []
    for one in files:
        with open(one, "rb") as content:
            lines.append(
                f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {one.relative_to(folder).as_posix()}\n"
            )
    with replaced_file(folder / SUMS_FILE) as draft:
        draft.write_text("".join(lines), encoding="utf-8")
    return len(files)


def _open_case(case: Case) -> dict[str, Any]:
    value = to_json(case)
    return _without_extra({name: value[name] for name in OPEN_CASE_FIELDS if name in value})


def _open_solution(record: Record, solution: Solution, name: str) -> Solution:
    value = to_json(solution)
    steps = [{key: step[key] for key in OPEN_STEP_FIELDS if key in step} for step in value.get("solution_steps", [])]
    given: dict[str, Any] = {"solution_id": name, "solution_steps": steps}
    if value.get("answer") is not None:
        given["answer"] = value["answer"]
    assert set(given) <= set(OPEN_SOLUTION_FIELDS)
    return from_json(
        {"case_id": record.case_id, "modality": record.modality, "question": record.question} | given
    ).solution()


def _without_extra(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_extra(one) for name, one in value.items() if name != "extra"}
    return [_without_extra(one) for one in value] if isinstance(value, list) else value
