"""What a page shows of a task: plain JSON, which the page puts in as text, never as markup.

Nothing that the viewer may not know is in it: the gold standard only once the turn is done, the machines' verdicts
only where the project is not blind, other experts' verdicts only for whoever decides between them.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from medprm.cases.schema import Case, Document, Evidence, Sources, Step
from medprm.evaluation.shown_cases import context_rows
from medprm.review.accounts import User
from medprm.review.assignment import Assignment, Turn
from medprm.review.material import Task
from medprm.review.verdicts import FIELDS, state_of


def turn_view(assignment: Assignment, user: User, turn: Turn) -> dict[str, Any]:
    """The task of a turn, as its expert sees it."""
    material, rules = assignment.material, assignment.rules
    task = material.task(turn.task)
    with assignment.database.transaction() as connection:
        asked = assignment.asked_steps(connection, turn)
        states = state_of(connection, turn.id)
        others = _other_verdicts(connection, task, turn)
    scored = material.scores.get((task.record.case_id, task.record.solution_id or ""))
    scores = scored.step_scores if scored and len(scored.step_scores) == len(task.record.solution_steps) else None
    steps = [
        {
            "step_id": step.step_id,
            "content": step.content,
            "category": step.category,
            "is_asked": step.step_id in asked,
            "machines": None
            if rules.is_blind
            else _machines(step, task.record.documents, None if scores is None else scores[step.step_id]),
            "others": others.get(step.step_id, []),
            "state": states.get(step.step_id),
        }
        for step in task.record.solution_steps
    ]
    following = assignment.upcoming(user, turn.kind)
    return {
        "turn": {"id": turn.id, "kind": turn.kind, "task": turn.task, "state": turn.state},
        "num_tasks": len(material.tasks),
        "is_blind": rules.is_blind,
        "idle_seconds": rules.idle_seconds,
        "case": case_view(task.record),
        "images": images_of(assignment, task),
        "following_images": [] if following is None else images_of(assignment, following),
        "steps": steps,
    }


def images_of(assignment: Assignment, task: Task) -> list[dict[str, Any]]:
    """Numbers and views; file names stay here: they may tell who the patient is."""
    shown = assignment.material.images_of[task.record.case_id]
    return [{"number": one.number, "view": one.image.view} for one in shown]


def case_view(case: Case) -> dict[str, Any]:
    """What the model may have read of the case."""
    return {
        "modality": case.modality.replace("_", " "),
        "context": context_rows(case),
        "question": case.question,
        "options": list(case.options),
        "documents": [
            {"title": one.title or one.document_id, "source": one.source, "text": one.text} for one in case.documents
        ],
    }


def gold_view(case: Case) -> list[tuple[str, str]]:
    """The reference reading, as rows; empty where there is none."""
    gold = case.gold_standard
    if gold is None:
        return []
    rows = (
        ("answer", gold.answer),
        ("diagnosis", gold.diagnosis),
        ("ICD-10", gold.icd10),
        ("findings", ", ".join(gold.findings)),
    )
    return [(name, value) for name, value in rows if value]


def _machines(step: Step, documents: Sequence[Document], score: float | None) -> dict[str, Any]:
    sources = step.sources or Sources()
    return {
        "judge": [
            {
                "verdict": one.verdict,
                "reason": one.reason,
                "citations": [_citation(quoted, documents) for quoted in one.citations],
            }
            for one in sources.judge
        ],
        "monte_carlo": [
            {
                "num_correct": one.num_correct,
                "num_wrong": one.num_wrong,
                "num_unread": one.num_unparsed + one.num_truncated,
            }
            for one in sources.monte_carlo
        ],
        "outcome": [one.verdict for one in sources.outcome],
        "score": score,
    }


def _citation(quoted: Evidence, documents: Sequence[Document]) -> dict[str, Any]:
    """A quote with the passage it is from, where the record holds that."""
    passage = next((one.text for one in documents if one.document_id == quoted.document_id), None)
    if passage is None:
        passage = next((one.text for one in documents if quoted.quote and quoted.quote in one.text), None)
    return {"source": quoted.source, "quote": quoted.quote, "passage": passage}


def _other_verdicts(connection: sqlite3.Connection, task: Task, turn: Turn) -> dict[int, list[dict[str, Any]]]:
    """For an adjudicator or a lead: what the reviewers said, without their names."""
    if turn.kind == "review":
        return {}
    rows = connection.execute(
        "SELECT verdicts.*, turns.id AS turn FROM verdicts JOIN turns ON turns.id = turn_id WHERE task = ? AND "
        "kind = 'review' AND state = 'done' AND round = ? ORDER BY turns.id",
        (task.number, turn.round),
    ).fetchall()
    letters = {number: "ABCDEFGH"[place % 8] for place, number in enumerate(sorted({row["turn"] for row in rows}))}
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        said = {name: row[name] for name in FIELDS}
        found.setdefault(row["step_id"], []).append({"reader": f"reader {letters[row['turn']]}"} | said)
    return found
