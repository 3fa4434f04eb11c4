"""What experts say of steps: saved one at a time, undone one at a time, finished together.

Every answer is one event and one row, in one transaction; a request that is sent twice (its `client_id` is known) is
saved once. Notes, kinds of error, severities and ICD-10 codes go with the verdict of their step.
"""

import json
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medprm.cases.answers.icd10 import canonical_code
from medprm.cases.schema import Verdict
from medprm.errors import InputError
from medprm.review.accounts import User
from medprm.review.assignment import Assignment, Turn, TurnError
from medprm.review.database import add_event

VERDICTS = ("correct", "incorrect", "neutral", "unknown")
ERROR_KINDS = (
    "perception",
    "localisation",
    "omission",
    "knowledge",
    "reasoning",
    "contradiction",
    "recommendation",
    "other",
)
SEVERITIES = ("harmless", "minor", "major", "dangerous")
FIELDS = ("verdict", "note", "error_kind", "severity", "icd10")
MOST_NOTE = 4000
MOST_SECONDS = 3600.0


class Said(BaseModel):
    """One answer as a page sends it; `seconds` were spent since the last one of this step."""

    model_config = ConfigDict(extra="forbid", strict=True)

    step_id: int = Field(ge=0)
    verdict: Verdict | None = None
    note: str | None = Field(default=None, max_length=MOST_NOTE)
    error_kind: str | None = None
    severity: str | None = None
    icd10: str | None = Field(default=None, max_length=20)
    seconds: float = Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)
    client_id: str = Field(pattern=r"^[A-Za-z0-9-]{8,64}$")


class Spent(BaseModel):
    """Seconds on a step after its last answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    step_id: int = Field(ge=0)
    seconds: float = Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)


class Ending(BaseModel):
    """What a page sends when its expert is done with a task."""

    model_config = ConfigDict(extra="forbid", strict=True)

    spent: list[Spent] = Field(default=[], max_length=1000)


def save(assignment: Assignment, user: User, turn_id: int, said: Said) -> dict[str, Any]:
    """The state of the step once it is on disk. TurnError, or InputError where the step is not asked."""
    values = _checked(said)
    with assignment.database.transaction() as connection:
        known = connection.execute("SELECT * FROM events WHERE client_id = ?", (said.client_id,)).fetchone()
        if known is not None:
            if (known["user_id"], known["turn_id"]) != (user.id, turn_id):
                raise InputError("client_id belongs to another answer; expected a new one")
            return state_of(connection, turn_id)[known["step_id"]]
        turn = assignment.open_turn(connection, user, turn_id)
        if said.step_id not in assignment.asked_steps(connection, turn):
            raise InputError(f"step {said.step_id} is not asked in this task; expected one of the steps to judge")
        category = assignment.material.task(turn.task).record.solution_steps[said.step_id].category
        if values["icd10"] and category != "diagnosis":
            raise InputError(f"step {said.step_id}: an ICD-10 code on a step of category {category}; only on diagnosis")
        _put(connection, turn, said.step_id, values, said.seconds)
        add_event(connection, "verdict", user.id, turn.id, said.step_id, said.client_id, **values, seconds=said.seconds)
        return state_of(connection, turn_id)[said.step_id]


def undo(assignment: Assignment, user: User, turn_id: int) -> dict[str, Any] | None:
    """Take back the last answer of the turn that still stands; None where there is none. The clock is kept."""
    with assignment.database.transaction() as connection:
        turn = assignment.open_turn(connection, user, turn_id)
        standing = _standing(connection, turn.id)
        if not standing:
            return None
        last = standing[-1]
        earlier = [one for one in standing[:-1] if one["step_id"] == last["step_id"]]
        values: dict[str, Any] = json.loads(earlier[-1]["data"]) if earlier else dict.fromkeys(FIELDS)
        _put(connection, turn, last["step_id"], values, 0.0)
        add_event(connection, "undo", user.id, turn.id, last["step_id"], undone=last["id"])
        return {"step_id": last["step_id"]} | state_of(connection, turn_id)[last["step_id"]]


def finish(assignment: Assignment, user: User, turn_id: int, ending: Ending | None = None) -> None:
    """The turn is done and can no longer be changed. InputError where steps have no verdict."""
    spent = ending.spent if ending else []
    with assignment.database.transaction() as connection:
        turn = assignment.open_turn(connection, user, turn_id)
        states = state_of(connection, turn_id)
        missing = [
            step + 1 for step in assignment.asked_steps(connection, turn) if states.get(step, {}).get("verdict") is None
        ]
        if missing:
            raise InputError(f"no verdict yet on step {', '.join(map(str, missing))}; judge it first")
        for one in spent:
            connection.execute(
                "UPDATE verdicts SET seconds = seconds + ? WHERE turn_id = ? AND step_id = ?",
                (one.seconds, turn_id, one.step_id),
            )
        connection.execute("UPDATE turns SET state = 'done', finished_at = ? WHERE id = ?", (time.time(), turn_id))
        add_event(connection, "finished", user.id, turn_id, spent=[one.model_dump() for one in spent])


def state_of(connection: sqlite3.Connection, turn_id: int) -> dict[int, dict[str, Any]]:
    """What stands of a turn, by step."""
    rows = connection.execute("SELECT * FROM verdicts WHERE turn_id = ?", (turn_id,)).fetchall()
    return {row["step_id"]: {name: row[name] for name in (*FIELDS, "seconds")} for row in rows}


def _checked(said: Said) -> dict[str, Any]:
    values = {name: getattr(said, name) or None for name in FIELDS}
    for name, allowed in (("error_kind", ERROR_KINDS), ("severity", SEVERITIES)):
        if values[name] is not None and values[name] not in allowed:
            raise InputError(f"{name} {values[name]!r}; expected one of {', '.join(allowed)}")
        if values[name] is not None and values["verdict"] != "incorrect":
            raise InputError(f"{name} without the verdict incorrect; expected both or none")
    if values["icd10"]:
        code = canonical_code(values["icd10"])
        if code is None:
            raise InputError(f"icd10 {values['icd10']!r}; expected one code, such as J18.9")
        values["icd10"] = code
    return values


def _put(connection: sqlite3.Connection, turn: Turn, step_id: int, values: Mapping[str, Any], seconds: float) -> None:
    connection.execute(
        "INSERT INTO verdicts (turn_id, step_id, verdict, note, error_kind, severity, icd10, seconds, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (turn_id, step_id) DO UPDATE SET verdict = excluded.verdict, "
        "note = excluded.note, error_kind = excluded.error_kind, severity = excluded.severity, icd10 = excluded.icd10, "
        "seconds = seconds + excluded.seconds, at = excluded.at",
        (turn.id, step_id, *(values.get(name) for name in FIELDS), seconds, time.time()),
    )


def _standing(connection: sqlite3.Connection, turn_id: int) -> list[sqlite3.Row]:
    """The answers of a turn that were not undone, oldest first."""
    rows = connection.execute(
        "SELECT * FROM events WHERE turn_id = ? AND kind IN ('verdict', 'undo') ORDER BY id", (turn_id,)
    ).fetchall()
    undone = {json.loads(row["data"])["undone"] for row in rows if row["kind"] == "undo"}
    return [row for row in rows if row["kind"] == "verdict" and row["id"] not in undone]


__all__ = ["ERROR_KINDS", "SEVERITIES", "VERDICTS", "Ending", "Said", "TurnError", "finish", "save", "state_of", "undo"]
