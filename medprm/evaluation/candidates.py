"""The candidates of each case as arrays: what selectors choose from.

In: scored solutions, and solution scores of other scorers (an outcome reward model, a judge). Out: `CandidateSet`.
A candidate whose answer could not be read is wrong. Those that are neither right nor wrong are left out and counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from medprm.evaluation.scored import ScoredError, ScoredSolution, group_by_case
from medprm.evaluation.settings import AGGREGATIONS

SolutionScores = Mapping[tuple[str, str], float]
"""(case_id, solution_id) -> a score; the higher, the better."""

LENGTHS = ("shortest", "longest")
"""Baselines that look at the number of characters alone."""


class Candidates(NamedTuple):
    """The candidates of one case whose answer is known to be right or wrong, in file order, (n,) each.

    `scores` has the aggregations, the other scorers and the lengths.
    """

    case_id: str
    group_id: str
    solution_ids: list[str]
    is_correct: np.ndarray
    answers: list[str | None]
    scores: dict[str, np.ndarray]


class CandidateSet(NamedTuple):
    """All cases with at least one such candidate; `num_left_out` candidates are neither right nor wrong, the answers of
    `num_unparsed` could not be read."""

    cases: list[Candidates]
    num_left_out: int
    num_unparsed: int
    rankers: tuple[str, ...]

    @property
    def max_size(self) -> int:
        return max((len(case.is_correct) for case in self.cases), default=0)

    @property
    def has_answers(self) -> bool:
        return any(answer is not None for case in self.cases for answer in case.answers)


def collect_candidates(
    solutions: Sequence[ScoredSolution], others: Mapping[str, SolutionScores] | None = None
) -> CandidateSet:
    """Candidates by case. ScoredError where another scorer has no score for one of them."""
    others = others or {}
    read = unparsed_as_wrong(solutions)
    known = [solution for solution in read if solution.is_correct is not None]
    num_unparsed = len(known) - sum(solution.is_correct is not None for solution in solutions)
    cases = [
        Candidates(
            case_id=group[0].case_id,
            group_id=group[0].group_id,
            solution_ids=[one.solution_id for one in group],
            is_correct=np.array([bool(one.is_correct) for one in group]),
            answers=[one.answer for one in group],
            scores=_scores(group, others),
        )
        for group in group_by_case(known).values()
    ]
    return CandidateSet(cases, len(solutions) - len(known), num_unparsed, (*AGGREGATIONS, *others, *LENGTHS))


def unparsed_as_wrong(solutions: Sequence[ScoredSolution]) -> list[ScoredSolution]:
    """A solution without a readable answer is wrong where the case's answers can be judged.

    Where no solution of a source has an answer, none was read: these stay of unknown correctness.
    """
    with_answers = {one.source for one in solutions if one.answer is not None}
    can_be_judged = {one.case_id for one in solutions if one.has_reference or one.is_correct is not None}
    return [
        replace(one, is_correct=False)
        if one.is_correct is None and one.answer is None and one.source in with_answers and one.case_id in can_be_judged
        else one
        for one in solutions
    ]


def _scores(group: Sequence[ScoredSolution], others: Mapping[str, SolutionScores]) -> dict[str, np.ndarray]:
    lengths = np.array([float(sum(map(len, one.step_texts))) for one in group])
    return (
        {name: np.array([one.score(name) for one in group]) for name in AGGREGATIONS}
        | {name: np.array([_look_up(name, scores, one) for one in group]) for name, scores in others.items()}
        | {"shortest": -lengths, "longest": lengths}
    )


def _look_up(name: str, scores: SolutionScores, solution: ScoredSolution) -> float:
    key = (solution.case_id, solution.solution_id)
    if key not in scores:
        raise ScoredError(
            f"case {key[0]} solution {key[1]}: no score by {name!r}, which has {len(scores)}; expected one for every "
            "candidate. Score the same cases with it"
        )
    return scores[key]
