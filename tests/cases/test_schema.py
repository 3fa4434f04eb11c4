"""The record: the brief's example goes through unchanged; what is not a record is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from medprm.cases.schema import (
    CASE_FIELDS,
    SOLUTION_FIELDS,
    Image,
    MonteCarlo,
    Record,
    Solution,
    Step,
    from_json,
    join,
    to_json,
)
from medprm.cases.verdicts import share_correct

EXAMPLE = Path(__file__).parents[1] / "data" / "record_example.json"


@pytest.fixture
def example() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text(encoding="utf-8"))


def test_example_round_trips_with_no_key_added(example: dict[str, Any]) -> None:
    assert to_json(from_json(example)) == example


def test_case_and_solution_share_out_all_fields_and_join_again(example: dict[str, Any]) -> None:
    record = from_json(example)
    assert frozenset(Record.model_fields) == CASE_FIELDS | SOLUTION_FIELDS
    assert to_json(join(record.case(), record.solution())) == example


def test_example_keeps_its_own_derived_values(example: dict[str, Any]) -> None:
    step = from_json(example).solution_steps[2]
    assert (step.mc_score, step.confidence, step.label) == (0.65, 0.95, "correct")


def test_records_are_frozen(example: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        from_json(example).question = "another"


@pytest.mark.parametrize("level", ["", "metadata", "clinical_context", "image", "gold_standard", "annotation_metadata"])
def test_unknown_fields_are_refused_and_extra_is_free(example: dict[str, Any], level: str) -> None:
    place = example[level] if level else example
    place["extra"] = {"anything": [1, {"x": None}]}
    assert to_json(from_json(example)) == example
    place["anything"] = 1
    with pytest.raises(ValidationError):
        from_json(example)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", "maybe"),
        ("category", "guess"),
        ("confidence", 1.1),
        ("confidence", "0.5"),
        ("mc_score", True),
        ("content", "  "),
        ("step_id", 1.5),
        ("rag_label", "ok"),
    ],
)
def test_wrong_step_values_are_refused(example: dict[str, Any], field: str, value: Any) -> None:
    example["solution_steps"][0][field] = value
    with pytest.raises(ValidationError):
        from_json(example)


@pytest.mark.parametrize("ids", [[1, 2, 3, 4], [0, 2, 1, 3], [0, 1, 1, 2]])
def test_steps_are_numbered_from_zero(example: dict[str, Any], ids: list[int]) -> None:
    for step, step_id in zip(example["solution_steps"], ids, strict=True):
        step["step_id"] = step_id
    with pytest.raises(ValidationError, match="step_id"):
        from_json(example)


def test_solution_without_steps_is_refused_and_a_missing_field_is_not(example: dict[str, Any]) -> None:
    example["solution_steps"] = []
    with pytest.raises(ValidationError, match="solution_steps is empty"):
        from_json(example)
    del example["solution_steps"]
    assert to_json(from_json(example)) == example


def test_unjudged_step_is_unknown_not_incorrect() -> None:
    solution = Solution(solution_steps=(Step(step_id=0, content="x"), Step(step_id=1, content="y", label="incorrect")))
    assert solution.labels == ["unknown", "incorrect"]


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../a.png", "a/../../b.png", "C:/a.png", "a\\b.png", "https://x.org/a.png", "file:///a", "."],
)
def test_image_paths_stay_below_the_root(path: str) -> None:
    with pytest.raises(ValidationError, match="relative to the data root"):
        Image(path=path)


def test_monte_carlo_score_counts_readable_rollouts_only() -> None:
    counts = MonteCarlo(num_correct=3, num_wrong=1, num_unparsed=2, num_truncated=2)
    assert share_correct([counts]) == 0.75
    assert counts.num_total == 8
    assert share_correct([MonteCarlo(num_correct=0, num_wrong=0, num_unparsed=4)]) is None
