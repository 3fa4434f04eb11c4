"""Records without identifying words: texts cleaned, patient and case ids replaced, ages over 89 capped.

In: a JSONL file of records. Out: the same records; every string is cleaned except those that are no free text: ids of
solutions and models, terms, paths, passages of public documents. Pseudonyms are those of the DICOM files: the same
patient id gives the same pseudonym.
"""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medprm.cases.atomic import replaced_file
from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.cases.deidentify_text import clean_text
from medprm.cases.parsing import parse_json, parse_record
from medprm.cases.schema import Case, to_json
from medprm.images.deidentify_pseudonyms import Pseudonyms, read_secret
from medprm.images.deidentify_settings import DeidentifySettings

# Terms, ids of models and annotators, and texts that are not about this patient.
NOT_FREE_TEXT = frozenset(
    """
    modality source licence split category label verdict rag_label annotation_method icd10 model prompt_hash policy
    stopping rule generator solution_id document_id documents medical_evidence citations supporting_guidelines path view
    expert_id primary_annotator expert_reviewer rag_model mc_model annotation_date date difficulty specialty sex
    """.split()  # noqa: SIM905
)


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
    ids = {name: str(record[name]) for name in ("patient_id", "case_id") if record.get(name)}
    cleaned = _clean(record, text, found, settings.age_cap_years, [one for one in ids.values() if len(one) >= 4])
    for name, original in ids.items():
        prefix = "" if name == "patient_id" else "case|"
        pseudonym = Pseudonyms(secret, prefix + original, settings.max_shift_days).patient
        cleaned[name] = pseudonym if name == "patient_id" else f"C{pseudonym[1:]}"
    return cleaned


def clean_case(case: Case, text: TextDeidentifySettings, found: Counter[str]) -> Case:
    """The case with its texts cleaned; its ids and its age are pseudonyms and capped already, and stay."""
    record = to_json(case)
    for name in TEXTS_OF_A_CASE & record.keys():
        record[name] = _clean_field(name, record[name], text, found, math.inf, [])
    return Case.model_validate_json(json.dumps(record))


def _clean(value: Any, text: TextDeidentifySettings, found: Counter[str], age_cap: float, ids: list[str]) -> Any:
    if isinstance(value, dict):
        return {name: _clean_field(name, one, text, found, age_cap, ids) for name, one in value.items()}
    if isinstance(value, list):
        return [_clean(one, text, found, age_cap, ids) for one in value]
    if not isinstance(value, str):
        return value
    for known in ids:
        value, num = re.subn(rf"(?<!\w){re.escape(known)}(?!\w)", "[ID]", value, flags=re.IGNORECASE)
        found["ID"] += num
    cleaned, counts = clean_text(value, text)
    found.update(counts)
    return cleaned


def _clean_field(
    name: str, value: Any, text: TextDeidentifySettings, found: Counter[str], age_cap: float, ids: list[str]
) -> Any:
    if name in NOT_FREE_TEXT:
        return value
    if name == "age" and isinstance(value, int) and value > age_cap:
        found["AGE"] += 1
        return int(age_cap) + 1
    return _clean(value, text, found, age_cap, ids)
