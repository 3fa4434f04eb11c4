"""Votes among the N candidates of a subset: majority vote, exact, and the vote weighted by scores, sampled.

In: answers, scores and correctness of one case's candidates. Out: expected correctness per N.
Ties are shared evenly among the tied answers. Unparsed answers (None) never win; a subset of nothing else is wrong.
Where candidates of one answer differ in correctness, the answer counts as their share of right ones.
With `greedy_first` the first candidate is in every subset (see best_of_n.py).
Sources: Wang et al. 2023 (self-consistency); Li et al. 2023 (votes weighted by a verifier; Med-PRM's SC + RM).
Axes: n candidates of the case, M values of N, R sampled orders, W distinct answers.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

Answer = str | None


def normalise_answer(answer: Answer) -> Answer:
    """Answers vote together where they are equal but for case and spaces; an empty one is unparsed."""
    return " ".join(answer.casefold().split()) or None if answer is not None else None


class _AnswerCount(NamedTuple):
    """Candidates that gave one answer, their share of right ones, and whether the first candidate is among them."""

    count: int
    share_right: float
    has_first: bool


def majority_vote(
    answers: Sequence[Answer], is_correct: np.ndarray, sizes: Sequence[int], greedy_first: bool = False
) -> np.ndarray:
    """Expected correctness of the commonest answer for each N in `sizes`: (M,), exact."""
    names = list(map(normalise_answer, answers))
    groups: dict[str, list[float]] = {}
    for name, truth in zip(names, is_correct, strict=True):
        if name is not None:
            groups.setdefault(name, []).append(float(truth))
    first = names[0] if greedy_first else None
    parsed = tuple(
        sorted(_AnswerCount(len(truths), sum(truths) / len(truths), name == first) for name, truths in groups.items())
    )
    num_unparsed = len(names) - sum(one.count for one in parsed)
    unparsed = _AnswerCount(num_unparsed, 0.0, greedy_first and names[0] is None)
    return _majority_by_size(parsed, unparsed, max(sizes))[list(sizes)]


def _ways(group: _AnswerCount, number: int) -> int:
    """In how many ways `number` of the answer's candidates are in a subset."""
    if not group.has_first:
        return math.comb(group.count, number)
    return math.comb(group.count - 1, number - 1) if number > 0 else 0


@lru_cache(maxsize=4096)
def _majority_by_size(parsed: tuple[_AnswerCount, ...], unparsed: _AnswerCount, max_size: int) -> np.ndarray:
    """Exact majority vote for every N = 0 ... max_size: (max_size + 1,).

    For each winning count k, `plain[N, t]` counts the subsets of N among the answers seen so far where none exceeds k
    and t have exactly k; `marked` sums over the answers that reach k the same counts times the answer's share right.
    The expectation is the sum of marked[N, t] / t, over the number of subsets: a tie of t shares its win.
    """
    every = [*parsed, unparsed]
    has_first, num_total = any(one.has_first for one in every), sum(one.count for one in every)
    won = np.zeros(max_size + 1)
    for top in range(1, min(max_size, max((one.count for one in parsed), default=0)) + 1):
        max_tied = min(max_size // top, len(parsed))
        plain = np.zeros((max_size + 1, max_tied + 1))
        marked = np.zeros_like(plain)
        for number in range(min(unparsed.count, max_size) + 1):
            plain[number, 0] = _ways(unparsed, number)
        for group in parsed:
            next_plain, next_marked = np.zeros_like(plain), np.zeros_like(plain)
            for number in range(min(group.count, top - 1) + 1):
                ways, kept = _ways(group, number), max_size + 1 - number
                next_plain[number:] += ways * plain[:kept]
                next_marked[number:] += ways * marked[:kept]
            if group.count >= top:
                ways, kept = _ways(group, top), max_size + 1 - top
                next_plain[top:, 1:] += ways * plain[:kept, :-1]
                next_marked[top:, 1:] += ways * (marked[:kept, :-1] + group.share_right * plain[:kept, :-1])
            plain, marked = next_plain, next_marked
        won += (marked[:, 1:] / np.arange(1, max_tied + 1)).sum(axis=1)
    subsets = [math.comb(num_total - has_first, size - has_first) if size > 0 else 1 for size in range(max_size + 1)]
    won = won / np.array([float(one) or np.nan for one in subsets])
    won.setflags(write=False)
    return won


class Sampled(NamedTuple):
    """Expected correctness for each N, (M,), and the standard error that the sampling of subsets leaves in it, (M,)."""

    mean: np.ndarray
    standard_error: np.ndarray


def weighted_vote(
    scores: np.ndarray,
    answers: Sequence[Answer],
    is_correct: np.ndarray,
    sizes: Sequence[int],
    num_subsets: int,
    seed: int | list[int],
    greedy_first: bool = False,
) -> Sampled:
    """Expected correctness of the answer with the highest sum of scores for each N in `sizes`.

    Mean over `num_subsets` random orders, whose first N are a random subset. At N = 1 and N = n it is exact.
    """
    names = [normalise_answer(answer) for answer in answers]
    words = list(dict.fromkeys(name for name in names if name is not None))
    nothing = np.zeros(len(sizes))
    if not words:
        return Sampled(nothing, nothing)
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(is_correct, dtype=np.float64)
    member = np.array([[name == word for word in words] for name in names])
    share_right = (member * truth[:, None]).sum(axis=0) / member.sum(axis=0)
    keys = np.random.default_rng(seed).random((num_subsets, len(scores)))
    if greedy_first:
        keys[:, 0] = -1
    orders = keys.argsort(axis=1)
    votes = np.zeros((num_subsets, len(words)))
    num_votes = np.zeros_like(votes)
    shares: dict[int, np.ndarray] = {}
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
            shares[place + 1] = (winners * share_right).sum(axis=1) / np.maximum(winners.sum(axis=1), 1)
    # One candidate needs no sampling.
    shares[1] = (member @ share_right)[: 1 if greedy_first else None]
    means = np.array([shares[size].mean() for size in sizes])
    errors = [0.0 if size in (1, len(scores)) else shares[size].std() / math.sqrt(num_subsets) for size in sizes]
    return Sampled(means, np.array(errors))
