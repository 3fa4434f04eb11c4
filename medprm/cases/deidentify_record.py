"""Records without identifying words: texts cleaned, patient and case ids replaced, ages over 89 capped.

In: a JSONL file of records. Out: the same records; every string is cleaned, keys of free mappings included, except at
the places of the schema that hold no free text (terms, ids of models, passages of public documents): there only the
record's patient id and case id are replaced. Paths stay. Pseudonyms are those of the DICOM files: the same patient id
gives the same pseudonym.
"""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.atomic import replaced_file
from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.cases.deidentify_text import clean_text
from medprm.cases.parsing import parse_json, parse_record
from medprm.cases.schema import Case, to_json
from medprm.images.deidentify_pseudonyms import Pseudonyms, read_secret
from medprm.images.deidentify_settings import DeidentifySettings

# Places in the schema, list indices left out. The schema's own words: nothing else can stand there.
TERMS = frozenset(
    """
    modality metadata.split solution_steps.category solution_steps.label solution_steps.rag_label
    solution_steps.sources.judge.verdict solution_steps.sources.expert.verdict solution_steps.sources.rule.verdict
    solution_steps.sources.outcome.verdict
    """.split()  # noqa: SIM905
)
# Ids of models and annotators, and texts that are not about this patient: only known ids are replaced in them.
NOT_FREE_TEXT = frozenset(
    """
    generator metadata.source metadata.licence metadata.difficulty metadata.specialty clinical_context.sex
    image.view images.view gold_standard.icd10
    documents.document_id documents.source documents.title documents.text
    solution_steps.annotation_method solution_steps.icd10 solution_steps.expert_id solution_steps.supporting_guidelines
    solution_steps.medical_evidence.source solution_steps.medical_evidence.quote
    solution_steps.medical_evidence.document_id
    solution_steps.sources.judge.model solution_steps.sources.judge.prompt_hash
    solution_steps.sources.judge.citations.source solution_steps.sources.judge.citations.quote
    solution_steps.sources.judge.citations.document_id
    solution_steps.sources.monte_carlo.stopping solution_steps.sources.monte_carlo.policy
    solution_steps.sources.expert.expert_id solution_steps.sources.expert.date
    solution_steps.sources.rule.rule solution_steps.sources.outcome.rule
    annotation_metadata.annotation_date annotation_metadata.rag_model annotation_metadata.mc_model
    annotation_metadata.primary_annotator annotation_metadata.expert_reviewer
    """.split()  # noqa: SIM905
)
# They name files, which are not renamed here.
PATHS = frozenset(("image.path", "images.path"))
LEFT_IN_PATHS = "ID left in an image path"
# Mappings whose keys are the record's own.
_FREE = frozenset(("extra", "vitals", "laboratory"))
LEAST_ID_LENGTH = 4
"""Shorter ids are not looked for: "12" stands in many a text that does not mean the patient."""
LEAST_ID_NUMBER = 10**5
"""An integer of six digits in `extra` is as long as an identifier, as in DICOM headers."""

# What of a case is written by people; `documents` are passages of public texts, and no part of it.
TEXTS_OF_A_CASE = frozenset(("question", "options", "clinical_context", "gold_standard"))


@dataclass
class RecordCounts:
    """What was done to a file of records."""

    num_records: int = 0
    num_image_paths: int = 0
    found: Counter[str] = field(default_factory=Counter)


def clean_records(
    source: Path, target: Path, settings: DeidentifySettings, text: TextDeidentifySettings
) -> RecordCounts:
    """Write the cleaned records to `target`; raises InputError for a line that is no record."""
    secret, counts = read_secret(settings), RecordCounts()
    with open(source, encoding="utf-8") as lines, replaced_file(target) as draft, open(draft, "w") as out:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{source}:{number}"
            parse_record(line, where)  # refuses what is no record, with the reason
            record = clean_record(parse_json(line, where), secret, settings, text, counts.found)
            counts.num_records += 1
            counts.num_image_paths += "image" in record or "images" in record
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
    return counts


