"""Best-of-N over the cases of a set: curves per case, the choice of aggregation, estimates by patient.

In: candidates by case. Out: for each selector and N an estimate over cases, the share of the gap to the oracle that it
closes, and its paired difference from majority vote. A case with fewer than N candidates is left out at that N.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medprm.evaluation import best_of_n, votes
from medprm.evaluation.candidates import Candidates, CandidateSet
from medprm.evaluation.settings import AGGREGATIONS, EvaluationSettings
from medprm.evaluation.steps import Resampling
from medprm.statistics.bootstrap import Estimate, estimate, estimate_mean, paired_difference, ratio, sum_by_cluster

WEIGHTED_VOTE = "weighted_vote"


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

    def value(name: str, case: Candidates) -> float:
        return float(best_of_n.best_of_n(case.scores[name], case.is_correct, [size], settings.greedy_first)[0])

    means = [np.mean([value(name, case) for case in enough]) for name in AGGREGATIONS]
    # The first of equals: rounding in the last digit must not decide.
    chosen = next(name for name, value in zip(AGGREGATIONS, means, strict=True) if value >= max(means) - 1e-12)
    return Choice(chosen, f"highest Best-of-{size} on {len(enough)} validation cases; ties go to the first named")


class Curves(NamedTuple):
    """Expected correctness by selector, (cases, sizes), NaN where a case has fewer candidates than N.

    `sampling_errors` are the standard errors of the selectors that are sampled, of the same shape.
    """

    sizes: list[int]
    values: dict[str, np.ndarray]
    sampling_errors: dict[str, np.ndarray]
    num_candidates: np.ndarray
    group_ids: list[str]

    def enough(self, size: int) -> np.ndarray:
        """Numbers of the cases with at least `size` candidates."""
        return np.flatnonzero(self.num_candidates >= size)

    def at(self, name: str, size: int) -> np.ndarray:
        """The selector's values of those cases."""
        return self.values[name][self.enough(size), self.sizes.index(size)]


class BestOfN(NamedTuple):
    """Estimates by selector and N; `left_out` counts the cases with fewer than N candidates.

    `sampling_errors`: by sampled selector and N, what the sampling of subsets leaves of error in the mean.
    """

    pass_at_1: Estimate
    estimates: dict[str, dict[str, Estimate]]
    gap_closed: dict[str, dict[str, Estimate]]
    versus_majority: dict[str, dict[str, Estimate]]
    left_out: dict[str, int]
    sampling_errors: dict[str, dict[str, float]]


def best_of_n_estimates(curves: Curves, resampling: Resampling) -> BestOfN:
    """All selectors at every N that some case reaches."""
    sizes, has_answers = curves.sizes, "majority" in curves.values
    first = curves.values["random"][:, sizes.index(1)]
    pass_at_1 = estimate_mean(first, resampling.clusters(curves.group_ids), resampling.weights)
    estimates: dict[str, dict[str, Estimate]] = {name: {} for name in curves.values}
    selectors = [name for name in curves.values if name not in ("oracle", "random")]
    gap_closed: dict[str, dict[str, Estimate]] = {name: {} for name in selectors}
    versus: dict[str, dict[str, Estimate]] = {name: {} for name in selectors if name != "majority"}
    for size in sizes:
        enough = curves.enough(size)
        clusters = resampling.clusters([curves.group_ids[i] for i in enough])
        at_size = {name: curves.at(name, size) for name in curves.values}
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
    left_out = {str(size): int((curves.num_candidates < size).sum()) for size in sizes}
    return BestOfN(pass_at_1, estimates, gap_closed, versus if has_answers else {}, left_out, _errors_of_means(curves))


def _errors_of_means(curves: Curves) -> dict[str, dict[str, float]]:
    """The cases are sampled independently: the error of their mean is the root of summed squares over their number."""
    errors: dict[str, dict[str, float]] = {}
    for name, by_case in curves.sampling_errors.items():
        squares = {size: by_case[curves.enough(size), column] ** 2 for column, size in enumerate(curves.sizes)}
        errors[name] = {str(size): float(np.sqrt(one.sum()) / len(one)) for size, one in squares.items()}
    return errors


def selector_curves(candidates: CandidateSet, aggregation: str, settings: EvaluationSettings) -> Curves:
    """Every selector of every case at N = 1 and the N of the settings. `aggregation` is behind the weighted vote."""
    cases, most = candidates.cases, candidates.max_size
    wanted = range(1, most + 1) if settings.max_candidates is None else settings.max_candidates
    sizes = sorted({1, *(size for size in wanted if size <= most)})
    names = _selector_names(candidates)
    values = {name: np.full((len(cases), len(sizes)), np.nan) for name in names}
    errors = np.zeros((len(cases), len(sizes)))
    for row, case in enumerate(cases):
        within = [size for size in sizes if size <= len(case.is_correct)]
        found, sampling_error = _of_case(case, row, within, names, aggregation, settings)
        for name, of_case in found.items():
            values[name][row, : len(within)] = of_case
        errors[row, : len(within)] = sampling_error
    num_candidates = np.array([len(case.is_correct) for case in cases])
    sampling_errors = {WEIGHTED_VOTE: errors} if WEIGHTED_VOTE in names else {}
    return Curves(sizes, values, sampling_errors, num_candidates, [case.group_id for case in cases])


def best_of_all_estimates(
    candidates: CandidateSet, aggregation: str, settings: EvaluationSettings, resampling: Resampling
) -> dict[str, Estimate]:
    """Every selector given all candidates that each case has, be they few or many: no case is left out."""
    names, clusters = _selector_names(candidates), resampling.clusters([case.group_id for case in candidates.cases])
    by_case = [
        _of_case(case, row, [len(case.is_correct)], names, aggregation, settings)[0]
        for row, case in enumerate(candidates.cases)
    ]
    return {
        name: estimate_mean(np.array([float(found[name][0]) for found in by_case]), clusters, resampling.weights)
        for name in names
    }


def _selector_names(candidates: CandidateSet) -> tuple[str, ...]:
    votes_names = ("majority", WEIGHTED_VOTE) if candidates.has_answers else ()
    return (*candidates.rankers, *votes_names, "oracle", "random")


def _of_case(
    case: Candidates, row: int, sizes: list[int], names: Sequence[str], aggregation: str, settings: EvaluationSettings
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Expected correctness of every selector at these N, (M,) each, and the sampling error of the weighted vote."""
    greedy, truth = settings.greedy_first, case.is_correct
    found = {
        "oracle": best_of_n.oracle(truth, sizes, greedy),
        "random": best_of_n.random_pick(truth, sizes, greedy),
    }
    errors = np.zeros(len(sizes))
    for name in names:
        if name == "majority":
            found[name] = votes.majority_vote(case.answers, truth, sizes, greedy)
        elif name == WEIGHTED_VOTE:
            found[name], errors = votes.weighted_vote(
                *(case.scores[aggregation], case.answers, truth, sizes),
                *(settings.num_vote_subsets, [settings.seed, row], greedy),
            )
        elif name not in found:
            found[name] = best_of_n.best_of_n(case.scores[name], truth, sizes, greedy)
    return {name: found[name] for name in names}, errors


def shown_size(sizes: Sequence[int]) -> int:
    """The N of tables that show one: 8, or the largest there is."""
    return 8 if 8 in sizes else max(sizes)
