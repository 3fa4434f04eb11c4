"""What experts have said, from files: JSON Lines of ours, or Label Studio's JSON export.

Out: experts' verdicts by step. Of Label Studio (its "JSON" export, a list of tasks) this is read: `data` with case_id
and solution_id, and per annotation `completed_by`, `lead_time` (seconds), `created_at`, and `result` with
  a choice named `step_0`, `step_1`, ... where a task is a solution, or `verdict` where a task is one step and `data`
  has step_id, as the lines of expert_queue.jsonl do; the choice is correct, incorrect, neutral or unknown;
  a text named `note_0`, ... or `note`.
Our own export says in an annotation who spoke and as what, too: `expert_id` and `role`.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medprm.annotation.expert_queue import StepKey
from medprm.cases.parsing import parse_json
from medprm.cases.schema import ExpertVerdict
from medprm.cases.verdicts import ROLE
from medprm.errors import InputError

logger = logging.getLogger(__name__)

VERDICTS = ("correct", "incorrect", "neutral", "unknown")
CONTROL = re.compile(r"(?P<kind>step|verdict|note)(?:_(?P<step_id>\d+))?")
Said = tuple[StepKey, ExpertVerdict]


def read_expert_file(path: Path) -> dict[StepKey, tuple[ExpertVerdict, ...]]:
    """Verdicts by step: .json is Label Studio's export, all else JSON Lines.

    A line has case_id, solution_id, step_id, verdict, expert_id, and note, seconds, date, extra where known. InputError
    names the place. One expert may speak once of a step; several experts may speak of one.
    """
    found: dict[StepKey, tuple[ExpertVerdict, ...]] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expert.path={path}: cannot be read ({error})") from None
    for where, (key, verdict) in _label_studio(path, text) if path.suffix == ".json" else _lines(path, text):
        before = found.get(key, ())
        if verdict.expert_id in {one.expert_id for one in before}:
            raise InputError(f"{where}: expert {verdict.expert_id!r} speaks twice of {tuple(key)}; keep one verdict")
        found[key] = (*before, verdict)
    return found


def _lines(path: Path, text: str) -> Iterator[tuple[str, Said]]:
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{path}:{number}"
        yield where, _said(parse_json(line, where), where)


def _said(row: Any, where: str) -> Said:
    needed = (*StepKey._fields, "verdict", "expert_id")
    allowed = {*needed, "note", "seconds", "date", "extra"}
    if not isinstance(row, dict) or set(needed) - row.keys() or row.keys() - allowed:
        raise InputError(
            f"{where}: expected an object with {', '.join(needed)}, and note, seconds, date, extra where known"
        )
    ids = (row["case_id"], row["solution_id"])
    if row["verdict"] not in VERDICTS or type(row["step_id"]) is not int or not all(isinstance(i, str) for i in ids):
        raise InputError(
            f"{where}: verdict {row['verdict']!r}, step_id {row['step_id']!r}, case_id and solution_id {list(ids)}; "
            f"expected one of {', '.join(VERDICTS)}, a number from 0, and texts"
        )
    given = {name: row[name] for name in row if name not in StepKey._fields}
    try:
        return StepKey(row["case_id"], row["solution_id"], row["step_id"]), ExpertVerdict.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{where}: {first['loc'][0]} {first['input']!r}: {first['msg']}") from None


def _label_studio(path: Path, text: str) -> Iterator[tuple[str, Said]]:
    tasks = parse_json(text, str(path))
    if not isinstance(tasks, list):
        raise InputError(f"{path}: expected Label Studio's JSON export, a list of tasks")
    passed_over: Counter[str] = Counter()
    for number, task in enumerate(tasks):
        where = f"{path} task {number}"
        data = _field(task, "data", dict, where)
        for annotation in _field(task, "annotations", list, where):
            if annotation.get("was_cancelled"):
                passed_over["annotations that were skipped"] += 1
                continue
            rows = list(_annotation_rows(data, annotation, where, passed_over))
            passed_over["annotations without a verdict"] += not rows
            yield from ((where, _said(row, where)) for row in rows)
    for what, count in passed_over.items():
        if count:
            logger.warning("%s: passed over %d %s", path, count, what)


def _annotation_rows(
    data: Mapping[str, Any], annotation: Mapping[str, Any], where: str, passed_over: Counter[str]
) -> Iterator[dict[str, Any]]:
    """One row for each step that the annotation decides; its time is shared evenly among them."""
    choices: dict[int, str] = {}
    notes: dict[int, str] = {}
    for result in _field(annotation, "result", list, where):
        kind, name = result.get("type"), str(result.get("from_name"))
        control = CONTROL.fullmatch(name)
        if kind not in ("choices", "textarea"):
            passed_over[f"results of type {kind}"] += 1
            continue
        if control is None or (control["kind"] == "note") != (kind == "textarea"):
            raise InputError(
                f"{where}: a result named {name!r} of type {kind}; expected step_0 ... or verdict, or note"
            )
        step_id = int(control["step_id"]) if control["step_id"] else data.get("step_id")
        if type(step_id) is not int or ("step_id" in data and step_id != data["step_id"]):
            raise InputError(f"{where}: {name!r} and data.step_id {data.get('step_id')!r} name no one step")
        value = result.get("value", {})
        given = value.get("choices" if kind == "choices" else "text", [])
        into = choices if kind == "choices" else notes
        texts = [given] if isinstance(given, str) else given
        if step_id in into or (kind == "choices" and len(texts) != 1):
            raise InputError(f"{where}: {name!r} has {texts}; expected one of {', '.join(VERDICTS)}, once a step")
        into[step_id] = "\n".join(texts)
    if notes.keys() - choices.keys():
        passed_over["notes on steps without a verdict"] += len(notes.keys() - choices.keys())
    seconds, created, role = (annotation.get(name) for name in ("lead_time", "created_at", "role"))
    for step_id, choice in choices.items():
        row = {
            "case_id": data.get("case_id"),
            "solution_id": data.get("solution_id"),
            "step_id": step_id,
            "verdict": choice.casefold(),
            "expert_id": annotation.get("expert_id") or _expert_id(annotation.get("completed_by"), where),
            "note": notes.get(step_id),
            "seconds": None if seconds is None else seconds / len(choices),
            "date": None if created is None else str(created)[:10],
            "extra": None if role is None else {ROLE: role},
        }
        yield {name: value for name, value in row.items() if value is not None or name in StepKey._fields}


def _expert_id(completed_by: Any, where: str) -> str:
    """By the user's number: the export may hold an e-mail address, which stays out of the records."""
    number = completed_by.get("id") if isinstance(completed_by, dict) else completed_by
    if type(number) is not int:
        raise InputError(f"{where}: completed_by {completed_by!r}; expected the number of a user, or an object with id")
    return f"label_studio_{number}"


def _field(row: Any, name: str, kind: type, where: str) -> Any:
    if not isinstance(row, dict) or not isinstance(row.get(name), kind):
        raise InputError(f"{where}: no {name!r} of the expected kind; expected Label Studio's JSON export")
    return row[name]
