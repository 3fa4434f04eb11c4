"""What leaves and enters a review: experts' verdicts as JSON Lines, CSV and Label Studio, merged records, the log.

Only finished turns leave, and those of splits that were sent back do not; what is left out is counted. Steps on which
readers differ leave before an adjudicator has decided, too, and are counted. An adjudicator's and a lead's verdict say
so in `extra.role`, and decide. Experts leave by the numbers of review and account (`expert_3f9a2c1b_3`), not by name.
"""

import csv
import io
import json
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from medprm.annotation.consensus import label_step
from medprm.annotation.expert_files import read_expert_file
from medprm.annotation.expert_queue import StepKey
from medprm.annotation.records import CHANCE, Making, with_experts
from medprm.annotation.settings import FITTED_RULES, ConsensusSettings
from medprm.cases.parsing import record_text
from medprm.cases.schema import AnnotationMetadata, ExpertVerdict, Record, Sources, Step, join, to_json
from medprm.cases.verdicts import ROLE, expert_majority
from medprm.errors import InputError
from medprm.review.accounts import Accounts
from medprm.review.assignment import Assignment
from medprm.review.database import add_event
from medprm.review.verdicts import VERDICTS

logger = logging.getLogger(__name__)

ROLE_OF = {"adjudicate": "adjudicator", "check": "lead"}
KIND_OF = {None: "review"} | {role: kind for kind, role in ROLE_OF.items()}
EXPORTS = {
    "experts.jsonl": "application/x-ndjson",
    "experts.csv": "text/csv",
    "label_studio.json": "application/json",
    "label_studio_config.xml": "application/xml",
    "labelled.jsonl": "application/x-ndjson",
    "audit.jsonl": "application/x-ndjson",
}
NO_VERDICTS = ("audit.jsonl", "label_studio_config.xml")
COLUMNS = (
    *("case_id", "solution_id", "step_id", "category", "verdict", "expert_id", "role", "seconds", "date"),
    *("error_kind", "severity", "icd10", "note", "content"),
)


def export_text(name: str, assignment: Assignment, consensus: ConsensusSettings) -> str:
    """One of EXPORTS as text."""
    if name not in NO_VERDICTS and (num_open := num_open_disputes(assignment)):
        logger.warning("%s: readers differ on %d steps that nobody has adjudicated yet", name, num_open)
    if name == "audit.jsonl":
        return "".join(
            json.dumps(_event(row)) + "\n" for row in assignment.database.rows("SELECT * FROM events ORDER BY id")
        )
    if name == "label_studio.json":
        return json.dumps(label_studio_tasks(assignment), ensure_ascii=False, indent=1)
    if name == "label_studio_config.xml":
        most = max(len(task.record.solution_steps) for task in assignment.material.tasks)
        return label_studio_config(most)
    said = expert_verdicts(assignment)
    if name == "experts.jsonl":
        return "".join(json.dumps(_line(key, one), ensure_ascii=False) + "\n" for key in said for one in said[key])
    if name == "experts.csv":
        return _csv(assignment, said)
    assert name == "labelled.jsonl", name
    records = merged_records(assignment.material.records, said, consensus)
    return "".join(record_text(record, f"{name}:{number}") + "\n" for number, record in enumerate(records, 1))


def num_open_disputes(assignment: Assignment) -> int:
    """Steps on which finished reviews differ and no adjudicator has decided."""
    with assignment.database.transaction() as connection:
        return sum(map(len, assignment.open_disputes(connection).values()))


