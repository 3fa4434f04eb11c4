"""Many cases through a scorer: row by row, read ahead by worker processes, shared out among ranks, kept as they come.

In: a scorer, cases. Out: one score per step of each solution, in the order of the cases. Rows are those of the whole
set, whoever scores them and however often the work was interrupted, so that the scores are the same to the last bit.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Subset

from medprm.scoring.kept_rows import KeptRows
from medprm.scoring.rows import Batch, Candidates, Rows

Scores = list[list[list[float]]]
"""By case, solution and step."""


class RowScorer(Protocol):
    """`plan` says what the forwards are; `score_row` does one: a score a step, solution after solution."""

    @property
    def device(self) -> torch.device: ...

    def plan(self, cases: Sequence[Candidates], root: Path) -> Rows: ...

    def score_row(self, batch: Batch) -> list[float]: ...


class Share(NamedTuple):
    """Which rows this process does: every `num`-th, from `rank` on."""

    rank: int = 0
    num: int = 1


def score_rows(
    scorer: RowScorer,
    rows: Rows,
    kept: KeptRows,
    *,
    share: Share = Share(),
    num_workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Do this process's share of the rows that are not kept yet; `progress` is told the steps just scored or found."""
    wanted = []
    for index in range(share.rank, len(rows), share.num):
        if index in kept:
            _tell(progress, rows, index)
        else:
            wanted.append(index)
    for index, batch in zip(wanted, _read_ahead(rows, wanted, num_workers, scorer.device), strict=True):
        kept.add(index, scorer.score_row(batch))
        _tell(progress, rows, index)


def gather(rows: Rows, kept: KeptRows, cases: Sequence[Candidates]) -> Scores:
    """The scores of all rows, by case and solution."""
    scores: Scores = [[[] for _ in item.steps] for item in cases]
    for index in range(len(rows)):
        found = iter(kept[index])
        for case, solution, num_steps in rows.owners(index):
            scores[case][solution] = [next(found) for _ in range(num_steps)]
        assert next(found, None) is None, f"row {index} has more scores than steps"
    return scores


def _read_ahead(rows: Rows, wanted: Sequence[int], num_workers: int, device: torch.device) -> Iterator[Batch]:
    """The rows in order; with workers they are decoded, tiled and encoded while the model is busy with those before."""
    if num_workers == 0:
        yield from (rows[index] for index in wanted)
        return
    subset: Subset[Batch] = Subset(rows, wanted)  # type: ignore[arg-type]
    yield from DataLoader(subset, batch_size=None, num_workers=num_workers, pin_memory=device.type == "cuda")


def _tell(progress: Callable[[int], None] | None, rows: Rows, index: int) -> None:
    if progress:
        progress(sum(one.num_steps for one in rows.owners(index)))
