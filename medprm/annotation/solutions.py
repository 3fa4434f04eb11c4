"""Candidate solutions for cases that have none.

In: a case, policies. Out: solutions with steps, answer, outcome and the name of who made them. What a policy wrote is
split into steps once and never again; texts that were cut off or have too few or too many steps are drawn again, and
counted. Solutions that are alike stay: how often a policy says the same is what majority vote counts.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medprm.annotation.counts import Drawn
from medprm.annotation.rollouts import Drawing, Policy
from medprm.annotation.settings import MonteCarloSettings, SolutionSettings
from medprm.cases.answers import AnswerMatcher
from medprm.cases.schema import Case, Solution, Step
from medprm.cases.steps import split_steps

STAGE = "solutions"


class Maker(NamedTuple):
    """One policy as it draws, and as it takes the likeliest token each time (None: not asked for)."""

    policy: Policy
    greedy: Policy | None


class Made(NamedTuple):
    """The solutions of a case; texts that were not used, by reason; how many solutions are missing in the end."""

    solutions: list[Solution]
    not_used: Counter[str]
    num_missing: int


def solution_drawing(settings: SolutionSettings, monte_carlo: MonteCarloSettings, is_greedy: bool) -> Drawing:
    """How solutions are drawn."""
    temperature = 0.0 if is_greedy else settings.temperature
    return Drawing(temperature, settings.max_new_tokens, STAGE, monte_carlo.continuation, monte_carlo.batch_prefixes)


def make_solutions(case: Case, makers: Sequence[Maker], settings: SolutionSettings, answers: AnswerMatcher) -> Made:
    """`settings.num` solutions of each policy, a greedy one first where there is one, the others in random order."""
    found: list[Solution] = []
    not_used: Counter[str] = Counter()
    for maker in makers:
        first = _usable(maker.greedy.draw(case, [()], 1, 0)[0], settings, not_used) if maker.greedy else []
        others: list[list[str]] = []
        for number in range(settings.max_rounds):
            wanted = settings.num - len(first) - len(others)
            if wanted:
                others += _usable(maker.policy.draw(case, [()], wanted, number)[0], settings, not_used)
        for steps in [*first, *_shuffled(others, case.case_id)]:
            found.append(_solution(case, maker.policy.name, steps, len(found), answers))
    return Made(found, not_used, len(makers) * settings.num - len(found))


def _usable(drawn: Sequence[Drawn], settings: SolutionSettings, not_used: Counter[str]) -> list[list[str]]:
    """The steps of each text, as often as it was drawn."""
    kept = []
    for one in drawn:
        steps, count = split_steps(one.text), one.count
        if one.is_truncated:
            not_used["cut off at max_new_tokens"] += count
        elif len(steps) < settings.min_steps:
            not_used[f"fewer than {settings.min_steps} steps"] += count
        elif len(steps) > settings.max_steps:
            not_used[f"more than {settings.max_steps} steps"] += count
        else:
            kept += [steps] * count
    return kept


def _shuffled(texts: Sequence[list[str]], case_id: str) -> list[list[str]]:
    """A policy in this process gives short texts first: their place would say something of them."""
    seed = int.from_bytes(hashlib.sha256(case_id.encode()).digest()[:8], "big")
    return [texts[place] for place in np.random.default_rng(seed).permutation(len(texts))]


def _solution(case: Case, generator: str, steps: Sequence[str], number: int, answers: AnswerMatcher) -> Solution:
    answer = answers.read(case, steps[-1])
    return Solution(
        solution_id=f"{case.case_id}-{number}",
        generator=generator,
        answer=answer,
        is_correct=answers.is_right(case, answer),
        solution_steps=tuple(Step(step_id=place, content=text) for place, text in enumerate(steps)),
    )
