"""How far the project is: work done and left, agreement between experts, pace and cost of each.

In: the database. Out: plain values for a page. Agreement is measured on finished reviews alone, before any
adjudication, over the steps that both have decided ("cannot tell" is left out, and counted); intervals are by patient.
"""

import statistics
import threading
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

from medprm.review.accounts import User
from medprm.review.assignment import Assignment
from medprm.statistics.agreement import Confusion, confusion, krippendorff_alpha, pair_agreements
from medprm.statistics.bootstrap import MIN_CLUSTERS, Estimate

NUM_BOOTSTRAP = 500  # of a page that is looked at while it changes; the label report has more
CATEGORIES = ("observation", "analysis", "integration", "diagnosis")
DECIDING_EVENTS = ("finished", "imported", "split_returned")
"""What changes the finished reviews, and with them every figure of agreement."""


class KeptAgreement:
    """`agreement`, computed again only once a review was finished, taken in or sent back, and by one at a time."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self._lock = threading.Lock()
        self._last_event = -1
        self._kept: dict[str, Any] = {}

    def __call__(self, users: Sequence[User]) -> dict[str, Any]:
        marks = ", ".join("?" * len(DECIDING_EVENTS))
        with self._lock:
            row = self.assignment.database.row(
                f"SELECT coalesce(max(id), 0) AS last FROM events WHERE kind IN ({marks})", *DECIDING_EVENTS
            )
            assert row is not None
            if row["last"] != self._last_event:
                self._kept, self._last_event = agreement(self.assignment, users), row["last"]
            return self._kept


def progress(assignment: Assignment, users: Sequence[User], agreed: KeptAgreement) -> dict[str, Any]:
    """Everything that the page of progress shows."""
    return {
        "work": work(assignment),
        "experts": experts(assignment, users),
        "agreement": agreed(users),
        "splits": splits(assignment, users),
    }


def work(assignment: Assignment) -> dict[str, int]:
    """Counts of tasks and steps."""
    tasks = assignment.material.tasks
    rows = assignment.database.rows("SELECT task, kind, state FROM turns WHERE state IN ('open', 'done')")
    done: dict[int, int] = {}
    for row in rows:
        if row["kind"] == "review" and row["state"] == "done":
            done[row["task"]] = done.get(row["task"], 0) + 1
    with assignment.database.transaction() as connection:
        disputed, undecided = assignment.disputes(connection), assignment.open_disputes(connection)
    return {
        "tasks": len(tasks),
        "finished": sum(done.get(task.number, 0) >= task.num_wanted for task in tasks),
        "under_way": len({row["task"] for row in rows if row["state"] == "open"}),
        "steps": sum(len(task.asked) for task in tasks),
        "steps_finished": sum(len(task.asked) for task in tasks if done.get(task.number, 0) >= task.num_wanted),
        "read_twice": sum(done.get(task.number, 0) >= 2 for task in tasks),
        "disputed": len(disputed),
        "to_adjudicate": len(undecided),
    }


def experts(assignment: Assignment, users: Sequence[User]) -> list[dict[str, Any]]:
    """Steps, pace and cost of each expert, over everything they said, sent back or not: it was paid for.

    Pace and cost are of the steps whose seconds are known.
    """
    rows = assignment.database.rows(
        "SELECT user_id, seconds FROM verdicts JOIN turns ON turns.id = turn_id WHERE verdict IS NOT NULL"
    )
    seconds_of: dict[int, list[float | None]] = {}
    for row in rows:
        seconds_of.setdefault(row["user_id"], []).append(row["seconds"])
    found = []
    for user in users:
        said = seconds_of.get(user.id)
        if said is None:
            continue
        seconds = [one for one in said if one is not None]
        hours = sum(seconds) / 3600
        found.append(
            {
                "name": user.name,
                "role": user.role,
                "steps": len(said),
                "median_seconds": statistics.median(seconds) if seconds else None,
                "steps_per_hour": len(seconds) / hours if hours else None,
                "hours": hours,
                "dollars": hours * assignment.rules.dollars_per_hour,
            }
        )
    return found


class Unit(NamedTuple):
    """A step that several experts judged: what each said, by the number of their account; None cannot tell."""

    patient: str
    category: str | None
    said: dict[int, str | None]


def agreement(assignment: Assignment, users: Sequence[User]) -> dict[str, Any]:
    """Cohen's kappa of every pair of experts, over all steps and by category, and Krippendorff's alpha of all."""
    units = _units(assignment)
    of_pair: dict[tuple[int, int], list[Unit]] = {}
    for unit in units:
        for pair in combinations(sorted(unit.said), 2):
            of_pair.setdefault(pair, []).append(unit)
    tables = [_confusion(of_pair[pair], pair) for pair in sorted(of_pair)]
    tables += [
        _confusion([unit for unit in of_pair[pair] if unit.category == category], pair)
        for pair in sorted(of_pair)
        for category in CATEGORIES
    ]
    agreed = pair_agreements(tables, NUM_BOOTSTRAP)
    names = {user.id: user.name for user in users}
    rows = []
    for place, pair in enumerate(sorted(of_pair)):
        whole = agreed[place]
        first = len(of_pair) + place * len(CATEGORIES)
        rows.append(
            {
                "names": (names[pair[0]], names[pair[1]]),
                "num_steps": len(of_pair[pair]),
                "num_left_out": whole.num_left_out,
                "raw": shown(whole.raw_agreement, whole.num_clusters),
                "kappa": shown(whole.kappa, whole.num_clusters),
                "ac1": shown(whole.ac1, whole.num_clusters),
                "by_category": {
                    category: shown(one.kappa, one.num_clusters)
                    for category, one in zip(CATEGORIES, agreed[first : first + len(CATEGORIES)], strict=True)
                },
            }
        )
    decided = [unit for unit in units if sum(word is not None for word in unit.said.values()) > 1]
    alpha = krippendorff_alpha(
        [list(unit.said.values()) for unit in decided], [unit.patient for unit in decided], NUM_BOOTSTRAP
    )
    num_patients = [len({unit.patient for unit in decided}), *(one.num_clusters for one in agreed)]
    return {
        "pairs": rows,
        "alpha": shown(alpha, num_patients[0]),
        "num_steps": len(units),
        "least_patients": MIN_CLUSTERS,
        "has_few_patients": any(0 < one < MIN_CLUSTERS for one in num_patients),
    }


def _units(assignment: Assignment) -> list[Unit]:
    rows = assignment.database.rows(
        "SELECT task, step_id, verdict, user_id FROM verdicts JOIN turns ON turns.id = turn_id "
        "WHERE kind = 'review' AND state = 'done' AND verdict IS NOT NULL ORDER BY task, step_id"
    )
    said: dict[tuple[int, int], dict[int, str | None]] = {}
    for row in rows:
        said.setdefault((row["task"], row["step_id"]), {})[row["user_id"]] = _decided(row["verdict"])
    units = []
    for (task, step), words in said.items():
        if len(words) > 1:
            record = assignment.material.task(task).record
            units.append(Unit(record.group_id, record.solution_steps[step].category, words))
    return units


def _confusion(units: Sequence[Unit], pair: tuple[int, int]) -> Confusion:
    first, second = ([unit.said[rater] for unit in units] for rater in pair)
    return confusion(first, second, [unit.patient for unit in units])


def splits(assignment: Assignment, users: Sequence[User]) -> list[dict[str, Any]]:
    """The splits of the checking protocol: whose they are, and what the lead found so far."""
    names = {user.id: user.name for user in users}
    checked = _checked_steps(assignment)
    found = []
    for row in assignment.database.rows("SELECT * FROM splits ORDER BY number"):
        sample, left = assignment.checks(row["number"])
        pairs = [pair for task in sample for pair in checked.get((task, row["round"]), ())]
        found.append(
            {
                "number": row["number"],
                "round": row["round"],
                "owner_id": row["owner_id"],
                "owner": names.get(row["owner_id"], "nobody yet"),
                "state": row["state"] if row["state"] != "open" or left is None else "to be checked",
                "num_sampled": len(sample),
                "num_left": len(sample) if left is None else len(left),
                "is_decidable": row["state"] == "open" and left == [],
                "num_checked_steps": len(pairs),
                "num_wrong_steps": sum(reviewer != lead for reviewer, lead in pairs),
            }
        )
    return found


def _checked_steps(assignment: Assignment) -> dict[tuple[int, int], list[tuple[str | None, str]]]:
    """The reviewer's and the lead's verdict on every step that a lead looked at, by task and round."""
    rows = assignment.database.rows(
        "SELECT turns.task, turns.round, verdicts.verdict AS lead, theirs.verdict AS reviewer FROM turns "
        "JOIN verdicts ON verdicts.turn_id = turns.id "
        "LEFT JOIN turns AS reviews ON reviews.task = turns.task AND reviews.round = turns.round AND "
        "reviews.kind = 'review' AND reviews.state = 'done' "
        "LEFT JOIN verdicts AS theirs ON theirs.turn_id = reviews.id AND theirs.step_id = verdicts.step_id "
        "WHERE turns.kind = 'check' AND turns.state = 'done'"
    )
    found: dict[tuple[int, int], list[tuple[str | None, str]]] = {}
    for row in rows:
        found.setdefault((row["task"], row["round"]), []).append((row["reviewer"], row["lead"]))
    return found


def shown(one: Estimate, num_patients: int) -> str:
    """`0.81 [0.70, 0.90] of 63 patients`, a star where these are few; what is undefined is said to be, never 0."""
    if not one.n:
        return "–"
    if one.value != one.value:
        return "undefined"
    mark = " *" if num_patients < MIN_CLUSTERS else ""
    bounds = f"[{one.low:.2f}, {one.high:.2f}]" if one.is_defined else "[undefined]"
    return f"{one.value:.2f} {bounds} of {num_patients} patients{mark}"


def _decided(verdict: str | None) -> str | None:
    return None if verdict == "unknown" else verdict
