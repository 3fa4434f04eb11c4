"""VQA-RAD: yes/no questions become cases with one right and one wrong claim; nothing is left out uncounted."""

import json
from pathlib import Path

import pytest

from medprm.cases.answers import parse_answer
from medprm.cases.jsonl import read_cases, write_records
from medprm.cases.parsing import RecordError
from medprm.cases.schema import join
from medprm.cases.sets.vqa_rad import load_vqa_rad, read_vqa_rad
from medprm.cases.splits import check_leakage, split_by_patient


def row(qid: int, question: str, answer: object, image: str = "a.jpg", answer_type: str = "CLOSED") -> dict:
    return {
        "qid": qid,
        "image_name": image,
        "question": question,
        "answer": answer,
        "answer_type": answer_type,
        "question_type": "PRES",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vqa_rad" / "images").mkdir(parents=True)
    (tmp_path / "splits").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "vqa_rad" / "images" / name).write_bytes(b"x")
    return tmp_path / "vqa_rad"


def write_table(folder: Path, rows: object) -> None:
    (folder.parent / "splits" / "vqa_rad_chest_pack.json").write_text(json.dumps(rows))


def test_every_question_has_one_right_claim(folder: Path) -> None:
    write_table(folder, [row(1, "Is there a mass?", "No"), row(2, "Is it an AP film", " yes ", "b.jpg")])
    first, second = read_vqa_rad(folder)
    assert first.case.question == "Is there a mass?" and second.case.question == "Is it an AP film"
    assert [solution.is_correct for solution in first.solutions] == [False, True]
    assert [solution.labels for solution in second.solutions] == [["correct"], ["incorrect"]]
    assert first.case.patient_id == "vqa_rad_a" and first.case.all_images[0].path == "images/a.jpg"
    for item in (first, second):
        for solution in item.solutions:
            assert parse_answer(solution.step_texts[-1], item.case.options) == solution.answer


def test_what_is_left_out_is_counted(folder: Path) -> None:
    rows = [
        row(1, "Is there a mass?", "no"),
        row(2, "is there  a mass", "No"),
        row(3, "Is there a mass?", "yes", "b.jpg"),
        row(4, "Is it normal?", "yes"),
        row(5, "is it normal", "no"),
        row(6, "Which lung?", "left"),
        row(7, "Where is it?", "yes", answer_type="OPEN"),
        row(8, "How many ribs?", 12, answer_type="OPEN"),
    ]
    write_table(folder, rows)
    reading = load_vqa_rad(folder)
    assert [item.case.case_id for item in reading.cases] == ["vqa_rad_1", "vqa_rad_3"]
    assert reading.refused == {
        "asked before of the same image": 2,
        "asked twice of one image and answered differently": 4,
        "not a yes/no question": 6,
    }
    assert reading.num_read == reading.num_kept + sum(reading.refused.values()) == 16


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "expected a JSON list"),
        ({"a": 1}, "expected a JSON list"),
        ([row(1, "", "no")], "question 0: question is empty"),
        ([{"question": "Is it?"}], "question 0: .*qid"),
        ([row(1, "Is it?", "no"), row(1, "Is that?", "no")], "qid 1 stands twice"),
        ([row(1, "Is it?", "no", "c.jpg")], "c.jpg: no such image"),
        ([row(1, "Is it?", "no", "../images/a.jpg")], "without folders"),
    ],
)
def test_broken_tables_are_told(folder: Path, rows: object, words: str) -> None:
    write_table(folder, rows)
    with pytest.raises(RecordError, match=words):
        read_vqa_rad(folder)


def test_absent_table_is_told(folder: Path) -> None:
    with pytest.raises(RecordError, match="vqa_rad_chest_pack.json: no such file"):
        read_vqa_rad(folder)


def test_real_questions(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "vqa_rad"
    reading = load_vqa_rad(folder)
    assert reading.num_read == 2 * 757 and reading.refused["not a yes/no question"] == 2 * (757 - 491)
    cases = reading.cases
    # 491 yes/no rows, 416 different (image, question); a few more fall together without their question mark.
    assert 400 <= len(cases) <= 416
    share_of_no = sum(item.case.gold_standard.answer == "no" for item in cases if item.case.gold_standard) / len(cases)
    assert 0.55 < share_of_no < 0.65
    assert all((folder / image.path).is_file() for item in cases for image in item.case.all_images)
    splits = split_by_patient(cases, {"train": 0.6, "validation": 0.2, "test": 0.2}, seed=0)
    check_leakage(splits)
    write_records(tmp_path / "all.jsonl", [join(item.case, solution) for item in cases for solution in item.solutions])
    assert read_cases(tmp_path / "all.jsonl") == cases
