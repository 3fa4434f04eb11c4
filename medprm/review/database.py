"""The project's SQLite file: one process, write-ahead log, every commit on disk before it is acknowledged.

`events` is the audit log: rows are only ever added (triggers refuse the rest), and every verdict that was acknowledged
is one of them. The other tables are the present state. Passwords and session tokens are kept as hashes only.
"""

import fcntl
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medprm.errors import InputError

FILE, LOCK_FILE = "review.sqlite", "review.lock"
VERDICTS = """
CREATE TABLE IF NOT EXISTS verdicts (
  turn_id INTEGER NOT NULL REFERENCES turns, step_id INTEGER NOT NULL, verdict TEXT, note TEXT, error_kind TEXT,
  severity TEXT, icd10 TEXT, seconds REAL, at REAL, PRIMARY KEY (turn_id, step_id));
"""
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS users (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, password_hash TEXT, role TEXT NOT NULL,
  specialties TEXT NOT NULL DEFAULT '[]', qualification TEXT, is_active INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS sessions (
  token_hash TEXT PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users, csrf TEXT NOT NULL,
  created_at REAL NOT NULL, seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS failures (name TEXT NOT NULL, address TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS failures_at ON failures (at);
CREATE TABLE IF NOT EXISTS splits (
  number INTEGER PRIMARY KEY, round INTEGER NOT NULL DEFAULT 1, state TEXT NOT NULL DEFAULT 'open',
  owner_id INTEGER REFERENCES users);
CREATE TABLE IF NOT EXISTS turns (
  id INTEGER PRIMARY KEY, task INTEGER NOT NULL, user_id INTEGER NOT NULL REFERENCES users, kind TEXT NOT NULL,
  round INTEGER NOT NULL DEFAULT 1, state TEXT NOT NULL DEFAULT 'open', locked_until REAL NOT NULL,
  opened_at REAL NOT NULL, finished_at REAL);
CREATE INDEX IF NOT EXISTS turns_of_task ON turns (task, state);
CREATE INDEX IF NOT EXISTS turns_of_user ON turns (user_id, state);
DROP INDEX IF EXISTS one_turn_each;
CREATE UNIQUE INDEX IF NOT EXISTS one_turn_at_once ON turns (task, user_id, kind, round)
  WHERE state = 'open' OR (state = 'done' AND kind != 'adjudicate');
{VERDICTS}
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, user_id INTEGER, kind TEXT NOT NULL, turn_id INTEGER,
  step_id INTEGER, client_id TEXT UNIQUE, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_turn ON events (turn_id, kind);
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are kept'); END;
CREATE TRIGGER IF NOT EXISTS events_remain BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are kept'); END;
"""


class Database:
    """One connection behind a lock; `transaction` for what must happen together."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = open(folder / LOCK_FILE, "w")  # noqa: SIM115  held as long as the database is open
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{folder}: another process serves this review; end it, or take another run_name"
            ) from None
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        mode = self._connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise InputError(f"{folder}: SQLite cannot keep a write-ahead log here ({mode}); use a local disk")
        # FULL: a commit is on disk before it is acknowledged, and stands after a loss of power, too.
        self._connection.executescript("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;" + SCHEMA)
        _let_times_be_unknown(self._connection)
        self._connection.execute("INSERT OR IGNORE INTO about VALUES ('review_id', ?)", (secrets.token_hex(4),))

    @property
    def review_id(self) -> str:
        """Drawn once: what tells this review's experts from those of others."""
        found = self.about("review_id")
        assert found is not None
        return found

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing, one at a time."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        found = self.rows(sql, *values)
        return found[0] if found else None

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._lock_file.close()

    def about(self, name: str) -> str | None:
        found = self.row("SELECT value FROM about WHERE name = ?", name)
        return found["value"] if found else None

    def remember(self, name: str, value: str) -> None:
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))


def _let_times_be_unknown(connection: sqlite3.Connection) -> None:
    """Files of older versions demand `seconds` and `at`, which verdicts from elsewhere may lack."""
    if any(row["name"] == "seconds" and row["notnull"] for row in connection.execute("PRAGMA table_info(verdicts)")):
        connection.executescript(
            f"BEGIN IMMEDIATE; ALTER TABLE verdicts RENAME TO old_verdicts; {VERDICTS} "
            "INSERT INTO verdicts SELECT * FROM old_verdicts; DROP TABLE old_verdicts; COMMIT;"
        )


def add_event(
    connection: sqlite3.Connection,
    kind: str,
    user_id: int | None,
    turn_id: int | None = None,
    step_id: int | None = None,
    client_id: str | None = None,
    **data: Any,
) -> int:
    """A line of the audit log; returns its number. Part of the transaction that is open."""
    row = (time.time(), user_id, kind, turn_id, step_id, client_id, json.dumps(data, ensure_ascii=False))
    found = connection.execute(
        "INSERT INTO events (at, user_id, kind, turn_id, step_id, client_id, data) VALUES (?, ?, ?, ?, ?, ?, ?)", row
    )
    assert found.lastrowid is not None
    return found.lastrowid
