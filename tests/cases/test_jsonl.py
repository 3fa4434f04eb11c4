"""JSON Lines: exact round trips, atomic writing, and one line for each thing that can be wrong."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medprm.cases.jsonl import (
    RecordError,
    read_cases,
    read_records,
    records_of,
    write_cases,
    write_records,
)
from medprm.cases.schema import from_json, to_json

EXAMPLE = json.loads((Path(__file__).parents[1] / "data" / "record_example.json").read_text(encoding="utf-8"))
TINY = {"case_id": "c", "modality": "text", "question": "q"}
STEPS = [{"step_id": 0, "content": "s", "label": "correct"}]


def _write(path: Path, *values: Any) -> Path:
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values), encoding="utf-8")
    return path


def _error(path: Path, read: Callable[[Path], Any] = read_cases) -> str:
    with pytest.raises(RecordError) as caught:
        list(read(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    value = json.loads(json.dumps(EXAMPLE))
    change(value)
    return value


def test_round_trip_is_exact(tmp_path: Path) -> None:
    values = [
        EXAMPLE,
        {**TINY, "patient_id": None, "extra": {"a": [1, 1.0, True, None, "é\u2028\n"], "big": 10**30}},
        {**TINY, "case_id": "d", "options": [], "solution_steps": STEPS, "is_correct": False},
    ]
    write_records(tmp_path / "a.jsonl", map(from_json, values))
    assert [to_json(record) for record in read_records(tmp_path / "a.jsonl")] == values
    lines = (tmp_path / "a.jsonl").read_bytes().decode().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == values


def test_lines_of_a_case_are_grouped_in_first_seen_order(tmp_path: Path) -> None:
    order = [("b", "1"), ("a", "1"), ("b", "2"), ("a", "2")]
    values = [{**TINY, "case_id": case, "solution_id": name, "solution_steps": STEPS} for case, name in order]
    cases = read_cases(_write(tmp_path / "a.jsonl", *values))
    assert [(item.case.case_id, [s.solution_id for s in item.solutions]) for item in cases] == [
        ("b", ["1", "2"]),
        ("a", ["1", "2"]),
    ]
    write_cases(tmp_path / "b.jsonl", cases)
    assert read_cases(tmp_path / "b.jsonl") == cases


def test_a_case_alone_has_no_solution_and_stays_so(tmp_path: Path) -> None:
    cases = read_cases(_write(tmp_path / "a.jsonl", TINY))
    assert cases[0].solutions == []
    assert [to_json(record) for record in records_of(cases)] == [TINY]
    with pytest.raises(RecordError, match=r"a.jsonl:1 case c: no solution_steps"):
        read_cases(tmp_path / "a.jsonl", require_steps=True)


def test_lines_that_disagree_name_both_places_and_the_field(tmp_path: Path) -> None:
    first = {**TINY, "solution_steps": STEPS}
    path = _write(tmp_path / "a.jsonl", first, {**first, "question": "another"})
    message = _error(path)
    assert message.startswith(f"{path}:2 case c: question differs from that at {path}:1")


def test_solution_ids_are_unique_in_a_case(tmp_path: Path) -> None:
    value = {**TINY, "solution_id": "s", "solution_steps": STEPS}
    path = _write(tmp_path / "a.jsonl", value, value)
    assert f"{path}:2 case c: solution_id 's' was already used at {path}:1" in _error(path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda v: v["solution_steps"][3].update(label="maybe"),
            " case medprm_cxr_0001 step 3: label 'maybe'; expected correct, incorrect, neutral or unknown",
        ),
        (lambda v: v.update(quesion="x"), " case medprm_cxr_0001: unknown field 'quesion'; did you mean 'question'?"),
        (lambda v: v["solution_steps"][1].update(foo=1), " step 1: unknown field 'foo'; free fields go into 'extra'"),
        (lambda v: v.pop("question"), ": 'question' is missing"),
        (lambda v: v.update(modality="xray"), "modality 'xray'; expected chest_xray, ct_scan, pathology,"),
        (lambda v: v["solution_steps"][1].update(step_id=5), " step 1: step_id 5; expected 1"),
        (lambda v: v.update(solution_steps=[]), " case medprm_cxr_0001: solution_steps is empty"),
        (lambda v: v["solution_steps"][0].update(confidence="high"), "step 0: confidence 'high'; expected a number"),
        (lambda v: v["clinical_context"]["vitals"].update(a=[1]), "vitals.a [1]; expected text, a number, true"),
        (lambda v: v["image"].update(path="../x.png"), "path '../x.png'; expected a path relative to the data root"),
        (lambda v: v.update(metadata=None), "metadata null; expected an object"),
        (lambda v: v.update(case_id="a\nb", foo=1), " case 'a\\nb': unknown field 'foo'"),
        (lambda v: v["solution_steps"][0].update(label=1, foo=1), "(and 1 more)"),
    ],
)
def test_wrong_values_say_where_and_what_is_allowed(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], expected: str
) -> None:
    path = _write(tmp_path / "cases.jsonl", TINY, _changed(change))
    message = _error(path)
    assert message.startswith(f"{path}:2")
    assert expected in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ": the file is empty"),
        (b'{"case_id": "a"', ":1: broken JSON at column 16"),
        (b"\n", ":1: the line is blank"),
        (b"[1, 2]\n", ":1: a list; expected one JSON object"),
        (b'"x"\n', ":1: text; expected one JSON object"),
        (b'{"case_id": "a", "case_id": "b"}\n', ":1: duplicate key 'case_id'"),
        (b'{"extra": {"a": 1, "a": 1}}\n', ":1: duplicate key 'a'"),
        (b'{"extra": {"a": NaN}}\n', ":1: NaN is not JSON"),
        (b'{"extra": {"a": -Infinity}}\n', ":1: -Infinity is not JSON"),
        (b'{"extra": {"a": 1e999}}\n', ":1: number 1e999 is too large"),
        (b"\xef\xbb\xbf{}\n", ":1: the file opens with a byte order mark"),
        (b"\xff\xfe{\x00}\x00", ":1: byte 1 of the line is not UTF-8"),
        (b"[" * 100_000, ":1: JSON nested too deeply"),
        (b'{"case_id": "\\ud800", "modality": "text", "question": "q"}', "lone surrogates"),
    ],
)
def test_what_is_not_json_lines_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_bytes(content)
    assert expected in _error(path).removeprefix(str(path))
    assert expected in _error(path, read_records).removeprefix(str(path))


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    assert "no such file" in _error(tmp_path / "none.jsonl")


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", TINY)
    broken = from_json(TINY).model_copy(update={"extra": {"x": float("nan")}})
    with pytest.raises(RecordError, match=r"a.jsonl:2: case c cannot be written"):
        write_records(path, [from_json(EXAMPLE), broken])
    with pytest.raises(RecordError, match="no records to write"):
        write_records(path, [])
    assert [to_json(record) for record in read_records(path)] == [TINY]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]


def test_hugging_face_datasets_reads_the_lines(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    path = _write(tmp_path / "a.jsonl", EXAMPLE)
    table = datasets.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    assert table[0]["solution_steps"][3]["icd10"] == "J18.9"


def test_seven_thousand_records_are_read_in_seconds(tmp_path: Path) -> None:
    note = {"note": "x" * 700}
    values = ({**EXAMPLE, "case_id": f"c{i // 8}", "solution_id": str(i), "extra": note} for i in range(7000))
    path = _write(tmp_path / "a.jsonl", *values)
    start = time.process_time()
    assert len(read_cases(path)) == 875
    # Measured 0.8 s on a free core; the limit leaves room for a busy machine.
    assert time.process_time() - start < 4
