"""Who reviews what: claiming the next task, locks, overlap, adjudication, and the splits of the checking protocol.

A turn is one expert's work on one task (a solution): `review`, `adjudicate` (reviewers differ) or `check` (a lead looks
at a share of a split). A turn is open while it is locked for its expert, then done; released where the lock ran out
and somebody else took the task; returned where its split was sent back. All claims are single transactions.
"""

import math
import sqlite3
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from medprm.errors import InputError
from medprm.review.accounts import User
from medprm.review.database import Database, add_event
from medprm.review.material import Material, Task
from medprm.review.settings import ProtocolSettings, RuleSettings

KINDS = ("review", "adjudicate", "check")
_DIFFER = "count(DISTINCT CASE WHEN kind = 'review' THEN verdict END) > 1"
_UNDECIDED = "sum(kind != 'review' AND verdict IS NOT NULL) = 0"


class Turn(NamedTuple):
    """One expert's work on one task."""

    id: int
    task: int
    user_id: int
    kind: str
    round: int
    state: str


Needs = Callable[[Task, list[sqlite3.Row]], bool]


class TurnError(InputError):
    """The turn is not the user's, or no longer open."""


class Assignment:
    """The order of work of one project."""

    def __init__(self, database: Database, material: Material, rules: RuleSettings, protocol: ProtocolSettings) -> None:
        self.database = database
        self.material = material
        self.rules = rules
        self.protocol = protocol
        with database.transaction() as connection:
            for number in sorted({task.split for task in material.tasks} - {0}):
                connection.execute("INSERT OR IGNORE INTO splits (number) VALUES (?)", (number,))

    def next_turn(self, user: User, kind: str = "review") -> Turn | None:
        """The user's open turn of this kind, else a new one; None where nothing is left to do."""
        if kind not in KINDS or (kind != "review" and not user.may_decide):
            raise TurnError(f"{user.role} may not {kind}; expected a role that may")
        now = time.time()
        with self.database.transaction() as connection:
            own = connection.execute(
                "SELECT * FROM turns WHERE user_id = ? AND kind = ? AND state = 'open' ORDER BY id LIMIT 1",
                (user.id, kind),
            ).fetchone()
            if own is not None:
                connection.execute("UPDATE turns SET locked_until = ? WHERE id = ?", (self._until(now), own["id"]))
                return _turn(own)
            task = self._first_free(connection, user, kind, now)
            if task is None:
                return None
            self._release_expired(connection, kind, task, now)
            return self._reclaim(connection, user, kind, task, now) or self._claim(connection, user, kind, task, now)

    def upcoming(self, user: User, kind: str) -> Task | None:
        """What `next_turn` would give after the one that is open, if nobody takes it first; nothing is claimed."""
        with self.database.transaction() as connection:
            return self._first_free(connection, user, kind, time.time())

    def counts(self, user: User) -> dict[str, int]:
        """How many tasks wait for this user, by kind."""
        kinds = KINDS if user.may_decide else ("review",)
        with self.database.transaction() as connection:
            return {kind: len(self._free(connection, user, kind, time.time())) for kind in kinds}

    def open_turn(self, connection: sqlite3.Connection, user: User, turn_id: int) -> Turn:
        """The turn, where it is this user's and open; its lock starts anew. TurnError otherwise."""
        row = connection.execute("SELECT * FROM turns WHERE id = ?", (turn_id,)).fetchone()
        if row is None or row["user_id"] != user.id:
            raise TurnError("this task is not yours; take the next one")
        if row["state"] != "open":
            raise TurnError(f"this task is {row['state']}; take the next one")
        connection.execute("UPDATE turns SET locked_until = ? WHERE id = ?", (self._until(time.time()), turn_id))
        return _turn(row)

    def asked_steps(self, connection: sqlite3.Connection, turn: Turn) -> tuple[int, ...]:
        """The steps that this turn must decide: of an adjudication the open disputes."""
        if turn.kind != "adjudicate":
            return self.material.task(turn.task).asked
        return _steps_where(connection, f"{_DIFFER} AND {_UNDECIDED}", turn.task).get(turn.task, ())

    def decide_split(self, user: User, number: int, is_accepted: bool) -> None:
        """The lead's word on a split whose checks are done; one that is sent back goes back whole."""
        with self.database.transaction() as connection:
            split = connection.execute("SELECT * FROM splits WHERE number = ?", (number,)).fetchone()
            if split is None or not user.may_decide or self._has_reviewed(connection, user, split):
                raise TurnError(f"split {number}: not yours to decide")
            if split["state"] != "open" or self._checks_left(connection, number) != []:
                raise TurnError(f"split {number}: {split['state']}, or not yet checked; nothing to decide")
            if is_accepted:
                connection.execute("UPDATE splits SET state = 'accepted' WHERE number = ?", (number,))
            else:
                tasks = [task.number for task in self.material.tasks if task.split == number]
                connection.executemany(
                    "UPDATE turns SET state = 'returned' WHERE task = ? AND round = ?",
                    [(task, split["round"]) for task in tasks],
                )
                connection.execute("UPDATE splits SET round = round + 1 WHERE number = ?", (number,))
            kind = "split_accepted" if is_accepted else "split_returned"
            add_event(connection, kind, user.id, split=number, round=split["round"])

    def _has_reviewed(self, connection: sqlite3.Connection, user: User, split: sqlite3.Row) -> bool:
        """Whether the user owns the split, or reviewed in it before it was freed."""
        rows = connection.execute(
            "SELECT task FROM turns WHERE user_id = ? AND kind = 'review' AND round = ? AND state IN ('open', 'done')",
            (user.id, split["round"]),
        ).fetchall()
        reviewed = {self.material.task(row["task"]).split for row in rows}
        return split["owner_id"] == user.id or split["number"] in reviewed

    def checks(self, number: int) -> tuple[list[int], list[int] | None]:
        """The tasks of a split that a lead checks, and which of them are left (None: reviewers are not done)."""
        with self.database.transaction() as connection:
            split = connection.execute("SELECT * FROM splits WHERE number = ?", (number,)).fetchone()
            return self._sample(number, split["round"]), self._checks_left(connection, number)

    def _until(self, now: float) -> float:
        return now + 60 * self.rules.lock_minutes

    def _release_expired(self, connection: sqlite3.Connection, kind: str, task: Task, now: float) -> None:
        """The place that the task needs for its next expert: of a turn whose lock ran out, the longest ago first."""
        turns = connection.execute(
            "SELECT * FROM turns WHERE task = ? AND kind = ? AND state IN ('open', 'done') ORDER BY locked_until",
            (task.number, kind),
        ).fetchall()
        most = task.num_wanted if kind == "review" else 1
        expired = [one for one in turns if not _is_held(one, now)]
        for one in expired[: len(turns) - most + 1]:
            connection.execute("UPDATE turns SET state = 'released' WHERE id = ?", (one["id"],))
            add_event(connection, "released", None, one["id"])

    def _reclaim(self, connection: sqlite3.Connection, user: User, kind: str, task: Task, now: float) -> Turn | None:
        """The user's own turn that was released, with what they had said; None where there is none.

        Nor an adjudication since which another decided: both would decide the same step.
        """
        row = connection.execute(
            "SELECT * FROM turns AS own WHERE task = ? AND user_id = ? AND kind = ? AND round = ? AND "
            "state = 'released' AND (kind != 'adjudicate' OR NOT EXISTS (SELECT 1 FROM turns WHERE task = own.task AND "
            "kind = 'adjudicate' AND state = 'done' AND finished_at > own.opened_at)) ORDER BY id DESC LIMIT 1",
            (task.number, user.id, kind, self._round(connection, task)),
        ).fetchone()
        if row is None:
            return None
        connection.execute(
            "UPDATE turns SET state = 'open', locked_until = ? WHERE id = ?", (self._until(now), row["id"])
        )
        self._own_split(connection, user, kind, task)
        add_event(connection, "reclaimed", user.id, row["id"])
        return _turn(row)._replace(state="open")

    def _claim(self, connection: sqlite3.Connection, user: User, kind: str, task: Task, now: float) -> Turn:
        number = self._round(connection, task)
        self._own_split(connection, user, kind, task)
        found = connection.execute(
            "INSERT INTO turns (task, user_id, kind, round, locked_until, opened_at) VALUES (?, ?, ?, ?, ?, ?)",
            (task.number, user.id, kind, number, self._until(now), now),
        )
        assert found.lastrowid is not None
        add_event(connection, "claimed", user.id, found.lastrowid, task=task.number, kind_of_turn=kind)
        return Turn(found.lastrowid, task.number, user.id, kind, number, "open")

    def _own_split(self, connection: sqlite3.Connection, user: User, kind: str, task: Task) -> None:
        if task.split and kind == "review":
            connection.execute("UPDATE splits SET owner_id = ? WHERE number = ?", (user.id, task.split))

    def _round(self, connection: sqlite3.Connection, task: Task) -> int:
        if not task.split:
            return 1
        return connection.execute("SELECT round FROM splits WHERE number = ?", (task.split,)).fetchone()["round"]

    def _first_free(self, connection: sqlite3.Connection, user: User, kind: str, now: float) -> Task | None:
        return next(iter(self._free(connection, user, kind, now, most=1)), None)

    def _free(
        self, connection: sqlite3.Connection, user: User, kind: str, now: float, most: int | None = None
    ) -> list[Task]:
        """Tasks that the user may take, by falling value; those that somebody has begun and left lying last."""
        held: dict[int, list[sqlite3.Row]] = {}
        left_lying: set[int] = set()
        for row in connection.execute("SELECT * FROM turns WHERE state IN ('open', 'done')"):
            if _is_held(row, now) or row["user_id"] == user.id:
                held.setdefault(row["task"], []).append(row)
            else:
                left_lying.add(row["task"])
        is_needed = self._needs(connection, user, kind)
        found: list[Task] = []
        for task in sorted(self.material.tasks, key=lambda one: one.number in left_lying):
            turns = held.get(task.number, [])
            if _may_take(user, task, kind, turns) and is_needed(task, turns):
                found.append(task)
                if len(found) == most:
                    break
        return found

    def _needs(self, connection: sqlite3.Connection, user: User, kind: str) -> Needs:
        """Whether a task with these turns waits for work of this kind."""
        if kind == "review":
            return self._needs_review(connection, user)
        wanted = self._disputed_tasks(connection) if kind == "adjudicate" else self._tasks_to_check(connection)
        return lambda task, turns: (
            task.number in wanted and not any(one["kind"] == kind and one["state"] == "open" for one in turns)
        )

    def _needs_review(self, connection: sqlite3.Connection, user: User) -> Needs:
        rows = connection.execute("SELECT number FROM splits WHERE owner_id IS NOT NULL AND owner_id != ?", (user.id,))
        splits_of_others = {row["number"] for row in rows}

        def is_needed(task: Task, turns: list[sqlite3.Row]) -> bool:
            num_reviews = sum(one["kind"] == "review" for one in turns)
            return task.split not in splits_of_others and num_reviews < task.num_wanted

        return is_needed

    def _disputed_tasks(self, connection: sqlite3.Connection) -> set[int]:
        """Tasks whose reviews are all done and differ where nobody has decided."""
        rows = connection.execute(
            "SELECT task, count(*) AS num FROM turns WHERE kind = 'review' AND state = 'done' GROUP BY task"
        ).fetchall()
        done = {row["task"]: row["num"] for row in rows}
        disputed = self.open_disputes(connection)
        return {number for number in disputed if done[number] >= max(2, self.material.task(number).num_wanted)}

    def _tasks_to_check(self, connection: sqlite3.Connection) -> set[int]:
        rows = connection.execute("SELECT number FROM splits WHERE state = 'open'").fetchall()
        return {task for row in rows for task in self._checks_left(connection, row["number"]) or []}

    def disputes(self, connection: sqlite3.Connection) -> dict[int, tuple[int, ...]]:
        """Steps on which finished reviews differ, by task; tasks without any are left out."""
        return _steps_where(connection, _DIFFER)

    def open_disputes(self, connection: sqlite3.Connection) -> dict[int, tuple[int, ...]]:
        """Those of the disputes on which nobody who decides has spoken."""
        return _steps_where(connection, f"{_DIFFER} AND {_UNDECIDED}")

    def is_open_for(self, user: User, case_id: str) -> bool:
        """Whether the user may still judge a solution of the case; while one's split is not accepted, too."""
        tasks = [task for task in self.material.tasks if task.record.case_id == case_id]
        with self.database.transaction() as connection:
            splits = _open_splits(connection)
            for task in tasks:
                turns = connection.execute(
                    "SELECT * FROM turns WHERE task = ? AND state IN ('open', 'done')", (task.number,)
                ).fetchall()
                is_disputed = bool(_steps_where(connection, f"{_DIFFER} AND {_UNDECIDED}", task.number))
                if task.split in splits or _is_left(task, turns, is_disputed, user):
                    return True
        return False

    def open_cases(self) -> set[str]:
        """Cases of which somebody may still judge a solution, or of splits not yet accepted."""
        turns_of: dict[int, list[sqlite3.Row]] = {}
        with self.database.transaction() as connection:
            for row in connection.execute("SELECT * FROM turns WHERE state IN ('open', 'done')"):
                turns_of.setdefault(row["task"], []).append(row)
            disputed = self.open_disputes(connection).keys()
            splits = _open_splits(connection)
        return {
            task.record.case_id
            for task in self.material.tasks
            if task.split in splits or _is_left(task, turns_of.get(task.number, []), task.number in disputed, None)
        }

    def _sample(self, number: int, round_number: int) -> list[int]:
        tasks = [task.number for task in self.material.tasks if task.split == number]
        generator = np.random.default_rng([self.rules.seed, number, round_number])
        num = math.ceil(self.protocol.check_share * len(tasks))
        return sorted(generator.choice(tasks, num, replace=False).tolist())

    def _checks_left(self, connection: sqlite3.Connection, number: int) -> list[int] | None:
        """None while reviewers are still at the split."""
        split = connection.execute("SELECT * FROM splits WHERE number = ?", (number,)).fetchone()
        done = {
            (row["task"], row["kind"])
            for row in connection.execute(
                "SELECT task, kind FROM turns WHERE state = 'done' AND round = ?", (split["round"],)
            )
        }
        tasks = [task.number for task in self.material.tasks if task.split == number]
        if any((task, "review") not in done for task in tasks):
            return None
        return [task for task in self._sample(number, split["round"]) if (task, "check") not in done]