def expert_verdicts(assignment: Assignment) -> dict[StepKey, tuple[ExpertVerdict, ...]]:
    """What finished turns say, by step, in the order of finishing."""
    rows = assignment.database.rows(
        "SELECT verdicts.*, task, kind, state, user_id, finished_at, name, password_hash FROM verdicts JOIN turns ON "
        "turns.id = turn_id JOIN users ON users.id = user_id WHERE verdict IS NOT NULL ORDER BY finished_at, turn_id, "
        "step_id"
    )
    left_out: Counter[str] = Counter()
    found: dict[StepKey, tuple[ExpertVerdict, ...]] = {}
    for row in rows:
        if row["state"] != "done":
            left_out[row["state"]] += 1
            continue
        record = assignment.material.task(row["task"]).record
        key = StepKey(record.case_id, record.solution_id or "", row["step_id"])
        extra = {ROLE: ROLE_OF.get(row["kind"]), **{name: row[name] for name in ("error_kind", "severity", "icd10")}}
        extra = {name: value for name, value in extra.items() if value is not None}
        fields: dict[str, Any] = {
            "verdict": row["verdict"],
            "expert_id": _expert_id(assignment, row["user_id"], row["name"], row["password_hash"]),
            "note": row["note"],
            "seconds": None if row["seconds"] is None else round(row["seconds"], 2),
            "date": None if row["at"] is None else time.strftime("%Y-%m-%d", time.gmtime(row["at"])),
            "extra": extra or None,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        found[key] = (*found.get(key, ()), ExpertVerdict.model_validate(given))
    for state, count in left_out.items():
        logger.warning("left out: %d verdicts of tasks that are %s", count, state)
    return found


def merged_records(
    records: Sequence[Record], said: Mapping[StepKey, Sequence[ExpertVerdict]], consensus: ConsensusSettings
) -> list[Record]:
    """The records with the experts' verdicts among the sources, and the labels that follow; others as they were."""
    merged = []
    for record in records:
        spoken = {
            step.step_id: tuple(said[key])
            for step in record.solution_steps
            if (key := StepKey(record.case_id, record.solution_id or "", step.step_id)) in said
        }
        merged.append(_merged(record, spoken, consensus) if spoken else record)
    return merged


def _merged(record: Record, spoken: Mapping[int, tuple[ExpertVerdict, ...]], consensus: ConsensusSettings) -> Record:
    steps = record.solution_steps
    before = record.annotation_metadata or AnnotationMetadata()
    everyone = {
        step_id: (*((steps[step_id].sources or Sources()).expert), *verdicts) for step_id, verdicts in spoken.items()
    }
    if all(step.sources is not None for step in steps):
        kept = {step.step_id: step.sources.expert for step in steps if step.sources} | everyone
        keys = {
            StepKey(record.case_id, record.solution_id or "", step_id): verdicts for step_id, verdicts in kept.items()
        }
        making = Making(consensus, before.mc_samples or 0, before.annotation_date)
        labelled = list(with_experts(record, keys, making, _chances(record, consensus)).solution_steps)
    else:
        # Labels without sources cannot be derived again: only the steps that experts spoke of change.
        labelled = list(steps)
        for step_id, verdicts in everyone.items():
            sources = (steps[step_id].sources or Sources()).model_copy(update={"expert": verdicts})
            labelled[step_id] = label_step(steps[step_id], sources, consensus)
    for step_id, verdicts in spoken.items():
        labelled[step_id] = _with_expert(labelled[step_id], verdicts)
    num_unknown = sum(step.label in (None, "unknown") for step in labelled)
    verified = tuple(step.step_id for step in labelled if step.annotation_method == "expert_verified")
    counts = {
        "expert_verified_steps": verified,
        "expert_reviewer": ", ".join(sorted({one.expert_id for said in everyone.values() for one in said})),
        "total_steps": len(labelled),
        "confident_steps": len(labelled) - num_unknown,
        "uncertain_steps": num_unknown,
    }
    solution = record.solution().model_copy(
        update={"solution_steps": tuple(labelled), "annotation_metadata": before.model_copy(update=counts)}
    )
    return join(record.case(), solution)


def _chances(record: Record, consensus: ConsensusSettings) -> dict[StepKey, float] | None:
    """Of a fitted rule: the chances that stand beside the steps; annotate.py fits them anew on all experts."""
    if consensus.rule not in FITTED_RULES:
        return None
    found = {
        StepKey(record.case_id, record.solution_id or "", step.step_id): (step.extra or {}).get(CHANCE)
        for step in record.solution_steps
    }
    if any(chance is None for chance in found.values()):
        return None
    return {key: float(chance) for key, chance in found.items() if chance is not None}


def _with_expert(step: Step, said: Sequence[ExpertVerdict]) -> Step:
    """The record's own fields of an expert: whoever decided the label, and what they noted."""
    decided = [one for one in said if one.verdict == expert_majority(said)] or list(said)
    last = decided[-1]
    given = {"expert_id": last.expert_id, "expert_note": last.note, "icd10": (last.extra or {}).get("icd10")}
    return step.model_copy(update={name: value for name, value in given.items() if value is not None})


def label_studio_tasks(assignment: Assignment) -> list[dict[str, Any]]:
    """Label Studio's JSON: a task a solution, with an annotation of each expert's finished turn."""
    tasks = []
    rows = assignment.database.rows(
        "SELECT turns.*, name, password_hash FROM turns JOIN users ON users.id = user_id WHERE state = 'done' "
        "ORDER BY turns.id"
    )
    for task in assignment.material.tasks:
        record = task.record
        annotations = []
        for turn in rows:
            if turn["task"] != task.number:
                continue
            annotations.append(_annotation(assignment, turn))
        data = {
            "case_id": record.case_id,
            "solution_id": record.solution_id,
            "question": record.question,
            "images": [image.path for image in record.all_images],
            **{f"step_{step.step_id}": step.content for step in record.solution_steps},
        }
        tasks.append({"id": task.number, "data": data, "annotations": annotations})
    return tasks


def _annotation(assignment: Assignment, turn) -> dict[str, Any]:
    """One turn; `expert_id` and `role` are fields of ours, for the way back."""
    said = assignment.database.rows("SELECT * FROM verdicts WHERE turn_id = ? ORDER BY step_id", turn["id"])
    seconds, times = [row["seconds"] for row in said], [row["at"] for row in said if row["at"] is not None]
    fields = {
        "completed_by": turn["user_id"],
        "expert_id": _expert_id(assignment, turn["user_id"], turn["name"], turn["password_hash"]),
        "role": ROLE_OF.get(turn["kind"]),
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(times))) if times else None,
        "lead_time": None if None in seconds else round(sum(seconds), 2),
        "result": [one for row in said for one in _results(row)],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _results(row) -> list[dict[str, Any]]:
    step = row["step_id"]
    found = []
    if row["verdict"] is not None:
        value = {"choices": [row["verdict"]]}
        found.append({"from_name": f"step_{step}", "to_name": f"text_{step}", "type": "choices", "value": value})
    if row["note"] and row["verdict"] is not None:
        value = {"text": [row["note"]]}
        found.append({"from_name": f"note_{step}", "to_name": f"text_{step}", "type": "textarea", "value": value})
    return found


