"""Vectors of passages in one SQLite file by content hash: computed once, whatever collections they come in.

In: texts by their keys, how to embed one. Out: the vectors of a key, (W, D). A run that is stopped goes on where it
was, but for what was not yet written.
"""

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

logger = logging.getLogger(__name__)

Text = TypeVar("Text")

WRITTEN_EVERY = 64  # passages; what a kill may cost


class VectorStore:
    """An open store."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        database.execute("create table if not exists vectors (key text primary key, num integer, data blob)")

    def known(self) -> set[str]:
        return {key for (key,) in self._database.execute("select key from vectors")}

    def embed_missing(self, texts: Mapping[str, Text], embed: Callable[[Text], np.ndarray]) -> int:
        """Compute what is not there yet; returns how many that were."""
        known = self.known()
        missing = {key: text for key, text in texts.items() if key not in known}
        if missing:
            logger.info(
                "%d of %d texts are embedded, %d are to be", len(texts) - len(missing), len(texts), len(missing)
            )
        for number, (key, text) in enumerate(
            tqdm(missing.items(), desc="embed", unit=" passages", disable=not missing)
        ):
            vectors = embed(text)
            row = (key, len(vectors), np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
            self._database.execute("insert or ignore into vectors values (?, ?, ?)", row)
            if (number + 1) % WRITTEN_EVERY == 0:
                self._database.commit()
        self._database.commit()
        return len(missing)

    def vectors(self, key: str) -> np.ndarray:
        (num, data) = self._database.execute("select num, data from vectors where key = ?", (key,)).fetchone()
        return np.frombuffer(data, dtype=np.float32).reshape(num, -1)

    def say_others(self, keys: Collection[str]) -> None:
        """Vectors that no passage of now needs are dear, and stay; but not silently."""
        if num_others := len(self.known() - set(keys)):
            size = self.path.stat().st_size / 2**20
            logger.info(
                "%s (%.0f MiB) also keeps the vectors of %d texts that are in none of these collections; whoever does "
                "not need them again can delete the file",
                *(self.path, size, num_others),
            )


@contextmanager
def open_store(path: Path) -> Iterator[VectorStore]:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=60)
    try:
        yield VectorStore(path, database)
    finally:
        database.close()
