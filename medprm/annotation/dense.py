"""Search by meaning: the vectors of all passages, computed once, kept on disk by content hash, opened memory-mapped.

In: passages, queries, an encoder. Out: places of the passages, best first. A passage over the encoder's window is
searched by its windows, its score is that of the best one; a query over it by the mean of its windows.
Axes: W windows of all passages, D width of the encoder.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from medprm.annotation.index_folders import index_folder
from medprm.annotation.passages import Passage
from medprm.annotation.settings import DenseSettings
from medprm.annotation.text_encoder import Encoder, files_hash, find_encoder
from medprm.annotation.vector_store import open_store
from medprm.errors import InputError

logger = logging.getLogger(__name__)

DECIMALS = 5  # of a score: equal texts do not differ by where they stand


class DenseIndex:
    """An opened index; `name` stands for all that its answers depend on.

    `num_embedded` texts were computed at opening, the others came from disk.
    """

    def __init__(self, passages: Sequence[Passage], settings: DenseSettings, folder: Path) -> None:
        assert settings.passage_encoder is not None, "a dense index needs an encoder"
        self.settings = settings
        self.query_encoder = Encoder(self._query_name, settings, settings.max_query_tokens)
        self.num_embedded = 0
        self.num_long_queries = 0
        self._mutex = threading.Lock()
        self._passages_hash = self._hash(settings.passage_encoder, settings.max_passage_tokens)
        keys = [self._key(one) for one in passages]
        digest = hashlib.sha256(" ".join([self._passages_hash, *keys]).encode()).hexdigest()
        self.folder = index_folder(
            folder, "dense", digest, lambda scratch: self._build(passages, keys, scratch, folder)
        )
        self.name = f"dense-{digest}-{self._hash(self._query_name, settings.max_query_tokens)}"
        self.vectors = np.load(self.folder / "vectors.npy", mmap_mode="r")  # (W, D)
        self.starts = np.load(self.folder / "starts.npy")  # first window of each passage
        self._check_width(self.vectors.shape[1])
        num_windows = np.diff([*self.starts, len(self.vectors)])
        self.num_split = int((num_windows > 1).sum())
        logger.info(
            "%d passages as %d windows of %s; %d passages are over its window",
            *(len(passages), len(self.vectors), settings.passage_encoder, self.num_split),
        )

    def search(self, query: str, num_best: int) -> list[int]:
        """Places by falling score; at equal ones in file order."""
        if not query.strip():
            return []
        windows = self.query_encoder.embed(query)
        with self._mutex:
            self.num_long_queries += len(windows) > 1
        scores = np.maximum.reduceat(self.vectors @ windows.mean(axis=0), self.starts).round(DECIMALS)
        return np.argsort(-scores, kind="stable")[:num_best].tolist()

    def _check_width(self, width: int) -> None:
        if width != self.query_encoder.width:
            raise InputError(
                f"retrieval.dense: {self._query_name} makes vectors of {self.query_encoder.width} numbers, "
                f"{self.settings.passage_encoder} of {width}; expected two encoders that belong together"
            )

    @property
    def _query_name(self) -> str:
        name = self.settings.query_encoder or self.settings.passage_encoder
        assert name is not None
        return name

    def _hash(self, encoder: str, max_tokens: int | None) -> str:
        """All that makes the vectors: the encoder's files and how it is read."""
        read = asdict(self.settings) | {"passage_encoder": None, "query_encoder": None, "device": None}
        read |= {"max_passage_tokens": max_tokens, "max_query_tokens": None}
        return hashlib.sha256(f"{files_hash(find_encoder(encoder))} {json.dumps(read)}".encode()).hexdigest()

    def _key(self, passage: Passage) -> str:
        return hashlib.sha256(json.dumps([passage.title, passage.text]).encode()).hexdigest()

    def _build(self, passages: Sequence[Passage], keys: Sequence[str], scratch: Path, folder: Path) -> None:
        name = self.settings.passage_encoder
        assert name is not None
        is_same = (name, self.settings.max_passage_tokens) == (self._query_name, self.settings.max_query_tokens)
        encoder = self.query_encoder if is_same else Encoder(name, self.settings, self.settings.max_passage_tokens)
        self._check_width(encoder.width)  # before hours of embedding
        with open_store(folder / f"vectors-{self._passages_hash[:16]}.sqlite") as store:
            texts = dict(zip(keys, passages, strict=True))
            self.num_embedded = store.embed_missing(texts, lambda one: encoder.embed(one.text, one.title))
            store.say_others(texts)
            sizes = [len(store.vectors(key)) for key in keys]
            shape = (sum(sizes), encoder.width)
            vectors = np.lib.format.open_memmap(scratch / "vectors.npy", mode="w+", dtype=np.float32, shape=shape)
            starts = np.cumsum([0, *sizes])[:-1]
            for key, start, size in zip(keys, starts, sizes, strict=True):
                vectors[start : start + size] = store.vectors(key)
            vectors.flush()
        np.save(scratch / "starts.npy", starts)
