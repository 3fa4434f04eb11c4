"""Questions and the files of a journal -> cases, one at a time, and why a question has none.

A question's case takes from the header what its row leaves out: patient, study, age, sex, view, and the modality of the
record where the header is clear about it.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from medprm.cases.questions import OF_THE_IMAGE, Question
from medprm.cases.schema import (
    Case,
    ClinicalContext,
    GoldStandard,
    Image,
    Metadata,
)
from medprm.commands.ingest_journal import Journal
from medprm.commands.ingest_settings import IngestSettings
from medprm.errors import InputError

CHEST = ("CHEST", "THORAX", "LUNG", "RIB")
RADIOGRAPHS = ("CR", "DX", "RG")
CLINICAL_PHOTOS = ("XC", "DMS", "OP", "GM")
PATHOLOGY = ("SM",)


class Refused(NamedTuple):
    """A case that was not made, by its first row."""

    where: str
    reason: str


class Found(NamedTuple):
    """One image of a case: its record, and the facts of its file."""

    image: Image
    facts: dict[str, Any]
    study_id: str | None


def group_rows(questions: Sequence[Question]) -> list[list[Question]]:
    """Rows by case, in the order of their first rows. InputError where rows of one case disagree."""
    groups: dict[str, list[Question]] = {}
    for row in questions:
        first = groups.setdefault(row.case_id, [row])[0]
        if first is row:
            continue
        for name, value in vars(row).items():
            if name not in OF_THE_IMAGE and value != getattr(first, name):
                raise InputError(
                    f"{row.where}: {name} {value!r} differs from {getattr(first, name)!r} of case {row.case_id} at "
                    f"{first.where}; rows of one case must agree on all but file, frame and view"
                )
        groups[row.case_id].append(row)
    return list(groups.values())


def frames_by_file(questions: Sequence[Question]) -> dict[str, tuple[int | None, ...]]:
    """Which frames of which files are asked for."""
    found: defaultdict[str, set[int | None]] = defaultdict(set)
    for row in questions:
        if row.file is not None:
            found[row.file].add(row.frame)
    return {
        path: tuple(sorted(frames, key=lambda frame: -1 if frame is None else frame)) for path, frames in found.items()
    }


class CaseMaker:
    """Makes cases from rows; holds where each file's line is, and the files of each study that is asked for."""

    def __init__(self, journal: Journal, questions: Sequence[Question], settings: IngestSettings) -> None:
        self.journal = journal
        self.settings = settings
        self.places = journal.places()
        self.studies = self._studies({row.study_id for row in questions if row.file is None and row.study_id})

    def make(self, groups: Sequence[Sequence[Question]]) -> Iterator[Case | Refused]:
        """A case for every group of rows, or the reason why there is none."""
        with open(self.journal.path, "rb") as lines:
            for rows in groups:
                try:
                    yield self._case(rows, lines)
                except InputError as error:
                    yield Refused(rows[0].where, str(error))

    def _studies(self, wanted: set[str]) -> dict[str, list[str]]:
        files: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for line in self.journal.read() if wanted else ():
            facts = line.get("facts", {})
            study = line.get("original_study_id") or facts.get("study_id")
            if line["status"] == "read" and study in wanted:
                files[study].append((facts["series_number"] or 0, facts["instance_number"] or 0, line["entry"][0]))
        return {study: [path for *_numbers, path in sorted(found)] for study, found in files.items()}

    def _case(self, rows: Sequence[Question], lines: BinaryIO) -> Case:
        found = [one for row in rows for one in self._images(row, lines)]
        if len(found) > self.settings.max_images:
            raise InputError(f"{len(found)} images, more than max_images={self.settings.max_images}; name the files")
        row = rows[0]
        patient = self._one("patient", [row.patient_id or one.facts.get("patient_id") for one in found])
        study = row.study_id if row.file is not None and row.study_id else found[0].study_id
        images = tuple(one.image for one in found)
        given: dict[str, Any] = {
            "case_id": row.case_id,
            "patient_id": patient,
            "modality": self._modality(row, found),
            "metadata": _given(Metadata, source=row.source, licence=row.licence, split=row.split),
            "clinical_context": self._context(row, found[0].facts),
            "image": images[0],
            "images": images[1:],
            "question": row.question,
            "options": row.options,
            "gold_standard": _given(GoldStandard, answer=row.answer, diagnosis=row.diagnosis, findings=row.findings),
            "extra": {"study_id": study} if study else None,
        }
        return Case(**{name: value for name, value in given.items() if value not in (None, ())})

    def _images(self, row: Question, lines: BinaryIO) -> list[Found]:
        if row.file is not None:
            paths, frame = [row.file], row.frame
        else:
            paths, frame = self.studies.get(row.study_id or "", []), row.frame
        if not paths:
            raise InputError(f"study_id {row.study_id!r}: no readable file of this study in the source")
        return [self._image(path, frame, row, lines) for path in paths]

    def _image(self, path: str, frame: int | None, row: Question, lines: BinaryIO) -> Found:
        place = self.places.get(path)
        if place is None:
            raise InputError(f"{path}: no such file in the source")
        line = self.journal.read_at(lines, place)
        if line["status"] != "read":
            raise InputError(line["reason"])
        shown = line["frames"].get("" if frame is None else str(frame))
        if shown is None:
            num_frames = line["facts"]["num_frames"]
            raise InputError(f"{path}: holds {num_frames} frames; name one in the column frame, 0 to {num_frames - 1}")
        if "refusal" in shown:
            raise InputError(shown["refusal"])
        facts = line["facts"]
        written = shown["path"]
        extra = {"laterality": facts["laterality"]} if facts.get("laterality") else None
        image = {
            "path": f"images/{written}" if written else path,
            "view": row.view or facts.get("view"),
            "frame": None if written else frame,
            "extra": extra,
        }
        given = {name: value for name, value in image.items() if value is not None}
        return Found(Image(**given), facts, facts.get("study_id"))

    def _one(self, what: str, values: Sequence[str | None]) -> str | None:
        distinct = sorted({value for value in values if value})
        if len(distinct) > 1:
            raise InputError(f"images of more than one {what} in one case ({len(distinct)}); give each its own case_id")
        return distinct[0] if distinct else None

    def _modality(self, row: Question, found: Sequence[Found]) -> str:
        if row.modality or self.settings.modality:
            return str(row.modality or self.settings.modality)
        kinds = {record_modality(one.facts) for one in found}
        if len(kinds) == 1 and (kind := next(iter(kinds))):
            return kind
        facts = found[0].facts
        raise InputError(
            f"modality {facts.get('modality')} of {facts.get('body_part') or 'an unnamed body part'}: the header does "
            "not say which modality of a record this is; give the column modality, or --modality"
        )

    def _context(self, row: Question, facts: dict[str, Any]) -> ClinicalContext | None:
        age = row.age if row.age is not None else facts.get("age")
        return _given(
            ClinicalContext,
            age=age,
            sex=row.sex or facts.get("sex"),
            symptoms=row.symptoms,
            history=row.history,
            note=row.note,
        )


def record_modality(facts: dict[str, Any]) -> str | None:
    """The record's modality where the header is clear: a radiograph of an unknown body part is no chest film."""
    modality, part = facts.get("modality"), (facts.get("body_part") or "").upper()
    if modality == "CT":
        return "ct_scan"
    if modality in RADIOGRAPHS and any(name in part for name in CHEST):
        return "chest_xray"
    if modality in CLINICAL_PHOTOS:
        return "clinical_photos"
    return "pathology" if modality in PATHOLOGY else None


def default_questions(journal: Journal, question: str) -> Iterator[Question]:
    """One row for every readable file of one frame, where no CSV is given."""
    for number, line in enumerate(journal.read(), start=1):
        if line["status"] == "read":
            yield Question(line["entry"][0], question, f"image_{number:06d}", file=line["entry"][0])


def relative_root(target: Path, source: Path) -> str:
    """The source as seen from the target, as `dataset.json` holds it."""
    return os.path.relpath(source.resolve(), target.resolve())


def _given(kind: Any, **values: Any) -> Any:
    """An object of the record with the values that are not empty, or None without any."""
    given = {name: value for name, value in values.items() if value not in (None, ())}
    return kind(**given) if given else None
