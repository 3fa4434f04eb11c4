"""What was found for each query of a run, in one SQLite file: a query is searched once, also over a stop.

In: queries and the places found for them. Out: the places again. Records of a resumed run are made from the same
passages, whatever the number of threads does to the last bits of a score.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from medprm.clients.journal import is_on_network


class FoundStore:
    """An open store; thread-safe. `searched` stands for the indexes and how they are asked.

    `num_put` queries were searched by this process.
    """

    def __init__(self, path: Path, searched: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.searched = searched
        self.num_put = 0
        self._mutex = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, timeout=60)
        if not is_on_network(path):  # WAL needs memory shared by all who read
            self._database.execute("pragma journal_mode=WAL")
            self._database.execute("pragma synchronous=NORMAL")
        self._database.execute("create table if not exists found (key text primary key, places text not null)")

    def close(self) -> None:
        with self._mutex:
            self._database.close()

    def get(self, queries: Iterable[str]) -> dict[str, list[int]]:
        """The places of those queries that were searched before."""
        found = {}
        with self._mutex:
            for query in queries:
                row = self._database.execute("select places from found where key=?", (self._key(query),)).fetchone()
                if row:
                    found[query] = json.loads(row[0])
        return found

    def put(self, found: Mapping[str, list[int]]) -> None:
        rows = [(self._key(query), json.dumps(places)) for query, places in found.items()]
        with self._mutex, self._database:
            self.num_put += len(rows)
            self._database.executemany("insert or ignore into found values (?, ?)", rows)

    def _key(self, query: str) -> str:
        return hashlib.sha256(f"{self.searched}\n{query}".encode()).hexdigest()
