"""Ranking, budget, and the fit to what experts have said."""

import numpy as np

from medprm.annotation.calibration import step_chances
from medprm.annotation.expert_queue import (
    QueuedStep,
    StepKey,
    believed_chance,
    pick_queue,
    rank_steps,
)
from medprm.annotation.settings import ExpertSettings
from medprm.cases.schema import ExpertVerdict, Label


def step(
    number: int, judge: Label = "correct", right: int = 16, label: Label = "unknown", **more: object
) -> QueuedStep:
    values = {
        "key": StepKey("case", f"s{number}", 0), "group_id": f"p{number}", "category": "observation", "judge": judge,
        "has_citation": False, "num_correct": right, "num_wrong": 32 - right, "outcome": "unknown",
        "is_answer": False, "label": label,
    }  # fmt: skip
    return QueuedStep(**(values | more))  # type: ignore[arg-type]


def test_the_least_certain_come_first_and_the_budget_caps() -> None:
    steps = [step(0, "correct", 32), step(1, "incorrect", 24), step(2, "incorrect", 0), step(3, "correct", 12)]
    chances = [believed_chance(one) for one in steps]
    order = rank_steps(steps, chances, 0.98)
    assert set(order[:2]) == {1, 3} and set(order) == {0, 1, 2, 3}
    assert pick_queue(steps, order, ExpertSettings(max_share=0.5)) == order[:2]
    decided = [one._replace(label="correct") for one in steps]
    assert pick_queue(decided, order, ExpertSettings(max_share=1.0)) == []
    assert pick_queue(decided, order, ExpertSettings(steps="all")) == order
    assert pick_queue(decided, order, ExpertSettings(steps="ranked", max_share=0.75)) == order[:3]


def test_a_fit_learns_that_the_judge_is_blind() -> None:
    """In category `observation` the judge's + says nothing and the score all; elsewhere it is the other way round."""
    rng = np.random.default_rng(0)
    steps, experts = [], {}
    for number in range(800):
        blind, truth = bool(number % 2), rng.random() < 0.5
        right = (28 if truth else 4) if blind else 16
        judge: Label = "correct" if blind or truth else "incorrect"
        steps.append(step(number, judge, right, category="observation" if blind else "analysis"))
        if number < 400:
            verdict: Label = "correct" if truth else "incorrect"
            experts[steps[-1].key] = (ExpertVerdict(verdict=verdict, expert_id="a"),)
    chances, is_fitted = step_chances(steps, experts)
    assert is_fitted
    blind_wrong = [
        c for c, one in zip(chances, steps, strict=True) if one.category == "observation" and one.num_correct == 4
    ]
    seen_wrong = [c for c, one in zip(chances, steps, strict=True) if one.judge == "incorrect"]
    assert max(blind_wrong) < 0.2 and max(seen_wrong) < 0.2
    assert step_chances(steps, {})[1] is False
