"""Cases that stay in their file are the cases that are read as a whole, in any order, from any process."""

import json
import multiprocessing
import pickle
import random
from pathlib import Path

import pytest

from medprm.cases.jsonl import read_cases, write_records
from medprm.cases.parsing import RecordError
from medprm.cases.schema import Record, from_json
from medprm.cases.stored import ChainedCases, ChosenCases, StoredCases, scan_cases


def record(case: int, solution: int) -> Record:
    text = "é\u2028 " * (case % 5) + "long " * (40_000 if case == 3 else 1)
    return from_json(
        {
            "case_id": f"c{case}",
            "modality": "text",
            "question": f"question {case}",
            "documents": [{"document_id": "d", "text": text + "x"}],
            "solution_id": f"s{solution}",
            "solution_steps": [{"step_id": 0, "content": f"{case} {solution}", "label": "correct"}],
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    records = [record(case, solution) for case in range(12) for solution in range(3)]
    random.Random(0).shuffle(records)  # the lines of a case stand apart
    write_records(tmp_path / "train.jsonl", records)
    return tmp_path / "train.jsonl"


def test_what_is_stored_is_what_is_read(path: Path) -> None:
    stored, whole = scan_cases(path), read_cases(path)
    assert list(stored) == whole
    for number in random.Random(1).sample(range(12), 12):
        assert stored[number] == whole[number]
    assert stored[-1] == whole[-1]
    assert isinstance(stored[1::3], StoredCases), "a slice stays in the file"
    assert list(stored[1::3]) == whole[1::3] and list(stored[:5][3:]) == whole[3:5]
    with pytest.raises(IndexError):
        stored[12]


def _first(stored: StoredCases) -> str:
    return stored[5].case.case_id


def test_other_processes_read_the_same(path: Path) -> None:
    stored = scan_cases(path)
    expected = stored[5].case.case_id
    assert pickle.loads(pickle.dumps(stored))[5] == stored[5]
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(_first, [stored] * 3) == [expected] * 3


def test_chosen_and_chained_cases(path: Path) -> None:
    stored, whole = scan_cases(path), read_cases(path)
    chosen = ChosenCases(stored, [(4, (0, 2)), (7, (1,))])
    assert [one.solution_id for one in chosen[0].solutions] == [
        whole[4].solutions[0].solution_id,
        whole[4].solutions[2].solution_id,
    ]
    chain = ChainedCases([stored, chosen])
    assert len(chain) == 14 and chain[13] == chosen[1] and chain[-1] == chosen[1] and list(chain)[12] == chosen[0]


def test_what_is_wrong_is_said_as_when_read_as_a_whole(path: Path) -> None:
    lines = path.read_text().rstrip("\n").split("\n")
    other = json.loads(lines[1])
    broken = {
        "question": json.dumps(other | {"question": "another", "solution_id": "new"}),
        "already used": lines[1],
        "no solution_steps": json.dumps({k: v for k, v in other.items() if not k.startswith("solution")}),
    }
    for expected, line in broken.items():
        path.write_text("\n".join([*lines, line]) + "\n")
        messages = []
        for read in (scan_cases, lambda one: read_cases(one, require_steps=True)):
            with pytest.raises(RecordError, match=expected) as error:
                read(path)
            messages.append(str(error.value))
        assert messages[0] == messages[1]


def test_a_file_that_changed_and_a_parquet_file_are_refused(path: Path) -> None:
    stored = scan_cases(path)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(RecordError, match="the file changed"):
        stored[0]
    with pytest.raises(RecordError, match="which Parquet has not"):
        scan_cases(path.with_suffix(".parquet"))
