"""MEDEC: sentences by the numbers of the text, a shift by one shown, rows without text refused."""

import csv
from pathlib import Path

import pytest

from medprm.cases.formats.clinical_notes import merge_sentences
from medprm.cases.formats.table import load_format
from medprm.cases.formats.vignettes import first_of_vignette
from medprm.cases.parsing import RecordError
from medprm.cases.reading import Reading

ROW = {
    "Text ID": "ms-val-0", "Text": "A b. He takes 120 mg. End.", "Sentences": "0 A b.\n1 He takes\n120 mg.\n2 End.",
    "Error Flag": "1", "Error Type": "treatment", "Error Sentence ID": "1", "Error Sentence": "He takes 120 mg.",
    "Corrected Sentence": "He takes 12 mg.", "Corrected Text": "A b. He takes 12 mg. End.",
}  # fmt: skip
NO_ERROR = {"Error Flag": "0", "Error Type": "NA", "Error Sentence ID": "-1", "Error Sentence": "NA"}


def read(folder: Path, *rows: dict[str, str]) -> Reading:
    with open(folder / "MEDEC-MS-TestSet.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(ROW))
        writer.writeheader()
        writer.writerows(rows)
    return load_format("medec", folder)


def test_a_line_with_a_number_out_of_turn_continues_its_sentence(tmp_path: Path) -> None:
    assert merge_sentences(ROW["Sentences"]) == ["A b.", "He takes\n120 mg.", "End."]
    reading = read(tmp_path, ROW, ROW | NO_ERROR | {"Text ID": "ms-val-1"})
    wrong, right = (item.solutions[0] for item in reading.cases)
    assert (wrong.labels, wrong.is_correct) == (["correct", "incorrect", "correct"], False)
    assert (right.labels, right.is_correct) == (["correct"] * 3, True)
    assert {item.case.metadata.split for item in reading.cases} == {"test"}


def test_versions_of_a_vignette_are_one_patient(tmp_path: Path) -> None:
    right = ROW | NO_ERROR | {"Sentences": "0 A b.\n1 He takes 12 mg.\n2 End."}
    other = ROW | NO_ERROR | {"Sentences": "0 She c.\n1 No drugs.\n2 End."}
    rows = [row | {"Text ID": f"ms-val-{place}"} for place, row in enumerate((ROW, other, right))]
    patients = [item.case.patient_id for item in read(tmp_path, *rows).cases]
    assert patients == ["medec_ms-val-0_vignette", "medec_ms-val-1_vignette", "medec_ms-val-0_vignette"]


def test_notes_of_one_vignette_also_through_others() -> None:
    assert first_of_vignette(["abcd", "xyzw", "cdef", "efgh", "x"]) == [0, 1, 0, 0, 1]
    assert first_of_vignette(["abcde", "abxyz"]) == [0, 1]


def test_rows_without_text_are_refused_and_counted(tmp_path: Path) -> None:
    reading = read(tmp_path, ROW, ROW | {"Text ID": "uw-1", "Text": "", "Sentences": ""})
    assert (reading.num_read, reading.num_kept) == (2, 1)
    assert list(reading.refused) == ["no text (MEDEC's UW part comes under an agreement of its own)"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Error Sentence ID": "2"}, "Error Sentence is .*; expected the sentence numbered 2, 'End.'"),
        ({"Error Sentence ID": "3"}, "Error Sentence ID is .*; expected -1 or 0 to 2"),
        ({"Error Flag": "0"}, "Error Flag is .*; expected 1 where Error Sentence ID is not -1"),
    ],
)
def test_flag_number_and_sentence_must_agree(change: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=message):
        read(tmp_path, ROW | change)
