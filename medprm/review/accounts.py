"""Accounts, passwords, sessions.

Passwords are hashed by Argon2id (argon2-cffi's defaults, RFC 9106). A session is a random token in a cookie; the
database keeps its SHA-256. A new token is made at every login, so that no token known before can be ridden on.
Wrong passwords, of a login or of an old one to be changed, are counted by name and by address; names are told neither
by words nor by time.
"""

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from medprm.errors import InputError, check_choice
from medprm.review.database import Database, add_event
from medprm.review.settings import ROLES, SPECIALTIES, AccountSettings

LEAST_PASSWORD, MOST_PASSWORD = 10, 200
_HASHER = PasswordHasher()
_NOBODYS_HASH = _HASHER.hash(secrets.token_hex(16))


class User(NamedTuple):
    """Who is logged in."""

    id: int
    name: str
    role: str
    specialties: tuple[str, ...]
    qualification: str | None

    @property
    def may_decide(self) -> bool:
        """Whether the user adjudicates and checks."""
        return self.role in ("adjudicator", "admin")


class Session(NamedTuple):
    """A user with the token that forms and requests of this session must bring."""

    user: User
    csrf: str


class TooManyFailures(Exception):
    """A password is not compared for a while; the value is in seconds."""

    def __str__(self) -> str:
        return f"Too many failed attempts; try again in {self.args[0]} seconds."


