"""Scoring many cases: workers, ranks and interruptions change no bit of a score; what is kept is not scored again."""

import json
from pathlib import Path

import pytest
import torch
from tiny import make_cases, tiny_encoder, tiny_loaded

from medprm.cases.schema import CaseSolutions
from medprm.errors import InputError
from medprm.images.files import ImageError
from medprm.scoring.engine import Scores, Share, gather, score_rows
from medprm.scoring.kept_rows import KeptRows, RowFile
from medprm.scoring.rows import Candidates, TreeRows
from medprm.scoring.scorer import StepScorer


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def cases(root: Path) -> list[Candidates]:
    made: list[CaseSolutions] = make_cases(root, num_cases=7, num_solutions=5)
    return [Candidates(item.case, [one.step_texts for one in item.solutions]) for item in made]


class Counting(StepScorer):
    """Counts its forwards."""

    num_forwards = 0

    def score_row(self, batch: dict[str, torch.Tensor]) -> list[float]:
        self.num_forwards += 1
        return super().score_row(batch)


def scorer() -> Counting:
    return Counting(tiny_loaded(), tiny_encoder(), max_row_tokens=500)


@pytest.fixture(scope="module")
def rows(cases: list[Candidates], root: Path) -> TreeRows:
    found = scorer().plan(cases, root)
    assert len(found) >= 4
    return found


@pytest.fixture(scope="module")
def expected(rows: TreeRows, cases: list[Candidates]) -> Scores:
    kept = KeptRows()
    score_rows(scorer(), rows, kept)
    return gather(rows, kept, cases)


def test_every_solution_is_in_one_row_and_rows_are_within_the_budget(rows: TreeRows, cases: list[Candidates]) -> None:
    owners = [one for index in range(len(rows)) for one in rows.owners(index)]
    asked = [(c, n, len(steps)) for c, item in enumerate(cases) for n, steps in enumerate(item.steps)]
    assert sorted(tuple(one) for one in owners) == asked
    lengths = [rows[index]["input_ids"].shape[1] for index in range(len(rows))]
    assert max(lengths) <= 500 and lengths[0] == max(lengths[:2]), "long rows first"


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(rows: TreeRows, cases: list[Candidates], expected: Scores, num_workers: int) -> None:
    kept = KeptRows()
    score_rows(scorer(), rows, kept, num_workers=num_workers)
    assert gather(rows, kept, cases) == expected


def test_ranks_share_the_rows(rows: TreeRows, cases: list[Candidates], expected: Scores, tmp_path: Path) -> None:
    told: list[int] = []
    counts = []
    for rank in range(3):
        one = scorer()
        score_rows(one, rows, RowFile(tmp_path, "a", rank), share=Share(rank, 3), progress=told.append)
        counts.append(one.num_forwards)
    assert sum(counts) == len(rows) and max(counts) - min(counts) <= 1
    assert sum(told) == sum(len(steps) for item in cases for steps in item.steps)
    kept = RowFile(tmp_path, "a", 1)
    assert gather(rows, kept, cases) == expected


def test_what_was_kept_is_not_scored_again(
    rows: TreeRows, cases: list[Candidates], expected: Scores, tmp_path: Path
) -> None:
    """Cut off at every byte of its file, the work goes on to the same scores, with as many forwards as were lost."""
    score_rows(scorer(), rows, RowFile(tmp_path / "whole", "a"))
    whole = (tmp_path / "whole" / "rank_0.jsonl").read_bytes()
    (tmp_path / "cut").mkdir()
    for size in [0, 5, len(whole) // 3, len(whole) // 2, len(whole) - 1, len(whole)]:
        (tmp_path / "cut" / "rank_0.jsonl").write_bytes(whole[:size])
        again = scorer()
        kept = RowFile(tmp_path / "cut", "a")
        score_rows(again, rows, kept)
        assert gather(rows, kept, cases) == expected
        assert again.num_forwards == len(rows) - max(0, whole[:size].count(b"\n") - 1)
        lines = (tmp_path / "cut" / "rank_0.jsonl").read_text().splitlines()
        assert len(lines) == len(rows) + 1 and all(json.loads(line) for line in lines)


def test_another_number_of_ranks_goes_on(
    rows: TreeRows, cases: list[Candidates], expected: Scores, tmp_path: Path
) -> None:
    score_rows(scorer(), rows, RowFile(tmp_path, "a", 1), share=Share(1, 2))
    rest = scorer()
    kept = RowFile(tmp_path, "a", 0)
    score_rows(rest, rows, kept)
    assert rest.num_forwards == len(rows) - len(rows) // 2
    assert gather(rows, kept, cases) == expected


def test_scores_of_something_else_are_refused(rows: TreeRows, tmp_path: Path) -> None:
    RowFile(tmp_path, "one checkpoint").add(0, [0.5])
    with pytest.raises(InputError, match=r"rank_0.jsonl: holds scores of another checkpoint"):
        RowFile(tmp_path, "another checkpoint")


def test_a_broken_image_is_named(cases: list[Candidates], root: Path, tmp_path: Path) -> None:
    for path in root.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "3.png").write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageError, match=r"3\.png"):
        score_rows(scorer(), scorer().plan(cases, tmp_path), KeptRows(), num_workers=0)
    with pytest.raises(ImageError, match=r"3\.png"):
        score_rows(scorer(), scorer().plan(cases, tmp_path), KeptRows(), num_workers=1)


def test_no_cases_are_no_work(root: Path) -> None:
    kept = KeptRows()
    rows = scorer().plan([], root)
    score_rows(scorer(), rows, kept)
    assert len(rows) == 0 and gather(rows, kept, []) == []
