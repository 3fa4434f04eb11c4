"""Experts' verdicts from JSON Lines and from Label Studio's export; what is passed over is counted."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from medprm.annotation.expert_files import read_expert_file
from medprm.annotation.expert_queue import StepKey
from medprm.errors import InputError


def test_experts_file(tmp_path: Path) -> None:
    path = tmp_path / "experts.jsonl"
    row = {"case_id": "c", "solution_id": "s", "step_id": 0, "verdict": "incorrect", "expert_id": "r1", "seconds": 30.0}
    path.write_text("\n".join(json.dumps(one) for one in (row, row | {"expert_id": "r2", "verdict": "unknown"})))
    found = read_expert_file(path)
    assert [one.verdict for one in found[StepKey("c", "s", 0)]] == ["incorrect", "unknown"]
    for bad, message in [
        (row | {"verdict": "maybe"}, "verdict 'maybe'"),
        (row | {"surprise": 1}, "expected an object"),
        (row, "speaks twice"),
        (row | {"step_id": "0"}, "step_id '0'"),
        (row | {"expert_id": "r2", "seconds": -1.0}, "seconds -1.0"),
    ]:
        path.write_text(json.dumps(row) + "\n" + json.dumps(bad) + "\n")
        with pytest.raises(InputError, match=rf"experts.jsonl:2.*{message}"):
            read_expert_file(path)


def choice(name: str, *words: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": list(words)}}


def note(name: str, text: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "text", "type": "textarea", "value": {"text": [text]}}


def annotation(user: Any, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"completed_by": user, "lead_time": 60.0, "created_at": "2026-11-23T10:00:00Z", "result": [*results]} | more


def export(path: Path, *annotations: dict[str, Any], **data: Any) -> Path:
    task = {"id": 1, "data": {"case_id": "c", "solution_id": "s"} | data, "annotations": [*annotations]}
    path.write_text(json.dumps([task]))
    return path


def test_label_studio_a_task_a_solution(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = annotation(
        7, choice("step_0", "Correct"), choice("step_2", "incorrect"), note("note_2", "No fluid."),
        {"from_name": "stars", "type": "rating", "value": {"rating": 3}},
    )  # fmt: skip
    second = annotation({"id": 9, "email": "somebody@example.org"}, choice("step_2", "unknown"))
    skipped = annotation(11, choice("step_1", "correct"), was_cancelled=True)
    path = export(tmp_path / "export.json", first, second, skipped, annotation(12))
    with caplog.at_level(logging.WARNING):
        found = read_expert_file(path)
    assert found.keys() == {StepKey("c", "s", 0), StepKey("c", "s", 2)}
    ours, theirs = found[StepKey("c", "s", 2)]
    assert (ours.verdict, ours.expert_id, ours.note, ours.seconds, ours.date) == (
        *("incorrect", "label_studio_7", "No fluid.", 30.0, "2026-11-23"),
    )
    assert (theirs.verdict, theirs.expert_id, theirs.seconds) == ("unknown", "label_studio_9", 60.0)
    assert "somebody" not in str(found)
    for passed_over in (
        "1 annotations that were skipped",
        "1 annotations without a verdict",
        "1 results of type rating",
    ):
        assert passed_over in caplog.text


def test_label_studio_a_task_a_step_is_the_same_as_lines(tmp_path: Path) -> None:
    path = export(tmp_path / "export.json", annotation(7, choice("verdict", "neutral"), note("note", "?")), step_id=3)
    lines = tmp_path / "lines.jsonl"
    row = {"case_id": "c", "solution_id": "s", "step_id": 3, "verdict": "neutral", "expert_id": "label_studio_7"}
    lines.write_text(json.dumps(row | {"note": "?", "seconds": 60.0, "date": "2026-11-23"}) + "\n")
    assert read_expert_file(path) == read_expert_file(lines)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([choice("step_0", "maybe")], "verdict 'maybe'"),
        ([choice("step_0", "correct", "incorrect")], "expected one of correct"),
        ([choice("step_0", "correct"), choice("step_0", "correct")], "once a step"),
        ([choice("quality", "good")], "a result named 'quality'"),
        ([choice("verdict", "correct")], "name no one step"),
    ],
)
def test_label_studio_mistakes_name_the_task(results: list[dict], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"export.json task 0: .*{message}"):
        read_expert_file(export(tmp_path / "export.json", annotation(7, *results)))


def test_label_studio_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text('{"tasks": []}')
    with pytest.raises(InputError, match="a list of tasks"):
        read_expert_file(path)
    with pytest.raises(InputError, match="completed_by None"):
        read_expert_file(export(path, annotation(None, choice("step_0", "correct"))))
    with pytest.raises(InputError, match="speaks twice"):
        read_expert_file(export(path, *[annotation(7, choice("step_0", "correct"))] * 2))
    with pytest.raises(InputError, match="case_id and solution_id"):
        read_expert_file(export(path, annotation(7, choice("step_0", "correct")), case_id=5))