class Accounts:
    """Accounts of one project."""

    def __init__(self, database: Database, settings: AccountSettings) -> None:
        self.database = database
        self.settings = settings

    def add(
        self,
        name: str,
        password: str | None,
        role: str,
        specialties: Sequence[str] = (),
        qualification: str | None = None,
        by: int | None = None,
    ) -> int:
        """A new account; without a password nobody can log in by it (an imported expert). Returns its number."""
        check_choice("role", role, ROLES)
        for one in specialties:
            check_choice("specialty", one, SPECIALTIES)
        if not 1 <= len(name) <= 60 or not name.isprintable() or name != name.strip():
            raise InputError(f"name {name!r}; expected 1 to 60 letters, digits or signs")
        if password is not None and not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise InputError(f"a password of {len(password)} characters; expected {LEAST_PASSWORD} to {MOST_PASSWORD}")
        hashed = None if password is None else _HASHER.hash(password)
        with self.database.transaction() as connection:
            if connection.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone():
                raise InputError(f"name {name!r} is taken; choose another")
            found = connection.execute(
                "INSERT INTO users (name, password_hash, role, specialties, qualification) VALUES (?, ?, ?, ?, ?)",
                (name, hashed, role, json.dumps(list(specialties)), qualification or None),
            )
            assert found.lastrowid is not None
            add_event(connection, "account_added", by, added=found.lastrowid, role=role, specialties=list(specialties))
            return found.lastrowid

    def set_active(self, user_id: int, is_active: bool, by: int) -> None:
        """Close an account, end its sessions and leave its work to others; or open it again."""
        with self.database.transaction() as connection:
            connection.execute("UPDATE users SET is_active = ? WHERE id = ?", (int(is_active), user_id))
            connection.execute("DELETE FROM sessions WHERE user_id = ?", (user_id,))
            add_event(connection, "account_opened" if is_active else "account_closed", by, account=user_id)
            if not is_active:
                _free_work(connection, user_id, by)

    def reset_password(self, name: str, password: str) -> None:
        """A new password by whoever runs the server; all sessions end. InputError where there is no such account."""
        with self.database.transaction() as connection:
            user = connection.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
            if user is None:
                raise InputError(f"accounts.reset={name}: no such account; expected one of {', '.join(self._names())}")
            connection.execute("UPDATE users SET password_hash = ? WHERE id = ?", (_HASHER.hash(password), user["id"]))
            connection.execute("DELETE FROM sessions WHERE user_id = ?", (user["id"],))
            add_event(connection, "password_reset", None, account=user["id"])

    def _names(self) -> list[str]:
        return [user.name for user in self.users()]

    def change_password(self, user: User, old: str, new: str, address: str) -> None:
        """All other sessions end. InputError where the old one is wrong or the new one too short; TooManyFailures."""
        if not LEAST_PASSWORD <= len(new) <= MOST_PASSWORD:
            raise InputError(f"a password of {len(new)} characters; expected {LEAST_PASSWORD} to {MOST_PASSWORD}")
        self._count_attempt(user.name, address)
        found = self.database.row("SELECT password_hash FROM users WHERE id = ?", user.id)
        if found is None or not _matches(found["password_hash"], old):
            with self.database.transaction() as connection:
                add_event(connection, "password_change_failed", user.id)
            raise InputError("the old password is wrong")
        with self.database.transaction() as connection:
            _forgive(connection, user.name, address)
            connection.execute("UPDATE users SET password_hash = ? WHERE id = ?", (_HASHER.hash(new), user.id))
            connection.execute("DELETE FROM sessions WHERE user_id = ?", (user.id,))
            add_event(connection, "password_changed", user.id)

    def _count_attempt(self, name: str, address: str) -> None:
        """Before the slow comparison, so that attempts at once are counted, too. Raises TooManyFailures."""
        now = time.time()
        since = now - 60 * self.settings.failure_window_minutes
        with self.database.transaction() as connection:
            connection.execute("DELETE FROM failures WHERE at < ?", (since,))
            for column, value, most in (
                ("name", name.casefold(), self.settings.max_failures),
                ("address", address, self.settings.max_failures_of_address),
            ):
                count, oldest = connection.execute(
                    f"SELECT count(*), min(at) FROM failures WHERE {column} = ?", (value,)
                ).fetchone()
                if count >= most:
                    raise TooManyFailures(max(1, round(oldest - since)))
            connection.execute("INSERT INTO failures VALUES (?, ?, ?)", (name.casefold(), address, now))

    def log_in(self, name: str, password: str, address: str) -> str | None:
        """The token of a new session, None where name or password is wrong. Raises TooManyFailures."""
        self._count_attempt(name, address)
        user = self.database.row("SELECT * FROM users WHERE name = ? AND is_active = 1", name)
        known_hash = user["password_hash"] if user else None
        is_right = _matches(known_hash or _NOBODYS_HASH, password) and known_hash is not None
        if user is None or not is_right:
            with self.database.transaction() as connection:
                add_event(connection, "login_failed", user["id"] if user else None)
            return None
        token = secrets.token_urlsafe(32)
        now = time.time()
        with self.database.transaction() as connection:
            _forgive(connection, name, address)
            connection.execute("DELETE FROM sessions WHERE created_at < ?", (now - 3600 * self.settings.session_hours,))
            row = (_hash(token), user["id"], secrets.token_urlsafe(32), now, now)
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", row)
            add_event(connection, "logged_in", user["id"])
        return token

    def session(self, token: str | None) -> Session | None:
        """The session of a cookie, None where there is none, or it has ended."""
        if not token:
            return None
        now = time.time()
        found = self.database.row(
            "SELECT users.*, csrf, seen_at FROM sessions JOIN users ON users.id = user_id WHERE token_hash = ? AND "
            "is_active = 1 AND created_at > ? AND seen_at > ?",
            *(_hash(token), now - 3600 * self.settings.session_hours, now - 3600 * self.settings.idle_hours),
        )
        if found is None:
            return None
        if now - found["seen_at"] > 30:  # not at every request: each would be a write
            with self.database.transaction() as connection:
                connection.execute("UPDATE sessions SET seen_at = ? WHERE token_hash = ?", (now, _hash(token)))
        return Session(_user(found), found["csrf"])

    def log_out(self, token: str) -> None:
        with self.database.transaction() as connection:
            connection.execute("DELETE FROM sessions WHERE token_hash = ?", (_hash(token),))

    def users(self) -> list[User]:
        return [_user(row) for row in self.database.rows("SELECT * FROM users ORDER BY id")]

    def closed_users(self) -> set[int]:
        """Numbers of the accounts that are closed."""
        return {row["id"] for row in self.database.rows("SELECT id FROM users WHERE is_active = 0")}


def _forgive(connection: sqlite3.Connection, name: str, address: str) -> None:
    """Whoever knew the password did not guess."""
    connection.execute("DELETE FROM failures WHERE name = ? AND address = ?", (name.casefold(), address))


def _free_work(connection: sqlite3.Connection, user_id: int, by: int) -> None:
    """Its splits have no owner any more, its locks run out at once; what it said stays."""
    connection.execute("UPDATE turns SET locked_until = 0 WHERE user_id = ? AND state = 'open'", (user_id,))
    owned = connection.execute("SELECT number FROM splits WHERE owner_id = ? AND state = 'open'", (user_id,)).fetchall()
    for row in owned:
        connection.execute("UPDATE splits SET owner_id = NULL WHERE number = ?", (row["number"],))
        add_event(connection, "split_freed", by, split=row["number"], owner=user_id)


def _user(row) -> User:
    specialties = tuple(json.loads(row["specialties"]))
    return User(row["id"], row["name"], row["role"], specialties, row["qualification"])


def _matches(hashed: str, password: str) -> bool:
    try:
        return _HASHER.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