def label_studio_config(num_steps: int) -> str:
    """A labelling interface for these tasks, in Label Studio's XML."""
    choices = "".join(f"<Choice value={quoteattr(one)}/>" for one in VERDICTS)
    steps = "\n".join(
        f'  <Text name="text_{i}" value="$step_{i}"/>\n'
        f'  <Choices name="step_{i}" toName="text_{i}" choice="single">{choices}</Choices>\n'
        f'  <TextArea name="note_{i}" toName="text_{i}"/>'
        for i in range(num_steps)
    )
    return f'<View>\n  <Text name="question" value="$question"/>\n{steps}\n</View>\n'


def import_verdicts(path: Path, assignment: Assignment, accounts: Accounts) -> int:
    """Experts' verdicts from JSON Lines or Label Studio's export, as finished work. Returns how many were new.

    Experts of other places get accounts that nobody can log in by. What an expert has said of a solution here already
    is not taken again. InputError where a step is not of this project.
    """
    if assignment.protocol.kind == "split_check":
        raise InputError(f"{path}: protocol.kind=split_check takes in no verdicts: a split is one reviewer's, here")
    turns = _turns_of_file(path, assignment, accounts)
    num_new = num_known = num_partial = 0
    with assignment.database.transaction() as connection:
        rows = connection.execute("SELECT user_id, task FROM turns WHERE state IN ('open', 'done')").fetchall()
        known = {(row["user_id"], row["task"]) for row in rows}
        for (user_id, number, kind), said in turns.items():
            if (user_id, number) in known:
                num_known += 1
                continue
            _put_turn(connection, (number, user_id, kind), said)
            num_new += len(said)
            num_partial += kind == "review" and bool(set(assignment.material.task(number).asked) - said.keys())
    if num_known:
        logger.warning("%s: %d reviews were here already and are not taken again", path, num_known)
    if num_partial:
        logger.warning("%s: %d reviews decide only some of the steps that are asked", path, num_partial)
    return num_new