def _steps_where(connection: sqlite3.Connection, condition: str, task: int | None = None) -> dict[int, tuple[int, ...]]:
    """Steps whose finished verdicts meet the condition, by task; of one task where it is given."""
    of_task, values = ("", ()) if task is None else ("AND task = ?", (task,))
    rows = connection.execute(
        f"SELECT task, step_id FROM verdicts JOIN turns ON turns.id = turn_id WHERE state = 'done' {of_task} "
        f"GROUP BY task, step_id HAVING {condition} ORDER BY task, step_id",
        values,
    )
    found: dict[int, tuple[int, ...]] = {}
    for row in rows:
        found[row["task"]] = (*found.get(row["task"], ()), row["step_id"])
    return found


def _open_splits(connection: sqlite3.Connection) -> set[int]:
    return {row["number"] for row in connection.execute("SELECT number FROM splits WHERE state = 'open'")}


def _is_left(task: Task, turns: list[sqlite3.Row], is_disputed: bool, user: User | None) -> bool:
    """Whether somebody, or this user, judges the task now or may do so later: a lock that others hold may run out."""
    done = [one for one in turns if one["state"] == "done"]
    is_unread = sum(one["kind"] == "review" for one in done) < task.num_wanted
    if user is None:
        return is_unread or is_disputed or len(done) < len(turns)
    if any(one["user_id"] == user.id and one["state"] == "open" for one in turns):
        return True
    may_decide = is_disputed and user.may_decide
    return (is_unread or may_decide) and _may_take(user, task, "adjudicate" if may_decide else "review", done)


def _may_take(user: User, task: Task, kind: str, turns: list[sqlite3.Row]) -> bool:
    """Nobody gets a task twice, save to adjudicate what came up since; a specialist's goes to that specialty alone."""
    own = [one for one in turns if one["user_id"] == user.id]
    if any(kind != "adjudicate" or (one["kind"], one["state"]) != ("adjudicate", "done") for one in own):
        return False
    return not task.is_specialist_only or task.specialty is None or task.specialty in user.specialties


def _is_held(turn: sqlite3.Row, now: float) -> bool:
    return turn["state"] == "done" or turn["locked_until"] >= now


def _turn(row: sqlite3.Row) -> Turn:
    return Turn(*(row[name] for name in Turn._fields))
