"""A release of a benchmark: numbered, with sums of its files, test labels apart.

In: a built folder, a checklist that people have answered. Out: the release (test without anything that says which
step or answer is right), and beside it the hidden folder, which stays with whoever runs the evaluation: the labels, and
the secret that the names and the order of test solutions follow from. `evaluate.py data.path=HIDDEN` scores against it.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from medprm.cases.atomic import replaced_file
from medprm.cases.folder import DESCRIPTION
from medprm.cases.schema import Case, CaseSolutions, Record, Solution, from_json, to_json
from medprm.errors import InputError

SUMS_FILE, VERSION_FILE, SECRET_FILE = "SHA256SUMS", "VERSION", "SECRET"
SECRET_BYTES = 32
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


def hidden(cases: Sequence[CaseSolutions], secret: bytes, image_names: Mapping[str, str]) -> list[CaseSolutions]:
    """Test cases without labels, verdicts, references and free fields; candidates under new names, in their order.

    `keyed` gives the same names to the hidden side; `image_names` are the images' new paths by their old ones.
    """
    found = []
    for item in cases:
        record = from_json(_open_case(item.case, image_names))
        names = [solution_key(item.case, place, secret) for place in range(len(item.solutions))]
        solutions = [_open_solution(record, one, name) for name, one in zip(names, item.solutions, strict=True)]
        found.append(CaseSolutions(record.case(), sorted(solutions, key=lambda one: one.solution_id or "")))
    return found


def keyed(cases: Sequence[CaseSolutions], secret: bytes) -> list[CaseSolutions]:
    """The same cases with all they say, solutions under the names that the open side has."""
    return [
        CaseSolutions(
            item.case,
            [
                one.model_copy(update={"solution_id": solution_key(item.case, place, secret)})
                for place, one in enumerate(item.solutions)
            ],
        )
        for item in cases
    ]


def solution_key(case: Case, place: int, secret: bytes) -> str:
    """A name that, without the secret, does not say where in the file the solution stood, nor what it was called."""
    return hashlib.blake2b(f"{case.case_id} {place}".encode(), key=secret, digest_size=6).hexdigest()


def read_or_draw_secret(folder: Path) -> bytes:
    """The secret that lies in the hidden folder, so that a release can be made again; else a new one, left there."""
    path = folder / SECRET_FILE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(SECRET_BYTES) + "\n", encoding="utf-8")
    try:
        secret = bytes.fromhex(path.read_text(encoding="utf-8"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise InputError(f"{path}: expected {2 * SECRET_BYTES} hexadecimal digits; take the file of a former release")
    return secret


def image_names(cases: Sequence[CaseSolutions], root: Path) -> dict[str, str]:
    """Old path -> path by the file's content: folders and names of files may say the label (RadImageNet's do)."""
    names = {}
    for path in {image.path for item in cases for image in item.case.all_images}:
        with open(_existing(root / path), "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        names[path] = f"images/{digest[:32]}{PurePosixPath(path).suffix.lower()}"
    return names


def place_images(folder: Path, images: dict[str, Path]) -> None:
    """The files under their new paths: linked where the disk allows, else copied."""
    for path, origin in images.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        _existing(origin)
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


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: no such image file; complete the set's folder")
    return path


def _open_case(case: Case, image_names: Mapping[str, str]) -> dict[str, Any]:
    value = to_json(case)
    for image in [*([value["image"]] if value.get("image") else []), *value.get("images", [])]:
        image["path"] = image_names[image["path"]]
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
