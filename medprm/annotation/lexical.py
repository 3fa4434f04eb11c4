"""BM25 over passages, by bm25s: built once for a content hash, kept on disk, opened memory-mapped.

In: passages, queries. Out: places of the best passages, best first. The tokenizer is part of the index: another one
makes another index. BM25: Robertson and Zaragoza 2009, k1 1.5, b 0.75 (bm25s's defaults, variant Lucene).
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medprm.annotation.index_folders import index_folder
from medprm.annotation.passages import Passage, content_hash
from medprm.errors import InputError

TOKENIZER = "words-1"  # name of what `words_of` does; a change of it needs another name
WORD = re.compile(r"\w+")
STOP_WORDS = frozenset(
    "a an and are as at be by for from has have in is it of on or that the this to was were with".split()  # noqa: SIM905
)


def words_of(text: str) -> list[str]:
    """Lower-case words without stop words; the plural s is cut, so that `effusions` finds `effusion`."""
    words = [word for word in WORD.findall(text.casefold()) if word not in STOP_WORDS]
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words]


class LexicalIndex:
    """An opened index; `name` stands for all that its answers depend on."""

    def __init__(self, passages: Sequence[Passage], folder: Path) -> None:
        self._bm25s = _bm25s()
        digest = hashlib.sha256(f"{content_hash(passages)} {TOKENIZER} {self._bm25s.__version__}".encode()).hexdigest()
        self.folder = index_folder(folder, "bm25", digest, lambda scratch: self._build(passages, scratch))
        self.name = f"bm25-{digest}"
        self._index = self._bm25s.BM25.load(self.folder, mmap=True, load_corpus=False)
        self._known: dict[str, int] = self._index.vocab_dict

    def search(self, query: str, num_best: int) -> list[int]:
        """Places of the passages that share a word with the query, best first; at equal scores in file order."""
        known = [word for word in words_of(query) if word in self._known]
        if not known:
            return []
        scores = np.asarray(self._index.get_scores(known))
        num_best = min(num_best, len(scores))
        # Ties at the border are resolved by the place, too: all that could belong to the best are sorted.
        border = np.partition(scores, len(scores) - num_best)[len(scores) - num_best]
        candidates = np.flatnonzero((scores >= border) & (scores > 0))
        order = np.lexsort((candidates, -scores[candidates]))
        return candidates[order][:num_best].tolist()

    def _build(self, passages: Sequence[Passage], folder: Path) -> None:
        index = self._bm25s.BM25()
        index.index([words_of(one.whole_text) or ["-"] for one in passages], show_progress=False)
        index.save(folder, corpus=None, show_progress=False)


def _bm25s() -> Any:
    try:
        import bm25s  # optional: only annotation searches
    except ImportError:
        raise InputError("retrieval needs the package bm25s: pip install 'medprm[annotate]'") from None
    return bm25s
