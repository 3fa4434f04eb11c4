"""How far the project is: work done and left, agreement between experts, pace and cost of each.

In: the database. Out: plain values for a page. Agreement is measured on finished reviews alone, before any
adjudication, over the steps that both have decided ("cannot tell" is left out, and counted); intervals are by patient.
"""

import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from medprm.review.accounts import User
from medprm.review.assignment import Assignment
from medprm.statistics.agreement import krippendorff_alpha, pair_agreement
from medprm.statistics.bootstrap import Estimate

NUM_BOOTSTRAP = 500  # of a page that is looked at while it changes; the label report has more
CATEGORIES = ("observation", "analysis", "integration", "diagnosis")
Ratings = list[list[str | None]]


def progress(assignment: Assignment, users: Sequence[User]) -> dict[str, Any]:
    """Everything that the page of progress shows."""
    return {
        "work": work(assignment),
        "experts": experts(assignment, users),
        "agreement": agreement(assignment, users),
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
        disputed = [
            task.number
            for task in tasks
            if done.get(task.number, 0) >= 2 and assignment.disputed_steps(connection, task)
        ]
    adjudicated = {row["task"] for row in rows if row["kind"] == "adjudicate" and row["state"] == "done"}
    return {
        "tasks": len(tasks),
        "finished": sum(done.get(task.number, 0) >= task.num_wanted for task in tasks),
        "under_way": len({row["task"] for row in rows if row["state"] == "open"}),
        "steps": sum(len(task.asked) for task in tasks),
        "steps_finished": sum(len(task.asked) for task in tasks if done.get(task.number, 0) >= task.num_wanted),
        "read_twice": sum(done.get(task.number, 0) >= 2 for task in tasks),
        "disputed": len(disputed),
        "to_adjudicate": len(set(disputed) - adjudicated),
    }


def experts(assignment: Assignment, users: Sequence[User]) -> list[dict[str, Any]]:
    """Steps, pace and cost of each expert, over everything they said, sent back or not: it was paid for."""
    found = []
    for user in users:
        rows = assignment.database.rows(
            "SELECT seconds FROM verdicts JOIN turns ON turns.id = turn_id WHERE user_id = ? AND verdict IS NOT NULL",
            user.id,
        )
        if not rows:
            continue
        seconds = [row["seconds"] for row in rows]
        hours = sum(seconds) / 3600
        found.append(
            {
                "name": user.name,
                "role": user.role,
                "steps": len(rows),
                "median_seconds": statistics.median(seconds),
                "steps_per_hour": len(rows) / hours if hours else None,
                "hours": hours,
                "dollars": hours * assignment.rules.dollars_per_hour,
            }
        )
    return found


def agreement(assignment: Assignment, users: Sequence[User]) -> dict[str, Any]:
    """Cohen's kappa of every pair of experts, over all steps and by category, and Krippendorff's alpha of all."""
    names = {user.id: user.name for user in users}
    rows = assignment.database.rows(
        "SELECT task, step_id, verdict, user_id FROM verdicts JOIN turns ON turns.id = turn_id "
        "WHERE kind = 'review' AND state = 'done' AND verdict IS NOT NULL ORDER BY task, step_id"
    )
    said: dict[tuple[int, int], dict[int, str]] = {}
    for row in rows:
        said.setdefault((row["task"], row["step_id"]), {})[row["user_id"]] = row["verdict"]
    units = {key: verdicts for key, verdicts in said.items() if len(verdicts) > 1}
    raters = sorted({rater for verdicts in units.values() for rater in verdicts})
    records = {key: assignment.material.task(key[0]).record for key in units}
    clusters = [records[key].group_id for key in units]
    categories = [records[key].solution_steps[key[1]].category for key in units]
    ratings: Ratings = [[_decided(verdicts.get(rater)) for rater in raters] for verdicts in units.values()]
    pairs = []
    for i, j in combinations(range(len(raters)), 2):
        both = [place for place, verdicts in enumerate(units.values()) if {raters[i], raters[j]} <= verdicts.keys()]
        if not both:
            continue
        first, second = [ratings[place][i] for place in both], [ratings[place][j] for place in both]
        ids = [clusters[place] for place in both]
        whole = pair_agreement(first, second, ids, NUM_BOOTSTRAP)
        by_category = {}
        for category in CATEGORIES:
            places = [k for k, place in enumerate(both) if categories[place] == category]
            by_first, by_second = [first[k] for k in places], [second[k] for k in places]
            one = pair_agreement(by_first, by_second, [ids[k] for k in places], NUM_BOOTSTRAP)
            by_category[category] = shown(one.kappa)
        pairs.append(
            {
                "names": (names[raters[i]], names[raters[j]]),
                "num_steps": len(both),
                "num_left_out": whole.num_left_out,
                "raw": shown(whole.raw_agreement),
                "kappa": shown(whole.kappa),
                "ac1": shown(whole.ac1),
                "by_category": by_category,
            }
        )
    alpha = krippendorff_alpha(ratings, clusters, NUM_BOOTSTRAP)
    return {"pairs": pairs, "alpha": shown(alpha), "num_steps": len(units)}


def splits(assignment: Assignment, users: Sequence[User]) -> list[dict[str, Any]]:
    """The splits of the checking protocol: whose they are, and what the lead found so far."""
    names = {user.id: user.name for user in users}
    found = []
    for row in assignment.database.rows("SELECT * FROM splits ORDER BY number"):
        sample, left = assignment.checks(row["number"])
        num_checked, num_wrong = _checked_steps(assignment, sample, row["round"])
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
                "num_checked_steps": num_checked,
                "num_wrong_steps": num_wrong,
            }
        )
    return found


def _checked_steps(assignment: Assignment, tasks: Sequence[int], round_number: int) -> tuple[int, int]:
    """Steps that a lead looked at in these tasks, and those on which the lead and the reviewer differ."""
    rows = assignment.database.rows(
        "SELECT task, step_id, kind, verdict FROM verdicts JOIN turns ON turns.id = turn_id WHERE state = 'done' AND "
        "round = ?",
        round_number,
    )
    said = {(row["task"], row["step_id"], row["kind"]): row["verdict"] for row in rows if row["task"] in tasks}
    pairs = [(said.get((task, step, "review")), one) for (task, step, kind), one in said.items() if kind == "check"]
    return len(pairs), sum(reviewer != lead for reviewer, lead in pairs)


def shown(one: Estimate) -> str:
    """`0.81 [0.70, 0.90]`; what is undefined is said to be, never 0."""
    if not one.n:
        return "–"
    return f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" if one.value == one.value else "undefined"


def _decided(verdict: str | None) -> str | None:
    return None if verdict == "unknown" else verdict
