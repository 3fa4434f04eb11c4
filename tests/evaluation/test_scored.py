"""scored.jsonl: a round trip, and one clear line for each thing that can be wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from medprm.cases.schema import CaseSolutions, from_json
from medprm.errors import InputError
from medprm.evaluation.scored import group_by_case, read_scored, scored_solutions, write_scored
from medprm.scoring.aggregate import AGGREGATORS


def test_round_trip(make_solutions, tmp_path: Path) -> None:
    solutions = make_solutions(3, 2)
    solutions[0] = replace(solutions[0], answer=None, is_correct=None, patient_id=None)
    solutions[1] = replace(
        solutions[1], answer="linea\u2028secunda \u00e4", step_scores=[0.1 + 0.2] * len(solutions[1].labels)
    )
    path = tmp_path / "scored.jsonl"
    write_scored(path, solutions)
    assert read_scored(path) == solutions
    first = json.loads(path.read_text(encoding="utf-8").split("\n")[0])
    assert first["solution_scores"].keys() == AGGREGATORS.keys()
    assert first["solution_scores"]["min"] == min(first["step_scores"])


def test_a_case_with_scores_becomes_scored_solutions() -> None:
    record = from_json(
        {
            "case_id": "c1",
            "modality": "text",
            "question": "Which?",
            "answer": "A",
            "is_correct": True,
            "solution_steps": [
                {"step_id": 0, "content": "first", "category": "analysis", "label": "correct"},
                {"step_id": 1, "content": "second"},
            ],
        }
    )
    (scored,) = scored_solutions(CaseSolutions(record.case(), [record.solution()]), [[0.25, 0.75]], "test")
    assert scored.group_id == "c1"
    assert scored.patient_id is None
    assert scored.labels == ["correct", "unknown"]
    assert scored.categories == ["analysis", None]
    assert scored.score("mean") == 0.5
    with pytest.raises(InputError, match="2 labels for 1 step_scores"):
        scored_solutions(CaseSolutions(record.case(), [record.solution()]), [[0.25]], "test")
    with pytest.raises(InputError, match="0 lists of scores for 1 solutions"):
        scored_solutions(CaseSolutions(record.case(), [record.solution()]), [], "test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step_scores": [0.5, 1.5]}, "step 1: score 1.5"),
        ({"step_scores": [0.5, True]}, "step 1: score True"),
        ({"labels": ["correct", "maybe"]}, "step 1: label 'maybe'"),
        ({"labels": ["correct"]}, "1 labels for 2 step_scores"),
        ({"split": "train"}, "split 'train'"),
        ({"extra": 1}, "unknown fields"),
        ({"step_scores": [], "labels": [], "categories": [], "step_texts": []}, "no steps"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change: dict, said: str, make_solutions, tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    write_scored(path, make_solutions(1, 1))
    row = json.loads(path.read_text(encoding="utf-8"))
    row |= {"step_scores": [0.5, 0.5], "labels": ["correct"] * 2, "categories": [None] * 2, "step_texts": ["a", "b"]}
    path.write_text("\n" + json.dumps(row | change) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=said) as caught:
        read_scored(path)
    assert f"{path}:2" in str(caught.value)


def test_broken_lines_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    with pytest.raises(InputError, match="no such file"):
        read_scored(path)
    for text in ("{", '{"case_id": NaN}', '{"a": 1, "a": 2}', "[]"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"scored\.jsonl:1"):
            read_scored(path)


def test_a_case_belongs_to_one_patient(make_solutions) -> None:
    solutions = make_solutions(1, 2)
    with pytest.raises(InputError, match="two patients"):
        group_by_case([solutions[0], replace(solutions[1], group_id="other")])
