"""Mr-Ben: merged steps, first-error labels converted once, correctness as its own field; counts on the real file."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from medprm.cases.formats.mrben import load_mrben, merge_steps, read_mrben
from medprm.cases.parsing import RecordError

LINES = ["Here we go:", "Step 1: one", "- detail", "Step 2: two", "Step 3: three", "  ", "Solution: Choice_B"]


def _row(**change: Any) -> dict[str, Any]:
    row = {
        "Question_UUID": "q",
        "Question": "Which?",
        "Options": "A: first\nB: second \nC: third",
        "Subject": "college_medicine",
        "Ground_Truth_Answer": "B",
        "Ground_Truth_Answer_Modified": "C",
        "Sampled_Model": "model",
        "Model_Solution_Steps": LINES,
        "Model_Solution_Correctness": "incorrect",
        "Model_Solution_First_Error_Step": "2",
    }
    return row | change


def _file(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "medicine.json"
    path.write_text(json.dumps({"q": rows}), encoding="utf-8")
    return path


def test_continuation_lines_join_the_step_before_them() -> None:
    assert [tuple(step) for step in merge_steps(LINES)] == [
        (None, "Here we go:"),
        (1, "Step 1: one\n- detail"),
        (2, "Step 2: two"),
        (3, "Step 3: three"),
        (4, "Solution: Choice_B"),
    ]


def test_first_error_is_found_by_label_and_later_steps_are_unknown(tmp_path: Path) -> None:
    case, solutions = read_mrben(_file(tmp_path, _row()))[0]
    assert solutions[0].labels == ["correct", "correct", "incorrect", "unknown", "unknown"]
    assert [step.step_id for step in solutions[0].solution_steps] == [0, 1, 2, 3, 4]
    assert case.options == ("first", "second", "third")
    assert solutions[0].answer == "second"
    assert solutions[0].generator == "model"
    assert case.gold_standard is not None
    assert case.gold_standard.answer == "third"


def test_correctness_is_its_own_field_and_not_a_comparison_of_answers(tmp_path: Path) -> None:
    right = _row(Model_Solution_Correctness="correct", Model_Solution_First_Error_Step="N/A")
    wrong = _row(Model_Solution_Steps=[*LINES[:-1], "Solution: Choice_C"])
    _, solutions = read_mrben(_file(tmp_path, right, wrong))[0]
    assert [solution.is_correct for solution in solutions] == [True, False]
    assert [solution.answer for solution in solutions] == ["second", "third"]
    assert set(solutions[0].labels) == {"correct"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Model_Solution_First_Error_Step": "9"}, "the first error step is not among the steps"),
        ({"Model_Solution_First_Error_Step": "N/A"}, "correctness and first error step contradict each other"),
        ({"Model_Solution_Correctness": "correct"}, "correctness and first error step contradict each other"),
        ({"Model_Solution_Steps": ["Step 2: x"]}, "the steps are not numbered 1, 2, 3, ..."),
        ({"Model_Solution_Steps": []}, "the steps are not numbered 1, 2, 3, ..."),
    ],
)
def test_unusable_solutions_are_counted_with_the_reason(
    tmp_path: Path, change: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = _file(tmp_path, _row(), _row(**change))
    reading = load_mrben(path)
    assert (reading.num_read, reading.num_kept, dict(reading.refused)) == (2, 1, {reason: 1})
    read_mrben(path)
    assert f"1 solutions refused: {reason}" in caplog.text


def test_another_format_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"medicine.json question q solution 1: Sampled_Model None; expected text"):
        read_mrben(_file(tmp_path, _row(), _row(Sampled_Model=None)))
    with pytest.raises(RecordError, match="no such file"):
        read_mrben(tmp_path / "none.json")


def test_real_file_has_the_published_counts(real_data: Path) -> None:
    reading = load_mrben(real_data / "mrben_medicine")
    solutions = [solution for item in reading.cases for solution in item.solutions]
    assert (len(reading.cases), reading.num_read, reading.num_kept) == (277, 828, 827)
    assert sum(reading.refused.values()) == 1
    assert Counter(solution.is_correct for solution in solutions) == {False: 570, True: 257}
    assert sum(len(solution.solution_steps) for solution in solutions) == 5193
    assert sum(label == "incorrect" for solution in solutions for label in solution.labels) == 570
    assert all(len(item.case.options) == 4 for item in reading.cases)
    # 45 are unparsed; of the 25 that were read by hand, most say "none of the choices" or name two.
    assert sum(solution.answer is None for solution in solutions) <= 50
