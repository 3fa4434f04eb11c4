"""Data folders: what is there is read, what is missing is one clear error."""

import json
from pathlib import Path

import pytest

from medprm.cases.folder import open_data
from medprm.cases.jsonl import RecordError, write_records
from medprm.cases.schema import from_json

STEPS = [{"step_id": 0, "content": "s"}]


def _write(path: Path, case_id: str = "c", with_steps: bool = True) -> None:
    value = {"case_id": case_id, "modality": "text", "question": "q"} | (
        {"solution_steps": STEPS} if with_steps else {}
    )
    write_records(path, [from_json(value)])


def test_splits_are_read_from_either_format(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", "a")
    _write(tmp_path / "test.parquet", "b")
    data = open_data(tmp_path)
    assert [data.has(name) for name in ("train", "validation", "test")] == [True, False, True]
    assert data.split("train")[0].case.case_id == "a"
    assert data.split("test")[0].case.case_id == "b"
    assert data.image_root == tmp_path
    with pytest.raises(RecordError, match=r"no file validation.jsonl or validation.parquet"):
        data.split("validation")


def test_image_root_is_read_and_checked(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (tmp_path / "images").mkdir()
    _write(folder / "train.jsonl")
    for given in ("../images", str(tmp_path / "images")):
        (folder / "dataset.json").write_text(json.dumps({"image_root": given, "source": "x"}))
        assert open_data(folder).image_root.resolve() == (tmp_path / "images").resolve()
    for wrong in ('{"image_root": "none"}', '{"image_root": 3}', "[]", "{"):
        (folder / "dataset.json").write_text(wrong)
        with pytest.raises(RecordError, match=r"dataset.json"):
            open_data(folder)


def test_missing_empty_and_doubled_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such data folder"):
        open_data(tmp_path / "none")
    with pytest.raises(RecordError, match="no records in this folder"):
        open_data(tmp_path)
    _write(tmp_path / "train.jsonl")
    _write(tmp_path / "train.parquet")
    with pytest.raises(RecordError, match=r"both train.jsonl and train.parquet"):
        open_data(tmp_path)


def test_cases_without_steps_are_refused_unless_asked_for(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", with_steps=False)
    with pytest.raises(RecordError, match=r"train.jsonl:1 case c: no solution_steps"):
        open_data(tmp_path).split("train")
    assert open_data(tmp_path).split("train", require_steps=False)[0].solutions == []


def test_hash_follows_names_and_contents(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", "a")
    _write(tmp_path / "test.jsonl", "b")
    first = open_data(tmp_path).content_hash()
    assert open_data(tmp_path).content_hash() == first
    (tmp_path / "train.jsonl").rename(tmp_path / "x")
    (tmp_path / "test.jsonl").rename(tmp_path / "train.jsonl")
    (tmp_path / "x").rename(tmp_path / "test.jsonl")
    assert open_data(tmp_path).content_hash() != first
