"""Rows: every piece in exactly one, none over the budget, little left empty."""

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medprm.encoding.packing import fill, pack


@given(st.lists(st.integers(1, 120), max_size=60), st.integers(1, 100))
def test_every_piece_has_one_row_and_rows_stay_in_the_budget(lengths: list[int], budget: int) -> None:
    rows = pack(lengths, budget)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    for row in rows:
        assert sum(lengths[index] for index in row) <= budget or len(row) == 1


def test_the_same_lengths_give_the_same_rows() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 1000).tolist()
    assert pack(lengths, 1024) == pack(lengths, 1024)


def test_rows_are_full_and_packing_is_fast() -> None:
    """A best fit of pieces well below the budget wastes next to nothing; the limits are loose."""
    lengths = np.random.default_rng(0).lognormal(6.5, 0.5, 20_000).astype(int).tolist()
    begin = time.perf_counter()
    rows = pack(lengths, 16_384)
    assert time.perf_counter() - begin < 5
    assert fill(lengths, rows, 16_384) > 0.99
