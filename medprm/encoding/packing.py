"""Which sequences or trees share a row of a batch: best fit, the longest first.

In: lengths and a budget, in tokens. Out: index lists, every index once. Nothing is cut: what is longer than the budget
has a row of its own.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Rows of at most `max_tokens`; each piece goes where least room is left. O(n log n) but for list insertion."""
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (room left, row), sorted
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        place = bisect_left(rooms, (lengths[index], 0))
        if place < len(rooms):
            room, row = rooms.pop(place)
        else:
            room, row = max_tokens, len(rows)
            rows.append([])
        rows[row].append(index)
        if room - lengths[index] > 0:
            insort(rooms, (room - lengths[index], row))
    return rows


def fill(lengths: Sequence[int], rows: Sequence[Sequence[int]], max_tokens: int) -> float:
    """Share of the rows' budget that holds tokens."""
    return sum(lengths) / max(1, len(rows) * max_tokens)
