"""PRM-guided search: step-level beam search and diverse verifier tree search (DVTS) against a policy.

In: a case, a policy that draws one step at a time, a scorer of steps. Out: finished solutions with their scores, and
what they cost in sampled tokens. Sources: Snell et al. 2024 (arXiv 2408.03314, section 5: beam search against a PRM);
Beeching et al. 2024 (Scaling test-time compute with open models: DVTS).

Every round each kept prefix gets `branch` next steps, all candidates are scored in one call, and N / branch are kept:
the best of all (beam), or the best of each tree (dvts). A finished solution competes with its score and is not
continued. Equal prefixes of a beam are one. The first round draws N steps from the case alone.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from medprm.annotation.counts import Drawn
from medprm.annotation.rollouts import Policy
from medprm.cases.schema import Case
from medprm.cases.steps import split_steps
from medprm.evaluation.search_settings import SearchSettings
from medprm.scoring.aggregate import AGGREGATORS

Score = Callable[[Case, Sequence[Sequence[str]]], list[list[float]]]
"""Step scores of several step lists of a case."""


class Beam(NamedTuple):
    """A prefix or, where `is_final`, a whole solution; `step_scores` has one number a step."""

    steps: tuple[str, ...]
    is_final: bool = False
    step_scores: tuple[float, ...] = ()


class Found(NamedTuple):
    """What a search came to; `num_tokens` were sampled, `num_scored` step lists were read by the PRM.

    `num_cut`: steps that did not end in time; `num_open`: prefixes that had not come to an end after the last round.
    """

    solutions: list[Beam]
    num_tokens: int
    num_scored: int
    num_cut: int
    num_open: int


def search(
    case: Case,
    policy: Policy,
    score: Score,
    method: str,
    num_candidates: int,
    aggregation: str,
    settings: SearchSettings,
) -> Found:
    """The finished solutions of one case, at most N / branch, the best by `aggregation` first."""
    keep = AGGREGATORS[settings.keep_by or aggregation]
    width = num_candidates // settings.branch
    kept: list[Beam | None] = [Beam(())] * width  # None: a tree all of whose steps were cut
    num_tokens = num_scored = num_cut = 0
    for number in range(settings.max_steps):
        drawn = _next_steps(case, kept, policy, settings.branch, number)
        num_tokens += sum(one.num_tokens for tree in drawn for one in tree)
        num_cut += sum(one.is_truncated for tree in drawn for one in tree)
        trees = [_grown(beam, steps) for beam, steps in zip(kept, drawn, strict=True)]
        fresh = list(dict.fromkeys(one for tree in trees for one in tree if not one.step_scores))
        if not fresh:
            break
        num_scored += len(fresh)
        scores = dict(zip(fresh, score(case, [one.steps for one in fresh]), strict=True))
        scored = [[_scored(one, scores) for one in tree] for tree in trees]
        if method == "dvts":
            kept = [max(tree, key=lambda one: keep(one.step_scores), default=None) for tree in scored]
        else:
            pool = list(dict.fromkeys(one for tree in scored for one in tree))
            kept = sorted(pool, key=lambda one: -keep(one.step_scores))[:width]  # type: ignore[assignment]
    finished = [one for one in kept if one is not None and one.is_final]
    num_open = sum(one is not None and not one.is_final for one in kept)
    finished.sort(key=lambda one: -AGGREGATORS[aggregation](one.step_scores))
    return Found(finished, num_tokens, num_scored, num_cut, num_open)


def _next_steps(case: Case, kept: Sequence[Beam | None], policy: Policy, branch: int, number: int) -> list[list[Drawn]]:
    """`branch` draws for each prefix that is not finished; prefixes that are equal share what is drawn of them."""
    places: dict[tuple[str, ...], list[int]] = {}
    for place, beam in enumerate(kept):
        if beam is not None and not beam.is_final:
            places.setdefault(beam.steps, []).append(place)
    found: list[list[Drawn]] = [[] for _ in kept]
    for size in sorted({len(one) for one in places.values()}):
        prefixes = [steps for steps, where in places.items() if len(where) == size]
        for steps, drawn in zip(prefixes, policy.draw(case, prefixes, size * branch, number), strict=True):
            each = [one._replace(count=1) for one in drawn for _ in range(one.count)]
            # A policy in this process gives short texts first: trees must not get them by their number.
            order = np.random.default_rng(_seed(case, steps, number)).permutation(len(each))
            for tree, place in enumerate(places[steps]):
                found[place] = [each[index] for index in order[tree * branch : (tree + 1) * branch]]
    return found


def _grown(beam: Beam | None, drawn: Sequence[Drawn]) -> list[Beam]:
    """The prefix with each of its next steps; a finished one as it is. Nothing more to say is the end of it."""
    if beam is None or beam.is_final:
        return [] if beam is None else [beam]
    grown = []
    for one in drawn:
        said = tuple(split_steps(one.text))
        if not one.is_truncated and (said or beam.steps):
            is_final = not one.goes_on
            grown.append(Beam(beam.steps + said, is_final, beam.step_scores if not said else ()))
    return grown


def _scored(beam: Beam, scores: dict[Beam, list[float]]) -> Beam:
    return beam._replace(step_scores=tuple(scores[beam])) if beam in scores else beam


def _seed(case: Case, steps: Sequence[str], number: int) -> int:
    return int.from_bytes(hashlib.sha256(repr((case.case_id, tuple(steps), number)).encode()).digest()[:8], "big")


class Pool(NamedTuple):
    """Solutions of a case that were drawn whole, (n,) each; `answers` None where unparsed."""

    num_tokens: np.ndarray
    scores: np.ndarray
    is_correct: np.ndarray
    answers: Sequence[str | None]


class AtTokens(NamedTuple):
    """What a budget of tokens buys without search, as expectations over random orders of the pool."""

    best_of_n: float
    majority: float
    num_candidates: float
    num_tokens: float
    is_short: bool


def at_equal_tokens(pool: Pool, budget: int, num_orders: int, seed: int) -> AtTokens:
    """Best-of-N and majority vote with the first candidates of a random order whose tokens reach the budget.

    The candidate that passes the budget is counted in, so that the other side never has fewer tokens than the search.
    `is_short`: the whole pool has fewer. Ties are shared evenly.
    """
    generator = np.random.default_rng(seed)
    sums = np.zeros(4)
    for _ in range(num_orders):
        order = generator.permutation(len(pool.scores))
        tokens = np.cumsum(pool.num_tokens[order])
        size = min(len(order), int(np.searchsorted(tokens, budget)) + 1)
        picked = order[:size]
        best = pool.scores[picked] >= pool.scores[picked].max() - 1e-12
        sums += (
            float(pool.is_correct[picked][best].mean()),
            _majority(picked, pool),
            size,
            float(tokens[size - 1]),
        )
    return AtTokens(*(sums / num_orders).tolist(), is_short=bool(pool.num_tokens.sum() < budget))


def _majority(picked: np.ndarray, pool: Pool) -> float:
    """Share of right ones among the commonest answers; unparsed answers never win."""
    votes: dict[str, list[float]] = {}
    for index in picked:
        answer = pool.answers[index]
        if answer is not None:
            votes.setdefault(answer, []).append(float(pool.is_correct[index]))
    if not votes:
        return 0.0
    most = max(map(len, votes.values()))
    return float(np.mean([np.mean(one) for one in votes.values() if len(one) == most]))
