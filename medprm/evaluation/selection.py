"""Best-of-N over the cases of a set: curves per case, the choice of aggregation, estimates by patient.

In: scored solutions. Out: for each selector and N an estimate over cases, the share of the gap to the oracle that it
closes, and its paired difference from majority vote. A case with fewer than N candidates is left out at that N.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medprm.evaluation import best_of_n
from medprm.evaluation.scored import ScoredSolution, group_by_case
from medprm.evaluation.settings import AGGREGATIONS, EvaluationSettings
from medprm.evaluation.steps import Resampling
from medprm.statistics.bootstrap import Estimate, estimate, estimate_mean, paired_difference, ratio, sum_by_cluster

WEIGHTED_VOTE = "weighted_vote"


class Candidates(NamedTuple):
    """The candidates of one case whose answer is known to be right or wrong, (n,) each."""

    group_id: str
    is_correct: np.ndarray
    answers: list[str | None]
    scores: dict[str, np.ndarray]


class CandidateSet(NamedTuple):
    """All cases with at least one such candidate; `num_left_out` candidates are neither right nor wrong."""

    cases: list[Candidates]
    num_left_out: int

    @property
    def max_size(self) -> int:
        return max((len(case.is_correct) for case in self.cases), default=0)


def collect_candidates(solutions: Sequence[ScoredSolution]) -> CandidateSet:
    """Candidates by case with their solution scores by every aggregation."""
    known = [solution for solution in solutions if solution.is_correct is not None]
    cases = [
        Candidates(
            group_id=group[0].group_id,
            is_correct=np.array([bool(one.is_correct) for one in group]),
            answers=[one.answer for one in group],
            scores={name: np.array([one.score(name) for one in group]) for name in AGGREGATIONS},
        )
        for group in group_by_case(known).values()
    ]
    return CandidateSet(cases, len(solutions) - len(known))


class Choice(NamedTuple):
    """The aggregation and how it came about."""

    aggregation: str
    rule: str


def choose_aggregation(validation: CandidateSet, settings: EvaluationSettings) -> Choice:
    """The aggregation of highest Best-of-N on validation, at `selection_candidates` or the most there are."""
    if settings.aggregation is not None:
        return Choice(settings.aggregation, "set by the user")
    size = min(settings.selection_candidates, validation.max_size)
    if size < 2:
        return Choice("mean", "no validation case has two candidates of known correctness: mean by default")
    enough = [case for case in validation.cases if len(case.is_correct) >= size]
    means = [
        np.mean([best_of_n.best_of_n(case.scores[name], case.is_correct, [size])[0] for case in enough])
        for name in AGGREGATIONS
    ]
    # The first of equals: rounding in the last digit must not decide.
    chosen = next(name for name, value in zip(AGGREGATIONS, means, strict=True) if value >= max(means) - 1e-12)
    return Choice(chosen, f"highest Best-of-{size} on {len(enough)} validation cases; ties go to the first named")


class BestOfN(NamedTuple):
    """Estimates by selector and N; `left_out` counts the cases with fewer than N candidates."""

    pass_at_1: Estimate
    estimates: dict[str, dict[str, Estimate]]
    gap_closed: dict[str, dict[str, Estimate]]
    versus_majority: dict[str, dict[str, Estimate]]
    left_out: dict[str, int]


def best_of_n_estimates(
    candidates: CandidateSet, aggregation: str, settings: EvaluationSettings, resampling: Resampling
) -> BestOfN:
    """All selectors at every N that some case reaches. `aggregation` is the one behind the score-weighted vote."""
    cases, sizes = candidates.cases, sorted({size for size in settings.max_candidates if size <= candidates.max_size})
    has_answers = any(answer is not None for case in cases for answer in case.answers)
    curves = _curves(cases, sizes, aggregation if has_answers else None, settings)
    num_candidates = np.array([len(case.is_correct) for case in cases])
    groups = [case.group_id for case in cases]
    first = np.array([best_of_n.pass_at_1(case.is_correct) for case in cases])
    pass_at_1 = estimate_mean(first, resampling.clusters(groups), resampling.weights)
    estimates: dict[str, dict[str, Estimate]] = {name: {} for name in curves}
    selectors = [name for name in curves if name not in ("oracle", "random")]
    gap_closed: dict[str, dict[str, Estimate]] = {name: {} for name in selectors}
    versus: dict[str, dict[str, Estimate]] = {name: {} for name in selectors if name != "majority"}
    for column, size in enumerate(sizes):
        enough = np.flatnonzero(num_candidates >= size)
        clusters = resampling.clusters([groups[i] for i in enough])
        at_size = {name: curve[enough, column] for name, curve in curves.items()}
        for name, values in at_size.items():
            estimates[name][str(size)] = estimate_mean(values, clusters, resampling.weights)
        for name in selectors if size > 1 else []:
            gains = np.stack([at_size[name] - first[enough], at_size["oracle"] - first[enough]], axis=1)
            sums = sum_by_cluster(gains, clusters)
            gap_closed[name][str(size)] = estimate(ratio, sums, resampling.weights, len(enough))
            if name != "majority" and has_answers:
                versus[name][str(size)] = paired_difference(
                    at_size[name], at_size["majority"], clusters, resampling.weights
                )
    left_out = {str(size): int((num_candidates < size).sum()) for size in sizes}
    return BestOfN(pass_at_1, estimates, gap_closed, versus if has_answers else {}, left_out)


def _curves(
    cases: Sequence[Candidates], sizes: list[int], vote_by: str | None, settings: EvaluationSettings
) -> dict[str, np.ndarray]:
    """Expected correctness by selector: (cases, sizes), NaN where a case has fewer candidates than N."""
    votes = ("majority", WEIGHTED_VOTE) if vote_by else ()
    curves = {name: np.full((len(cases), len(sizes)), np.nan) for name in (*AGGREGATIONS, *votes, "oracle", "random")}
    for row, case in enumerate(cases):
        within = [size for size in sizes if size <= len(case.is_correct)]
        if not within:
            continue
        kept = slice(0, len(within))
        for name in AGGREGATIONS:
            curves[name][row, kept] = best_of_n.best_of_n(case.scores[name], case.is_correct, within)
        curves["oracle"][row, kept] = best_of_n.oracle(case.is_correct, within)
        curves["random"][row, kept] = best_of_n.pass_at_1(case.is_correct)
        if vote_by:
            curves["majority"][row, kept] = best_of_n.majority_vote(case.answers, case.is_correct, within)
            curves[WEIGHTED_VOTE][row, kept] = best_of_n.weighted_vote(
                case.scores[vote_by],
                case.answers,
                case.is_correct,
                within,
                settings.num_vote_subsets,
                [settings.seed, row],
            )
    return curves
