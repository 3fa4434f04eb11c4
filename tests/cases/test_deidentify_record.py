"""A record without the ids that it had, wherever they stood; terms, numbers of medicine and passages as they were."""

import json
from collections import Counter
from typing import Any

import pytest

from medprm.cases.deidentify_record import LEFT_IN_PATHS, NOT_FREE_TEXT, PATHS, TERMS, clean_record
from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.cases.schema import Record, from_json
from medprm.images.deidentify_settings import DeidentifySettings

CASE_ID, PATIENT_ID = "SMITH-JOHN-00482913", "00482913"
RECORD: dict[str, Any] = {
    "case_id": CASE_ID,
    "patient_id": PATIENT_ID,
    "modality": "text",
    "metadata": {"source": f"ward {PATIENT_ID}", "split": "test", "extra": {"accession": 12345678, "weight": 71.5}},
    "clinical_context": {"laboratory": {"platelets": 250000, f"MRN {PATIENT_ID}": 482913, "CRP": 84}},
    "question": "What is seen?",
    "documents": [{"document_id": "d1", "text": "Reviewed by Jo Lee, 2019-03-04.", "extra": {"text": "Dr. Zwingli"}}],
    "solution_id": f"{CASE_ID}-0",
    "generator": "model",
    "solution_steps": [{"step_id": 0, "content": "Clear.", "label": "correct", "extra": {"label": "of Dr. Zwingli"}}],
    "extra": {
        f"MRN {PATIENT_ID}": "x",
        "source": f"ward of Dr. Zwingli, MRN {PATIENT_ID}",
        "files": [f"{CASE_ID}_0.txt", 20190304, 17, True],
        "Dr. Zwingli": 1,
        "Dr. Oberhuber": 2,
    },
}  # fmt: skip


def cleaned(record: dict[str, Any], found: Counter[str] | None = None) -> dict[str, Any]:
    settings = (DeidentifySettings(), TextDeidentifySettings("patterns"))
    return clean_record(record, b"0123456789abcdef", *settings, Counter() if found is None else found)


def test_no_id_stays_in_any_string_key_or_number() -> None:
    found = Counter[str]()
    record = cleaned(RECORD, found)
    text = json.dumps(record)
    for one in ("SMITH", "482913", "12345678", "20190304", "Zwingli", "Oberhuber"):
        assert one not in text
    assert record["extra"]["files"] == ["[ID]_0.txt", "[ID]", 17, True]
    assert record["extra"]["Dr. [NAME]"] == 1 and record["extra"]["Dr. [NAME] 2"] == 2, "both values are there"
    assert found["ID"] >= 8 and LEFT_IN_PATHS not in found
    assert isinstance(from_json(record), Record)


def test_terms_passages_and_laboratory_stay() -> None:
    record = cleaned(RECORD)
    assert record["documents"][0]["text"] == RECORD["documents"][0]["text"]
    assert record["metadata"]["split"] == "test" and record["solution_steps"][0]["label"] == "correct"
    assert record["clinical_context"]["laboratory"] == {"platelets": 250000, "MRN [ID]": "[ID]", "CRP": 84}
    assert record["metadata"]["extra"]["weight"] == 71.5


def test_a_solution_has_the_pseudonym_of_its_case() -> None:
    def name(solution_id: str) -> str:
        record = cleaned(RECORD | {"solution_id": solution_id})
        return record["solution_id"].removeprefix(record["case_id"])

    assert name(f"{CASE_ID}-0") == "-0" and name(f"{CASE_ID}_12") == "_12"
    others = [name(one) for one in (f"{CASE_ID}-{PATIENT_ID}", "SMITH-0", "SMITH-1", f"{CASE_ID}0")]
    assert len(set(others)) == 4 and all(len(one) == 9 for one in others), "a code each"
    assert name("SMITH-0") == others[1], "the same again"


def test_ids_in_image_paths_stay_and_are_counted() -> None:
    found = Counter[str]()
    path = f"{PATIENT_ID}/1.png"
    assert cleaned(RECORD | {"images": [{"path": path}]}, found)["images"] == [{"path": path}]
    assert found[LEFT_IN_PATHS] == 1


@pytest.mark.parametrize("place", sorted(TERMS | NOT_FREE_TEXT | PATHS))
def test_every_exempt_place_is_one_of_the_schema(place: str) -> None:
    node = Record.model_json_schema()
    definitions = node["$defs"]
    for name in place.split("."):
        node = node["properties"][name]
        options = [node, *node.get("anyOf", ()), *([node["items"]] if "items" in node else ())]
        (node, *_) = [definitions[one["$ref"].rsplit("/", 1)[1]] for one in options if "$ref" in one] or [node]
