"""`annotate` with quality filters: nothing that was left out is paid for, shards agree, evaluation sets are refused."""

import json
from pathlib import Path

import pytest
import stub_server
from annotation_run import annotate_config, text_records, write_inputs

from medprm.cases.filters.settings import FilterSettings
from medprm.cases.jsonl import read_records, write_records
from medprm.commands import annotate
from medprm.config import AnnotateConfig
from medprm.errors import InputError

FILTERS = FilterSettings(min_steps=3, max_steps=9, duplicates=True, refuse_unparsed=True, max_right_per_case=1)


def inputs(folder: Path) -> Path:
    """Six cases; the last is the first again, one solution of the second is too short."""
    records = text_records(num_cases=5, num_solutions=2, num_steps=4)
    short = records[2].model_copy(update={"solution_steps": records[2].solution_steps[:1]})
    twin = records[0].model_copy(update={"case_id": "twin", "solution_id": "twin-0"})
    return write_inputs(folder, [*records[:2], short, *records[3:], twin])


def test_filters_run_before_anything_is_bought(tmp_path: Path) -> None:
    folder = inputs(tmp_path / "inputs")
    with stub_server.started() as url:

        def config(output: str, **changes: object) -> AnnotateConfig:
            return annotate_config(folder, tmp_path / output, url, filters=FILTERS, **changes)

        whole = annotate.run(config("whole"))
        records = list(read_records(whole / "labelled.jsonl"))
        assert len(records) == 9 and not {"twin", "case-1-0"} & {one.case_id for one in records}
        counts = json.loads((whole / "filters.json").read_text())
        assert counts["cases"]["left_out"] == {"the same case twice": 1}
        assert counts["solutions"]["left_out"] == {"fewer than 3 steps": 1}
        assert counts["labels"]["num_solutions_read"] == 9
        trained = list(read_records(whole / "training.jsonl"))
        assert [one for one in records if one in trained] == trained
        assert counts["labels"]["num_solutions_kept"] == len(trained)
        for index in range(2):
            annotate.run(config("shards", shard=f"{index}/2"))
        merged = annotate.run(config("shards", merge_shards=2))
        assert (merged / "training.jsonl").read_bytes() == (whole / "training.jsonl").read_bytes()
        assert json.loads((merged / "filters.json").read_text()) == counts


def test_an_evaluation_set_is_refused_before_anything_is_bought(tmp_path: Path) -> None:
    write_inputs(tmp_path, num_cases=1)
    (tmp_path / "cases.jsonl").rename(tmp_path / "test.jsonl")
    config = annotate_config(
        tmp_path, tmp_path / "out", "http://127.0.0.1:9/v1", filters=FILTERS, cases=str(tmp_path / "test.jsonl")
    )
    with pytest.raises(InputError, match=r"test.jsonl: an evaluation set by its name"):
        annotate.run(config)
    assert not (tmp_path / "out").exists()
    split = [
        one.model_copy(update={"metadata": one.metadata.model_copy(update={"split": "test"})})
        for one in read_all(tmp_path)
    ]
    write_records(tmp_path / "cases.jsonl", split)
    with pytest.raises(InputError, match="of the test split"):
        annotate.run(annotate_config(tmp_path, tmp_path / "out", "http://127.0.0.1:9/v1", filters=FILTERS))


def read_all(folder: Path) -> list:  # type: ignore[type-arg]
    return list(read_records(folder / "test.jsonl"))
