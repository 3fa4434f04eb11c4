"""Best-of-N: the exact expectation, over all subsets of N of a case's n candidates, that the picked answer is right.

In: scores and correctness of one case's candidates. Out: one number per N, so that intervals and paired differences by
patient follow. No sampling of subsets.
Source: Chen et al. 2021 (pass@k, the unbiased estimator).

A selector that ranks by score picks rank r where r is in the subset and everything above it is not. Ties in score
are shared evenly among the tied candidates of the subset. With `greedy_first` the first candidate was decoded greedily
and is in every subset (VLMEvalKit's Best-of-N for InternVL2.5): only the other N - 1 are drawn.
Axes: n candidates of the case, M values of N.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=4096)
def _subset_shares(num_total: int, num_picked: int) -> np.ndarray:
    """Share of subsets that lie within m given candidates: C(m, N) / C(n, N) for m = 0 ... n, (n + 1,)."""
    total = math.comb(num_total, num_picked)
    shares = np.array([math.comb(m, num_picked) / total for m in range(num_total + 1)])
    shares.setflags(write=False)
    return shares


def selection_probabilities(scores: np.ndarray, num_picked: int, greedy_first: bool = False) -> np.ndarray:
    """Probability that each candidate is the top scorer of a random subset of N: (n,), sums to 1."""
    scores = np.asarray(scores, dtype=np.float64)
    assert 1 <= num_picked <= len(scores), f"N = {num_picked} of {len(scores)} candidates"
    if greedy_first:
        return _with_first(scores, num_picked)
    _, tie_group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    upto = np.cumsum(sizes)
    shares = _subset_shares(len(scores), num_picked)
    return ((shares[upto] - shares[upto - sizes]) / sizes)[tie_group]


def _with_first(scores: np.ndarray, num_picked: int) -> np.ndarray:
    """The same over the subsets that hold the first candidate."""
    first, others = scores[0], scores[1:]
    if num_picked == 1:
        return np.eye(1, len(scores))[0]
    picked = selection_probabilities(others, num_picked - 1)
    # A candidate below the first never wins; one equal to it shares with it and with the other equals drawn.
    result = np.r_[0.0, np.where(others > first, picked, 0.0)]
    is_tied, num_below = others == first, int((others < first).sum())
    num_tied, total = int(is_tied.sum()), math.comb(len(others), num_picked - 1)
    for drawn in range(min(num_tied, num_picked - 1) + 1):
        ways = math.comb(num_tied, drawn) * math.comb(num_below, num_picked - 1 - drawn)
        share = ways / total / (drawn + 1)
        result[0] += share
        result[1:] += is_tied * (share * drawn / max(num_tied, 1))
    return result


def best_of_n(
    scores: np.ndarray, is_correct: np.ndarray, sizes: Sequence[int], greedy_first: bool = False
) -> np.ndarray:
    """Expected correctness of the top scorer for each N in `sizes`: (M,)."""
    truth = np.asarray(is_correct, dtype=np.float64)
    return np.array([selection_probabilities(scores, size, greedy_first) @ truth for size in sizes])


def pass_at_1(is_correct: np.ndarray) -> float:
    """Share of right candidates: what one candidate, or a random pick of any N, gives."""
    return float(np.mean(is_correct))


def random_pick(is_correct: np.ndarray, sizes: Sequence[int], greedy_first: bool = False) -> np.ndarray:
    """Expected correctness of a candidate picked blindly from the subset: (M,)."""
    return best_of_n(np.zeros(len(is_correct)), is_correct, sizes, greedy_first)


def oracle(is_correct: np.ndarray, sizes: Sequence[int], greedy_first: bool = False) -> np.ndarray:
    """Probability that a subset holds at least one right candidate: (M,)."""
    return best_of_n(np.asarray(is_correct, dtype=np.float64), is_correct, sizes, greedy_first)
