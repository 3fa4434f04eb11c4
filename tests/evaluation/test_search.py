"""Search against a policy whose every step is known: what is kept, what it costs, and what the same tokens buy."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from medprm.annotation.counts import Drawn
from medprm.cases.schema import Case
from medprm.errors import InputError
from medprm.evaluation.search import Pool, at_equal_tokens, search
from medprm.evaluation.search_settings import SearchSettings

CASE = Case(case_id="c1", modality="text", question="?")
NUM_STEPS = 3


class Digits:
    """Draws the digits 0 to 9 in turn, one token a step; after `NUM_STEPS` steps a solution has ended."""

    name = "digits"

    def __init__(self) -> None:
        self.next = itertools.count()
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def draw(self, case: Case, prefixes: Sequence[tuple[str, ...]], num: int, number: int) -> list[list[Drawn]]:
        self.asked += [(one, num) for one in prefixes]
        return [
            [Drawn(f"{next(self.next) % 10}\n", 1, False, 1, goes_on=len(one) < NUM_STEPS - 1) for _ in range(num)]
            for one in prefixes
        ]


def digits(case: Case, solutions: Sequence[Sequence[str]]) -> list[list[float]]:
    """A step scores by its digit."""
    return [[int(step) / 10 for step in steps] for steps in solutions]


def test_a_beam_keeps_the_best_of_all() -> None:
    policy = Digits()
    found = search(CASE, policy, digits, "beam", 8, "last", SearchSettings(branch=4))
    first = [one for one in policy.asked if not one[0]]
    assert first == [((), 8)], "the first round draws N from the case"
    second = [steps for steps, _ in policy.asked if len(steps) == 1]
    assert sorted(second) == [("6",), ("7",)], "of the digits 0 to 7 the two best go on"
    assert all(num == 4 for steps, num in policy.asked if steps)
    assert found.num_tokens == 8 + 8 + 8
    assert len(found.solutions) == 2
    assert found.num_open == found.num_cut == 0
    scores = [one.step_scores[-1] for one in found.solutions]
    assert scores == sorted(scores, reverse=True)
    for one in found.solutions:
        assert list(one.step_scores) == [int(step) / 10 for step in one.steps]


def test_dvts_keeps_the_best_of_each_tree() -> None:
    policy = Digits()
    search(CASE, policy, digits, "dvts", 8, "last", SearchSettings(branch=4))
    second = [int(steps[0]) for steps, _ in policy.asked if len(steps) == 1]
    assert len(second) == 2
    assert max(second) == 7
    # The other tree has four other digits: its best is at least the third best of eight.
    assert 3 <= min(second) <= 6


def test_a_finished_solution_is_not_continued_and_competes() -> None:
    class Early(Digits):
        def draw(self, case: Case, prefixes: Sequence[tuple[str, ...]], num: int, number: int) -> list[list[Drawn]]:
            self.asked += [(one, num) for one in prefixes]
            text = ["9" if place == 0 else "1" for place in range(num)]
            return [[Drawn(one, 1, False, 1, goes_on=one == "1" and number < 2) for one in text] for _ in prefixes]

    policy = Early()
    found = search(CASE, policy, digits, "beam", 8, "mean", SearchSettings(branch=4))
    assert found.solutions[0].steps == ("9",)
    assert not [steps for steps, _ in policy.asked if steps[:1] == ("9",)]


def test_cut_steps_and_endless_solutions_are_counted() -> None:
    class Endless(Digits):
        def draw(self, case: Case, prefixes: Sequence[tuple[str, ...]], num: int, number: int) -> list[list[Drawn]]:
            return [[Drawn("5", 1, place == 0, 1, goes_on=True) for place in range(num)] for _ in prefixes]

    found = search(CASE, Endless(), digits, "dvts", 4, "mean", SearchSettings(branch=4, max_steps=3))
    assert not found.solutions
    assert (found.num_open, found.num_cut, found.num_tokens) == (1, 3, 12)


def test_equal_tokens_are_never_fewer_and_best_of_n_is_exact() -> None:
    pool = Pool(
        num_tokens=np.array([10, 10, 10, 10]),
        scores=np.array([0.1, 0.2, 0.3, 0.4]),
        is_correct=np.array([False, True, False, True]),
        answers=["a", "b", "a", "b"],
    )
    # Two of four: the best is right where it is 0.4 (3 of 6 pairs) or 0.2 (1 of 6).
    found = at_equal_tokens(pool, 20, 4000, seed=0)
    assert found.num_candidates == 2
    assert found.num_tokens == 20
    assert found.best_of_n == pytest.approx(4 / 6, abs=0.03)  # 4 standard errors of 4000 orders
    assert found.majority == pytest.approx(0.5, abs=0.03)
    assert at_equal_tokens(pool, 11, 10, seed=0).num_candidates == 2, "the one that passes the budget counts"
    assert at_equal_tokens(pool, 1000, 10, seed=0).is_short
    assert at_equal_tokens(pool, 1000, 10, seed=0).best_of_n == 1.0


def test_settings_say_what_is_wrong() -> None:
    for given in ({"num_candidates": [6]}, {"methods": ["best"]}, {"temperature": 0.0}, {"keep_by": "median"}):
        with pytest.raises(InputError, match=r"search\."):
            SearchSettings(**given)  # type: ignore[arg-type]
