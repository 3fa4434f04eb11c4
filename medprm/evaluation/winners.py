"""selections.jsonl: per case which candidate each selector picks out of all there are, and why.

In: candidates by case, their steps. Out: one row a case. Ties are named: the numbers share them evenly, a row names
the first in the file among them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medprm.cases.atomic import replaced_file
from medprm.evaluation.candidates import Candidates, CandidateSet
from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.votes import normalise_answer


def selection_rows(
    candidates: CandidateSet, solutions: Sequence[ScoredSolution], aggregation: str
) -> Iterator[dict[str, Any]]:
    """One row a case, with a pick for each selector that ranks by score and for the two votes."""
    by_id = {(one.case_id, one.solution_id): one for one in solutions}
    for case in candidates.cases:
        steps = [by_id[case.case_id, name] for name in case.solution_ids]
        picks = {name: _ranked_pick(case, name, steps) for name in candidates.rankers}
        if any(answer is not None for answer in case.answers):
            ones = np.ones(len(case.answers))
            picks["majority"] = _vote_pick(case, ones, case.scores[aggregation])
            picks["weighted_vote"] = _vote_pick(case, case.scores[aggregation], case.scores[aggregation])
        yield {
            "case_id": case.case_id,
            "num_candidates": len(case.answers),
            "num_right": int(case.is_correct.sum()),
            "picks": picks,
        }


def _ranked_pick(case: Candidates, name: str, steps: Sequence[ScoredSolution]) -> dict[str, Any]:
    scores = case.scores[name]
    order = np.argsort(-scores, kind="stable")
    best = int(order[0])
    tied = [case.solution_ids[i] for i in order if scores[i] == scores[best]]
    pick = _describe(case, best, float(scores[best]), tied)
    if len(order) > len(tied):
        runner_up = int(order[len(tied)])
        pick["next"] = {"solution_id": case.solution_ids[runner_up], "score": float(scores[runner_up])}
    lowest = int(np.argmin(steps[best].step_scores))
    pick["lowest_step"] = {
        "step": lowest,
        "score": steps[best].step_scores[lowest],
        "label": steps[best].labels[lowest],
    }
    return pick


def _vote_pick(case: Candidates, weights: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """The winning answer by its best-scored candidate, and the votes of every answer."""
    votes: dict[str, float] = {}
    names = [normalise_answer(answer) for answer in case.answers]
    for name, weight in zip(names, weights, strict=True):
        if name is not None:
            votes[name] = votes.get(name, 0.0) + float(weight)
    most = max(votes.values())
    winners = [name for name, vote in votes.items() if vote >= most - 1e-9]
    members = [i for i, name in enumerate(names) if name == winners[0]]
    best = max(members, key=lambda i: scores[i])
    pick = _describe(case, best, most, winners)
    return pick | {"votes": dict(sorted(votes.items(), key=lambda one: -one[1]))}


def _describe(case: Candidates, index: int, score: float, tied: list[str]) -> dict[str, Any]:
    pick: dict[str, Any] = {
        "solution_id": case.solution_ids[index],
        "answer": case.answers[index],
        "is_correct": bool(case.is_correct[index]),
        "score": score,
    }
    return pick | ({"tied": tied} if len(tied) > 1 else {})


def write_selections(path: Path, rows: Iterator[Mapping[str, Any]]) -> None:
    """One JSON object a line, written whole or not at all."""
    with replaced_file(path) as draft, draft.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