def clean_record(
    record: dict[str, Any],
    secret: bytes,
    settings: DeidentifySettings,
    text: TextDeidentifySettings,
    found: Counter[str],
) -> dict[str, Any]:
    """One record; what was replaced is added to `found`."""
    pseudonyms = _pseudonyms(record, secret, settings)
    ids = {str(record[name]) for name in ("patient_id", "case_id") if record.get(name)}
    known = tuple(sorted((one for one in ids if len(one) >= LEAST_ID_LENGTH), key=len, reverse=True))
    search = _Search(text, settings.age_cap_years, known, found)
    return {
        name: pseudonyms[name] if name in pseudonyms else _clean_field(name, value, "", search)
        for name, value in record.items()
    }


def clean_case(case: Case, text: TextDeidentifySettings, found: Counter[str]) -> Case:
    """The case with its texts cleaned; its ids and its age are pseudonyms and capped already, and stay."""
    record, search = to_json(case), _Search(text, math.inf, (), found)
    for name in TEXTS_OF_A_CASE & record.keys():
        record[name] = _clean_field(name, record[name], "", search)
    return Case.model_validate_json(json.dumps(record))


class _Search(NamedTuple):
    """What is looked for in one record; `found` counts what was replaced."""

    text: TextDeidentifySettings
    age_cap: float
    # The longest first: one may hold another.
    ids: tuple[str, ...]
    found: Counter[str]


def _pseudonyms(record: dict[str, Any], secret: bytes, settings: DeidentifySettings) -> dict[str, str]:
    """By field: patient, case and solution, as far as the record names them."""

    def code(key: str) -> str:
        return Pseudonyms(secret, key, settings.max_shift_days).patient

    case_id = str(record["case_id"])
    found = {"case_id": f"C{code(f'case|{case_id}')[1:]}"}
    if record.get("patient_id"):
        found["patient_id"] = code(str(record["patient_id"]))
    if record.get("solution_id"):
        name = str(record["solution_id"])
        number = re.fullmatch(r"[-_./:]\d{1,3}", name.removeprefix(case_id)) if name.startswith(case_id) else None
        found["solution_id"] = found["case_id"] + (number[0] if number else f"-{code(f'solution|{name}')[1:9]}")
    return found


def _clean(value: Any, place: str, search: _Search) -> Any:
    if isinstance(value, dict):
        return _clean_mapping(value, place, search)
    if isinstance(value, list):
        return [_clean(one, place, search) for one in value]
    if isinstance(value, str):
        return _clean_string(value, place, search)
    return "[ID]" if _is_id(value, place, search) else value


def _clean_mapping(value: dict[str, Any], place: str, search: _Search) -> dict[str, Any]:
    is_free = not _FREE.isdisjoint(place.split("."))
    cleaned: dict[str, Any] = {}
    for name, one in value.items():
        key = _numbered(_clean_string(name, place, search), cleaned) if is_free else name
        cleaned[key] = _clean_field(name, one, place, search)
    return cleaned


def _clean_field(name: str, value: Any, place: str, search: _Search) -> Any:
    if name == "age" and isinstance(value, int) and value > search.age_cap:
        search.found["AGE"] += 1
        return int(search.age_cap) + 1
    return _clean(value, f"{place}.{name}" if place else name, search)


def _clean_string(value: str, place: str, search: _Search) -> str:
    if place in TERMS:
        return value
    without = value
    for known in search.ids:
        # Not `\b`: an underscore beside an id does not belong to it.
        without, num = re.subn(rf"(?<![^\W_]){re.escape(known)}(?![^\W_])", "[ID]", without, flags=re.IGNORECASE)
        search.found.update({LEFT_IN_PATHS if place in PATHS else "ID": num} if num else {})
    if place in PATHS:
        return value
    if place in NOT_FREE_TEXT:
        return without
    cleaned, counts = clean_text(without, search.text)
    search.found.update(counts)
    return cleaned


def _is_id(value: Any, place: str, search: _Search) -> bool:
    """A whole number that is a known id, or in `extra` one as long as an id; it is counted."""
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    parts = place.split(".")
    if not is_whole or _FREE.isdisjoint(parts):
        return False
    is_long = "extra" in parts and abs(value) >= LEAST_ID_NUMBER
    is_known = str(int(value)) in {one.lstrip("0") for one in search.ids}
    if is_long or is_known:
        search.found["ID"] += 1
    return is_long or is_known


def _numbered(key: str, taken: dict[str, Any]) -> str:
    """The key, or with the first free number: no value is lost where two keys become one."""
    names = (key, *(f"{key} {number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
