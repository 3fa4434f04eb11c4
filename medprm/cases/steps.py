"""A response in free text to its steps. Lists of steps that are given are never split again.

In: one text. Out: step texts in order, none empty. Where `Step 1:`, `Step 2:` ... are written out, they decide; else
blank lines, as in VisualPRM (arXiv 2503.10291); else lines. A paragraph without either is one step. A final answer on a
line of its own is a step of its own.
"""

import re
from collections.abc import Sequence

MARKER = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*)?(?:\*\*|__)?[Ss]tep[ \t]+(\d+)[ \t]*(?:\*\*|__)?[ \t]*[:.)\-–—]", re.MULTILINE
)
ANSWER_LINE = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*)?(?:\*\*)?(?:the[ \t]+)?(?:final[ \t]+|correct[ \t]+)?answer\b",
    re.IGNORECASE | re.MULTILINE,
)
BLANK_LINES = re.compile(r"\n[ \t]*\n+")


def split_steps(text: str, max_steps: int | None = None) -> list[str]:
    """The steps; with more than `max_steps`, neighbours are put together in groups of one size, as VisualPRM does."""
    text = text.replace("\r\n", "\n").strip()
    markers = [found.start() for found in MARKER.finditer(text)]
    if len(markers) >= 2:
        pieces = _at(text, [0, *markers[1:]])  # what stands before step 1 belongs to it
        pieces[-1:] = _at(pieces[-1], [0, *[found.start() for found in ANSWER_LINE.finditer(pieces[-1])][-1:]])
    else:
        pieces = BLANK_LINES.split(text) if BLANK_LINES.search(text) else text.split("\n")
    steps = [piece.strip() for piece in pieces if piece.strip()]
    return steps if max_steps is None else merge_steps(steps, max_steps)


def merge_steps(steps: Sequence[str], max_steps: int) -> list[str]:
    """At most `max_steps`: groups of ceil(n / max_steps) neighbours, joined by a newline."""
    size = max(1, -(-len(steps) // max_steps))
    return ["\n".join(steps[begin : begin + size]) for begin in range(0, len(steps), size)]


def _at(text: str, places: Sequence[int]) -> list[str]:
    """Pieces that begin at the places, which rise from 0."""
    ends = [*places[1:], len(text)]
    return [text[begin:end] for begin, end in zip(places, ends, strict=True)]
