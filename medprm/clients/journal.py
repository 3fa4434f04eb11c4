"""The journal of everything bought or computed: one SQLite file, one row an attempt, written before it is sent.

In: keys (`ChatRequest.key`), replies, prices. Out: the finished reply of a key, and sums for the ledger. What was
finished is never bought again. After a kill the attempts that were under way are `lost`: they count at their worst
price, since the server may have answered. One process owns a journal at a time.
"""

import fcntl
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from medprm.errors import InputError

NETWORK_FILE_SYSTEMS = (
    "nfs",
    "cifs",
    "smb",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "glusterfs",
    "fuse.sshfs",
    "9p",
    "afs",
)
SCHEMA = """
create table if not exists attempts (
  id integer primary key, key text not null, attempt integer not null, stage text not null, case_id text not null,
  model text not null, state text not null, status integer, reply text, answered_model text,
  input_tokens integer not null default 0, output_tokens integer not null default 0,
  cached_tokens integer not null default 0, dollars real not null default 0, seconds real, error text,
  has_usage integer not null default 1, begun real, unique (key, attempt));
create unique index if not exists one_finished on attempts (key) where state = 'ok';
create table if not exists notes (name text primary key, value text not null);
"""
# Columns that files of earlier versions lack.
LATER_COLUMNS = {"has_usage": "integer not null default 1", "begun": "real"}


@dataclass(frozen=True)
class Bill:
    """What one attempt used; dollars by the price list of the model that answered.

    `has_usage`: the server said how many tokens it took; else they are 0 here and the dollars are the worst price.
    """

    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    dollars: float = 0.0
    has_usage: bool = True


class Journal:
    """An open journal. Thread-safe; states: sent, ok, failed (nothing came back), lost (under way at a kill).

    `is_paid`: every row is flushed to the disk before the call, so that not even a power cut hides a purchase. Without,
    the rows outlive a killed process, and a power cut costs at most the last ones.
    """

    def __init__(self, path: Path, is_paid: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._mutex = threading.Lock()
        self._held: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()  # by key, while anybody wants it
        self._owner = _own(path)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.mode = "DELETE" if is_on_network(path) else "WAL"  # WAL needs memory shared by all who read
        self._database.execute(f"pragma journal_mode={self.mode}")
        durable = is_paid or self.mode != "WAL"
        self._database.execute(f"pragma synchronous={'FULL' if durable else 'NORMAL'}")
        self._database.executescript(SCHEMA)
        self._add_later_columns()
        self.num_lost = self._database.execute("update attempts set state='lost' where state='sent'").rowcount
        self._dollars = float(self._database.execute("select coalesce(sum(dollars), 0) from attempts").fetchone()[0])
        self._worst: dict[int, float] = {}  # of the attempts under way

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        with self._mutex:
            self._database.close()
            self._owner.close()

    def finished(self, key: str) -> str | None:
        """The reply of a key that was finished, None otherwise."""
        with self._mutex:
            row = self._database.execute("select reply from attempts where key=? and state='ok'", (key,)).fetchone()
        return row[0] if row else None

    @contextmanager
    def alone_with(self, key: str) -> Iterator[None]:
        """One thread at a time has a key: whoever waited for it finds what was finished meanwhile."""
        with self._mutex:
            lock = self._held.setdefault(key, threading.Lock())
        with lock:
            yield

    def begin(self, key: str, stage: str, case_id: str, model: str, worst_dollars: float) -> int:
        """Write down that an attempt is about to be sent; returns its number. It counts at its worst price."""
        with self._mutex:
            cursor = self._database.execute(
                "insert into attempts (key, attempt, stage, case_id, model, state, dollars, begun) values "
                "(?, (select count(*) from attempts where key=?), ?, ?, ?, 'sent', ?, ?)",
                (key, key, stage, case_id, model, worst_dollars, time.time()),
            )
            assert cursor.lastrowid is not None
            self._worst[cursor.lastrowid] = worst_dollars
            self._dollars += worst_dollars
        return cursor.lastrowid

    def finish(self, number: int, reply: str, bill: Bill, seconds: float) -> None:
        """The reply of an attempt."""
        self._close_attempt(number, "ok", reply, bill, seconds, 200, None)

    def fail(self, number: int, error: str, bill: Bill, seconds: float, status: int | None = None) -> None:
        """An attempt without a usable reply."""
        self._close_attempt(number, "failed", None, bill, seconds, status, error[:500])

    def note(self, name: str, value: Any) -> Any:
        """Keep a value under a name; the first one kept stays. Returns the value kept."""
        with self._mutex:
            self._database.execute("insert or ignore into notes values (?, ?)", (name, json.dumps(value)))
            (kept,) = self._database.execute("select value from notes where name=?", (name,)).fetchone()
        return json.loads(kept)

    def spent(self) -> float:
        """Dollars, those under way and lost at their worst price."""
        with self._mutex:
            return self._dollars

    def rows(self, query: str, arguments: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a reading query, for the ledger."""
        with self._mutex:
            found = self._database.execute(query, arguments).fetchall()
        yield from found

    def _add_later_columns(self) -> None:
        there = {row[1] for row in self._database.execute("pragma table_info(attempts)")}
        for name, kind in LATER_COLUMNS.items():
            if name not in there:
                self._database.execute(f"alter table attempts add column {name} {kind}")

    def _close_attempt(
        self,
        number: int,
        state: str,
        reply: str | None,
        bill: Bill,
        seconds: float,
        status: int | None,
        error: str | None,
    ) -> None:
        with self._mutex:
            self._dollars += bill.dollars - self._worst.pop(number)
            self._database.execute(
                "update attempts set state=?, reply=?, answered_model=?, input_tokens=?, output_tokens=?, "
                "cached_tokens=?, dollars=?, has_usage=?, seconds=?, status=?, error=? where id=? and state='sent'",
                (
                    *(state, reply, bill.model, bill.input_tokens, bill.output_tokens, bill.cached_tokens),
                    *(bill.dollars, bill.has_usage, seconds, status, error, number),
                ),
            )


def is_on_network(path: Path, mounts: str | None = None) -> bool:
    """Whether the folder of `path` lies on a network file system, by /proc/mounts (unknown: no)."""
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8")
        except OSError:
            return False
    folder = str(path.resolve().parent)
    found, kind = "", ""
    for line in mounts.splitlines():
        _, place, name, *_ = line.split()
        is_above = folder == place or folder.startswith(place.rstrip("/") + "/")
        if is_above and len(place) >= len(found):
            found, kind = place, name
    return kind.startswith(NETWORK_FILE_SYSTEMS)


def _own(path: Path) -> Any:
    """Hold the journal for this process; the lock goes with the process, however it ends."""
    owner = open(path.with_name(path.name + ".lock"), "w")  # noqa: SIM115 - held as long as the journal
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner.close()
        raise InputError(
            f"{path}: another process works with this journal; wait for it, or give another run_name"
        ) from None
    return owner
