"""The fill and the speed of packing on the stated distribution of lengths (benchmarks/growth.py)."""

import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from growth import BUDGET, stated_lengths

from medprm.encoding.packing import fill, pack


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_of_the_stated_lengths_are_full_and_packed_in_seconds(seed: int) -> None:
    lengths = stated_lengths(100_000, seed)
    begin = time.process_time()
    rows = pack(lengths, BUDGET)
    assert time.process_time() - begin < 10  # measured 0.2
    assert fill(lengths, rows, BUDGET) >= 0.97  # measured 0.9976
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
