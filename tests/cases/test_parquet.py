"""Parquet: the same records as JSON Lines, in both directions, and readable by Hugging Face `datasets`."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medprm.cases.jsonl import RecordError, read_cases, read_records, write_records
from medprm.cases.schema import from_json, to_json

EXAMPLE = json.loads((Path(__file__).parents[1] / "data" / "record_example.json").read_text(encoding="utf-8"))
TINY = {"case_id": "c", "modality": "text", "question": "q"}
VALUES: list[dict[str, Any]] = [
    EXAMPLE,
    TINY,
    {**TINY, "case_id": "d", "patient_id": None, "image": None, "is_correct": None, "answer": "é\u2028\n"},
    {**TINY, "case_id": "e", "options": [], "documents": [], "extra": {"a": [1, 1.5, True, None], "big": 10**30}},
    {
        **TINY,
        "case_id": "f",
        "options": ["x", "y"],
        "is_correct": False,
        "solution_steps": [{"step_id": 0, "content": "s"}],
    },
]


def _write_raw(path: Path, columns: dict[str, list[Any]]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_round_trip_keeps_absent_null_and_empty_apart(tmp_path: Path) -> None:
    assert write_records(tmp_path / "a.parquet", map(from_json, VALUES)) == len(VALUES)
    assert [to_json(record) for record in read_records(tmp_path / "a.parquet")] == VALUES


def test_jsonl_to_parquet_to_jsonl_is_byte_for_byte(tmp_path: Path) -> None:
    many = [from_json({**value, "case_id": f"{i}"}) for i in range(450) for value in VALUES]
    write_records(tmp_path / "a.jsonl", many)
    write_records(tmp_path / "a.parquet", read_records(tmp_path / "a.jsonl"))
    write_records(tmp_path / "b.jsonl", read_records(tmp_path / "a.parquet"))
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_hugging_face_datasets_reads_and_rewrites_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write_records(tmp_path / "a.parquet", map(from_json, VALUES))
    source = str(tmp_path / "a.parquet")
    table = datasets.load_dataset("parquet", data_files=source, cache_dir=str(tmp_path / "cache"))["train"]
    assert json.loads(table[0]["solution_steps"])[3]["icd10"] == "J18.9"
    table.to_parquet(tmp_path / "b.parquet")
    assert [to_json(record) for record in read_records(tmp_path / "b.parquet")] == VALUES


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"case_id": ["c"], "modality": ["text"], "quest": ["q"]}, "unknown column 'quest'"),
        ({"case_id": ["c"], "modality": ["text"]}, "row 1 case c: 'question' is missing"),
        ({"case_id": [5], "modality": ["text"], "question": ["q"]}, "row 1: case_id 5; expected text"),
        ({"case_id": ["c"], "modality": ["text"], "question": ["q"], "extra": ['{"a": NaN}']}, "NaN is not JSON"),
        ({"case_id": ["c"], "modality": ["text"], "question": ["q"], "extra": [1]}, "expected JSON text"),
    ],
)
def test_wrong_tables_are_refused_with_the_row(tmp_path: Path, columns: dict[str, list[Any]], expected: str) -> None:
    path = _write_raw(tmp_path / "a.parquet", columns)
    with pytest.raises(RecordError) as caught:
        read_cases(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}\n" * 100])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="not a Parquet file"):
        read_cases(path)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    broken = from_json(TINY).model_copy(update={"extra": {"x": float("nan")}})
    with pytest.raises(RecordError, match=r"a.parquet row 2 case c: extra cannot be written"):
        write_records(tmp_path / "a.parquet", [from_json(EXAMPLE), broken])
    assert list(tmp_path.iterdir()) == []
