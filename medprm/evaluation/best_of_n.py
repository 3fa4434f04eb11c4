"""Best-of-N: the exact expectation, over all subsets of N of a case's n candidates, that the picked answer is right.

In: scores, answers and correctness of one case's candidates. Out: one number per N, so that intervals and paired
differences by patient follow. No sampling of subsets, except for the score-weighted vote.
Sources: Chen et al. 2021 (pass@k, the unbiased estimator); Wang et al. 2023 (self-consistency, majority vote).

A selector that ranks by score picks rank r where r is in the subset and everything above it is not. Ties in score
are shared evenly among the tied candidates of the subset.
Axes: n candidates of the case, M values of N.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

Answer = str | None


@lru_cache(maxsize=4096)
def _subset_shares(num_total: int, num_picked: int) -> np.ndarray:
    """Share of subsets that lie within m given candidates: C(m, N) / C(n, N) for m = 0 ... n, (n + 1,)."""
    total = math.comb(num_total, num_picked)
    shares = np.array([math.comb(m, num_picked) / total for m in range(num_total + 1)])
    shares.setflags(write=False)
    return shares


def selection_probabilities(scores: np.ndarray, num_picked: int) -> np.ndarray:
    """Probability that each candidate is the top scorer of a random subset of N: (n,), sums to 1."""
    scores = np.asarray(scores, dtype=np.float64)
    assert 1 <= num_picked <= len(scores), f"N = {num_picked} of {len(scores)} candidates"
    _, tie_group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    upto = np.cumsum(sizes)
    shares = _subset_shares(len(scores), num_picked)
    return ((shares[upto] - shares[upto - sizes]) / sizes)[tie_group]


def best_of_n(scores: np.ndarray, is_correct: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Expected correctness of the top scorer for each N in `sizes`: (M,)."""
    truth = np.asarray(is_correct, dtype=np.float64)
    return np.array([selection_probabilities(scores, size) @ truth for size in sizes])


def pass_at_1(is_correct: np.ndarray) -> float:
    """Share of right candidates: what one candidate, or a random pick of any N, gives."""
    return float(np.mean(is_correct))


def oracle(is_correct: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Probability that a subset holds at least one right candidate: (M,)."""
    num_total, num_wrong = len(is_correct), int(len(is_correct) - np.sum(is_correct))
    return np.array([1 - math.comb(num_wrong, size) / math.comb(num_total, size) for size in sizes])


def normalise_answer(answer: Answer) -> Answer:
    """Answers vote together where they are equal but for case and spaces; an empty one is unparsed."""
    return " ".join(answer.casefold().split()) or None if answer is not None else None


def majority_vote(answers: Sequence[Answer], is_correct: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Expected correctness of the commonest answer for each N in `sizes`: (M,), exact.

    Ties are shared evenly among the tied answers. Unparsed answers (None) never win; a subset of nothing else is wrong.
    Where candidates of one answer differ in correctness, the answer counts as their share of right ones.
    """
    groups: dict[str, list[float]] = {}
    for answer, truth in zip(map(normalise_answer, answers), is_correct, strict=True):
        if answer is not None:
            groups.setdefault(answer, []).append(float(truth))
    parsed = tuple(sorted((len(truths), sum(truths) / len(truths)) for truths in groups.values()))
    by_size = _majority_by_size(parsed, len(answers) - sum(count for count, _ in parsed), max(sizes))
    return by_size[list(sizes)]


@lru_cache(maxsize=4096)
def _majority_by_size(parsed: tuple[tuple[int, float], ...], num_unparsed: int, max_size: int) -> np.ndarray:
    """Exact majority vote for every N = 0 ... max_size, from (count, share right) of each answer: (max_size + 1,).

    For each winning count k, `plain[N, t]` counts the subsets of N among the answers seen so far where none exceeds k
    and t have exactly k; `marked` sums over the answers that reach k the same counts times the answer's share right.
    The expectation is the sum of marked[N, t] / t, over the number of subsets: a tie of t shares its win.
    """
    num_total = sum(count for count, _ in parsed) + num_unparsed
    won = np.zeros(max_size + 1)
    for top in range(1, min(max_size, max((count for count, _ in parsed), default=0)) + 1):
        max_tied = min(max_size // top, len(parsed))
        plain = np.zeros((max_size + 1, max_tied + 1))
        marked = np.zeros_like(plain)
        for number in range(min(num_unparsed, max_size) + 1):
            plain[number, 0] = math.comb(num_unparsed, number)
        for count, share_right in parsed:
            next_plain, next_marked = np.zeros_like(plain), np.zeros_like(plain)
            for number in range(min(count, top - 1) + 1):
                ways, kept = math.comb(count, number), max_size + 1 - number
                next_plain[number:] += ways * plain[:kept]
                next_marked[number:] += ways * marked[:kept]
            if count >= top:
                ways, kept = math.comb(count, top), max_size + 1 - top
                next_plain[top:, 1:] += ways * plain[:kept, :-1]
                next_marked[top:, 1:] += ways * (marked[:kept, :-1] + share_right * plain[:kept, :-1])
            plain, marked = next_plain, next_marked
        won += (marked[:, 1:] / np.arange(1, max_tied + 1)).sum(axis=1)
    totals = np.array([float(math.comb(num_total, size)) or np.nan for size in range(max_size + 1)])
    won = won / totals
    won.setflags(write=False)
    return won


def weighted_vote(
    scores: np.ndarray,
    answers: Sequence[Answer],
    is_correct: np.ndarray,
    sizes: Sequence[int],
    num_subsets: int,
    seed: int | list[int],
) -> np.ndarray:
    """Expected correctness of the answer with the highest sum of scores for each N in `sizes`: (M,).

    Mean over `num_subsets` random orders, whose first N are a random subset: at one case its standard error is at most
    0.5 / sqrt(num_subsets). Ties and unparsed answers as in `majority_vote`.
    """
    names = [normalise_answer(answer) for answer in answers]
    words = list(dict.fromkeys(name for name in names if name is not None))
    if not words:
        return np.zeros(len(sizes))
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(is_correct, dtype=np.float64)
    member = np.array([[name == word for word in words] for name in names])
    share_right = (member * truth[:, None]).sum(axis=0) / member.sum(axis=0)
    orders = np.random.default_rng(seed).random((num_subsets, len(scores))).argsort(axis=1)
    votes = np.zeros((num_subsets, len(words)))
    num_votes = np.zeros_like(votes)
    results: dict[int, float] = {}
    for place in range(max(sizes)):
        picked = orders[:, place]
        votes += scores[picked, None] * member[picked]
        num_votes += member[picked]
        if place + 1 in sizes:
            # An answer that nobody gave has no vote at all, which is less than a vote of score 0.
            heard = np.where(num_votes > 0, votes, -np.inf)
            best = heard.max(axis=1, keepdims=True)
            # Sums of the same scores in another order differ by rounding; they are ties all the same.
            winners = (heard >= best - 1e-9) & (num_votes > 0)
            share = (winners * share_right).sum(axis=1) / np.maximum(winners.sum(axis=1), 1)
            results[place + 1] = float(share.mean())
    # One candidate needs no sampling.
    results[1] = float((member @ share_right).mean())
    return np.array([results[size] for size in sizes])