def _turns_of_file(
    path: Path, assignment: Assignment, accounts: Accounts
) -> dict[tuple[int, int, str], dict[int, ExpertVerdict]]:
    """What a file says, by account, task and kind of work, then by step."""
    said = read_expert_file(path)
    tasks = {(task.record.case_id, task.record.solution_id): task for task in assignment.material.tasks}
    for key, verdicts in said.items():
        task = tasks.get((key.case_id, key.solution_id))
        if task is None or key.step_id >= len(task.record.solution_steps):
            raise InputError(f"{path}: {tuple(key)} is not a step of a task of this review; import into its own")
        for one in verdicts:
            _check_verdict(f"{path}: {tuple(key)}", one)
    users = _users_of_file(
        path, {one.expert_id for verdicts in said.values() for one in verdicts}, assignment, accounts
    )
    turns: dict[tuple[int, int, str], dict[int, ExpertVerdict]] = {}
    for key, verdicts in said.items():
        number = tasks[key.case_id, key.solution_id].number
        for one in verdicts:
            turn = turns.setdefault((users[one.expert_id], number, KIND_OF[(one.extra or {}).get(ROLE)]), {})
            if key.step_id in turn:
                raise InputError(f"{path}: {one.expert_id!r}, by another id, speaks twice of {tuple(key)}; keep one")
            turn[key.step_id] = one
    return turns


def _check_verdict(where: str, one: ExpertVerdict) -> None:
    role = (one.extra or {}).get(ROLE)
    if role is not None and role not in ROLE_OF.values():
        raise InputError(f"{where}: extra.role {role!r}; expected {' or '.join(ROLE_OF.values())}, or none")
    try:
        _seconds_since_1970(one.date)
    except ValueError:
        raise InputError(f"{where}: date {one.date!r}; expected one such as 2026-11-23, or none") from None


def _users_of_file(path: Path, expert_ids: set[str], assignment: Assignment, accounts: Accounts) -> dict[str, int]:
    """The account of each expert: an id that this review gave is its own account's, others are known by name."""
    known = {user.name.casefold(): user.id for user in accounts.users()}
    own = {_own_id(assignment, user_id): user_id for user_id in known.values()}
    found = {}
    for name in sorted(expert_ids):
        user_id = own.get(name, known.get(name.casefold()))
        if user_id is None and name.startswith(_own_id(assignment, "")):
            raise InputError(f"{path}: {name!r} is of this review, which has no such account; expected a file of it")
        if user_id is None:
            user_id = known[name.casefold()] = accounts.add(name, None, "reviewer")
        found[name] = user_id
    return found


def _put_turn(connection: sqlite3.Connection, of: tuple[int, int, str], said: Mapping[int, ExpertVerdict]) -> None:
    """Finished work (task, account, kind); what the file does not tell of time stays unknown."""
    now = time.time()
    turn = connection.execute(
        "INSERT INTO turns (task, user_id, kind, state, locked_until, opened_at, finished_at) "
        "VALUES (?, ?, ?, 'done', 0, ?, ?)",
        (*of, now, now),
    ).lastrowid
    for step_id, one in said.items():
        extra = one.extra or {}
        details = (extra.get(field) for field in ("error_kind", "severity", "icd10"))
        row = (turn, step_id, one.verdict, one.note, *details, one.seconds, _seconds_since_1970(one.date))
        connection.execute("INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    words = [(step_id, one.verdict) for step_id, one in said.items()]
    add_event(connection, "imported", of[1], turn, verdicts=words)


def _seconds_since_1970(date: str | None) -> float | None:
    """ValueError where it is no date."""
    if date is None:
        return None
    found = datetime.fromisoformat(date)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _expert_id(assignment: Assignment, user_id: int, name: str, password_hash: str | None) -> str:
    """Whoever was taken in keeps the id they came with."""
    return name if password_hash is None else _own_id(assignment, user_id)


def _own_id(assignment: Assignment, user_id: int | str) -> str:
    return f"expert_{assignment.database.review_id}_{user_id}"


def _line(key: StepKey, one: ExpertVerdict) -> dict[str, Any]:
    return key._asdict() | to_json(one)


def _csv(assignment: Assignment, said: Mapping[StepKey, Sequence[ExpertVerdict]]) -> str:
    steps = {
        StepKey(task.record.case_id, task.record.solution_id or "", step.step_id): step
        for task in assignment.material.tasks
        for step in task.record.solution_steps
    }
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for key, verdicts in said.items():
        for one in verdicts:
            row = _line(key, one) | (one.extra or {})
            row |= {"category": steps[key].category, "content": steps[key].content}
            writer.writerow({name: _safe_cell(row.get(name)) for name in COLUMNS})
    return text.getvalue()


def _safe_cell(value: Any) -> Any:
    """Spreadsheets run a text that opens like a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _event(row) -> dict[str, Any]:
    names = ("id", "at", "user_id", "kind", "turn_id", "step_id")
    return {name: row[name] for name in names} | {"data": json.loads(row["data"])}
