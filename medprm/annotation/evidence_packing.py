"""Evidence into a judge's prompt: whole passages by rank, within a budget of tokens, and a count of what stays out.

In: passages by rank, the texts that they share a window with. Out: those that are shown. A passage is counted as it is
shown, with its marks. The window (4,096 tokens) keeps 1,024 for what the judge is told and the reasoning; where that
needs more, evidence gives way first.
"""

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from medprm.annotation.passages import Passage
from medprm.annotation.settings import RetrievalSettings
from medprm.errors import InputError

logger = logging.getLogger(__name__)

NUM_REMEMBERED = 16_384  # texts; the same passages are counted for many solutions
FENCE_CHARS = 12  # of the mark around a passage; it is drawn when all is packed, and takes at most a token each
TokenCounter = Callable[[str], int]


class Packed(NamedTuple):
    """Passages that fit into the budget, by rank, and those that did not."""

    passages: list[Passage]
    left_out: list[Passage]


class EvidencePacker:
    """Packs for one solution after the other, in any thread, and counts."""

    def __init__(self, settings: RetrievalSettings) -> None:
        self.max_tokens = settings.max_tokens
        self.window_tokens = settings.window_tokens
        self.count_tokens = token_counter(settings.tokenizer)
        self.sums: Counter[str] = Counter()
        self._too_long: set[str] = set()
        self._mutex = threading.Lock()
        logger.info(
            "evidence: at most %d of %d tokens, %d are kept for the reasoning; counted by %s",
            *(self.max_tokens, self.window_tokens, self.window_tokens - self.max_tokens),
            settings.tokenizer or "a rough guess (three bytes a token; retrieval.tokenizer=FOLDER counts exactly)",
        )

    def pack(self, passages: Sequence[Passage], beside: Sequence[str], solution_id: str) -> list[Passage]:
        """What is shown beside these texts: what the judge is told, context, question, options and steps."""
        num_beside = FENCE_CHARS + sum(self.count_tokens(text) for text in beside)  # what is told names the fence
        room = min(self.max_tokens, self.window_tokens - num_beside)
        packed = pack_passages(passages, room, self._size)
        if room <= 0:
            logger.warning(
                "solution %s: its reasoning alone fills the window of %d tokens: no evidence is shown with it",
                *(solution_id, self.window_tokens),
            )
        with self._mutex:
            self.sums.update(
                solutions=1,
                squeezed=room < self.max_tokens,
                found=len(passages),
                left_out=len(packed.left_out),
                with_left_out=bool(packed.left_out),
            )
            for one in packed.left_out:
                if one.passage_id not in self._too_long and (size := self._size(one)) > self.max_tokens:
                    self._too_long.add(one.passage_id)
                    logger.warning(
                        "passage %s has %d tokens, over the budget of %d alone: it is never shown; "
                        "retrieval.max_passage_words splits passages of collections",
                        *(one.passage_id, size, self.max_tokens),
                    )
        return packed.passages

    def say_sums(self) -> None:
        """What was found and left out over the run."""
        sums = self.sums
        logger.info(
            "evidence of %d solutions: %d passages found, %d of them left out over the budget (in %d solutions); "
            "%d solutions had less than the budget because of their reasoning; %d passages are over it alone",
            *(sums["solutions"], sums["found"], sums["left_out"], sums["with_left_out"], sums["squeezed"]),
            len(self._too_long),
        )

    def _size(self, passage: Passage) -> int:
        return self.count_tokens(shown_passage(passage, "")) + 2 * FENCE_CHARS


def shown_passage(passage: Passage, fence: str) -> str:
    """A passage as the judge reads it, between marks that no passage can guess."""
    named = {"id": passage.passage_id, "title": passage.title, "source": passage.source}
    marks = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in named.items() if value]
    return f"<{fence} {' '.join(marks)}>\n{passage.text}\n</{fence}>"


def pack_passages(passages: Sequence[Passage], max_tokens: int, size_of: Callable[[Passage], int]) -> Packed:
    """Whole passages by rank until the budget is full; one that does not fit is passed over for the next."""
    packed, used = Packed([], []), 0
    for one in passages:
        size = size_of(one)
        is_kept = used + size <= max_tokens
        (packed.passages if is_kept else packed.left_out).append(one)
        used += size * is_kept
    return packed


def token_counter(folder: str | None) -> TokenCounter:
    """Counts tokens as the tokenizer in `folder` does, or roughly; one more for the join to the next text."""
    if folder is None:
        return rough_tokens
    file = Path(folder) / "tokenizer.json"
    if not file.is_file():
        raise InputError(f"retrieval.tokenizer={folder}: expected a folder with tokenizer.json (a fast tokenizer)")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no narrower class
        raise InputError(f"{file}: not a tokenizer ({str(error).splitlines()[0]})") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()

    @lru_cache(maxsize=NUM_REMEMBERED)
    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids) + 1

    return count


def rough_tokens(text: str) -> int:
    """A guess where the judge's tokenizer is not at hand: three bytes a token, one more for the join.

    Above what English prose takes in subword tokenizers of 30,000 words and more; lists of codes can take more.
    """
    return len(text.encode()) // 3 + 1
