"""The search for the first error, against all prefixes measured; what its records say, and what they refuse."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn import CASE, StoredPolicy, draw_outcomes

from medprm.annotation.consensus import UndecidedError, label_steps
from medprm.annotation.estimate import Planned, estimate_run
from medprm.annotation.first_error import measure_solutions, most_measured
from medprm.annotation.records import Making, as_record
from medprm.annotation.rollouts import Prefix, StepPrefix
from medprm.annotation.settings import (
    ConsensusSettings,
    ExpertSettings,
    JudgeSettings,
    MonteCarloSettings,
    RetrievalSettings,
    SolutionSettings,
)
from medprm.cases.schema import CaseSolutions, ExpertVerdict, JudgeVerdict, Label, MonteCarlo, Record, Solution, Step
from medprm.cases.settings import AnswerSettings
from medprm.clients.settings import ModelPrice
from medprm.config import AnnotateConfig
from medprm.encoding.settings import LabelSettings
from medprm.encoding.targets import step_targets
from medprm.errors import InputError

NUM = 8
SEARCH = MonteCarloSettings(num_rollouts=NUM, search="first_error")
VALUE = ConsensusSettings(rule="value")


def prefixes_of(*names: str, judge: Label = "correct") -> list[StepPrefix]:
    return [StepPrefix(names[: place + 1], judge) for place in range(len(names))]


def search(
    outcomes: dict[Prefix, list[str]], solutions: list[list[StepPrefix]], **changes: Any
) -> tuple[list[list[MonteCarlo | None]], StoredPolicy]:
    policy = StoredPolicy(outcomes)
    return measure_solutions(CASE, solutions, policy, replace(SEARCH, **changes), VALUE), policy


def first_wrong(runs: list[MonteCarlo | None]) -> int:
    """Place of the first measured prefix without a right rollout behind the last right one; their number: none."""
    right = max((place for place, run in enumerate(runs) if run and run.num_correct), default=-1)
    return next((place for place, run in enumerate(runs) if run and not run.num_correct and place > right), len(runs))


@pytest.mark.parametrize("stopping", ["exact", "fixed"])
@pytest.mark.parametrize("length", [1, 2, 4, 7, 8, 16])
def test_it_finds_the_first_error_with_few_prefixes(length: int, stopping: str) -> None:
    rng = np.random.default_rng(length)
    solutions, outcomes, errors = [], {}, []
    for number in range(40):
        solutions.append(prefixes_of(*(f"{number} {place}" for place in range(length))))
        errors.append(int(rng.integers(length + 1)))
        for place, one in enumerate(solutions[-1]):
            is_wrong = place >= errors[-1]
            outcomes[one.steps] = ["wrong"] * NUM if is_wrong else ["right", *draw_outcomes(rng, 0.3, NUM - 1)]
    found, policy = search(outcomes, solutions, stopping=stopping)
    assert [first_wrong(runs) for runs in found] == errors
    for runs, error in zip(found, errors, strict=True):
        measured = [place for place, run in enumerate(runs) if run]
        assert len(measured) <= most_measured(length)
        assert error == length or error in measured
        assert error == 0 or error - 1 in measured
    # Solutions are halved together: no more draws than rounds of the deepest one.
    assert len(policy.asked) <= most_measured(length) * 2 + 1 and len(policy.asked[0]) == 40


def test_shared_prefixes_are_measured_once_and_help_each_other() -> None:
    rng = np.random.default_rng(5)
    for _ in range(30):
        solutions = [
            prefixes_of("a", *(str(rng.integers(2)) for _ in range(6))) for _ in range(6)
        ]  # the branches of a tree
        prefixes = {one.steps for steps in solutions for one in steps}
        bad = {one for one in prefixes if rng.random() < 0.2}
        is_wrong = {one: any(one[:n] in bad for n in range(1, len(one) + 1)) for one in prefixes}
        outcomes = {one: ["wrong" if is_wrong[one] else "right"] * NUM for one in prefixes}
        found, policy = search(outcomes, solutions)
        asked = [one for draw in policy.asked for one in draw]
        assert len([one for one in asked if not is_wrong[one]]) == len({one for one in asked if not is_wrong[one]})
        assert all(policy.read[one] <= NUM for one in prefixes)
        for steps, runs in zip(solutions, found, strict=True):
            assert first_wrong(runs) == next((n for n, one in enumerate(steps) if is_wrong[one.steps]), len(steps))
            for one, run in zip(steps, runs, strict=True):
                assert (run is not None) == (policy.read[one.steps] > 0), "measured for one solution, kept for all"


def test_where_right_prefixes_lie_behind_wrong_ones_it_finds_one_place_of_change() -> None:
    rng = np.random.default_rng(7)
    num_first = 0
    for _ in range(60):
        solutions = [prefixes_of("a", *(str(rng.integers(2)) for _ in range(8))) for _ in range(6)]
        is_right = {one.steps: bool(rng.random() < 0.6) for steps in solutions for one in steps}
        found, _ = search({one: ["right" if good else "wrong"] * NUM for one, good in is_right.items()}, solutions)
        for steps, runs in zip(solutions, found, strict=True):
            good = [is_right[one.steps] for one in steps]
            place = first_wrong(runs)
            assert place == 9 or (not good[place] and runs[place])
            assert place == 0 or (good[place - 1] and runs[place - 1])
            num_first += place == next((n for n, one in enumerate(good) if not one), 9)
    assert num_first < 300, "the first one is not promised"


def test_without_a_readable_rollout_it_goes_on_before() -> None:
    steps = prefixes_of("a", "b", "c", "d")
    outcomes = {one.steps: ["right" if len(one.steps) == 1 else "unread"] * NUM for one in steps}
    ((runs), *_), _ = search(outcomes, [steps])
    assert [run is not None for run in runs] == [True, True, False, False]
    record = recorded(runs, "correct", VALUE)
    assert record.labels[:4] == ["correct", "unknown", "unknown", "unknown"]


def test_the_score_is_searched_whatever_the_judge_says() -> None:
    rule = ConsensusSettings(rule="keep_if_agree")
    steps = prefixes_of("a", "b", judge="unknown")
    policy = StoredPolicy({one.steps: ["right"] * NUM for one in steps})
    (runs,) = measure_solutions(CASE, [steps], policy, SEARCH, rule)
    assert runs[0] is None or runs[0].num_correct > 0
    assert runs[1] is not None and runs[1].num_correct > 0


def recorded(runs: list[MonteCarlo | None], judge: Label, rule: ConsensusSettings) -> Record:
    """The record of a solution with these counts on the steps before its last."""
    steps = tuple(Step(step_id=place, content=f"Step {place}.") for place in range(len(runs) + 1))
    solution = Solution(solution_id="s", solution_steps=steps, is_correct=False)
    verdicts = [JudgeVerdict(verdict=judge)] * len(steps)
    return as_record(CaseSolutions(CASE, [solution]), solution, verdicts, runs, Making(rule, NUM, None))


def searched(error: int, length: int = 7, stopping: str = "exact") -> list[MonteCarlo | None]:
    steps = prefixes_of(*map(str, range(length)))
    outcomes = {one.steps: ["right" if place < error else "wrong"] * NUM for place, one in enumerate(steps)}
    return search(outcomes, [steps], stopping=stopping)[0][0]


@pytest.mark.parametrize("error", range(8))
def test_labels_up_to_the_first_error_are_those_of_all_prefixes(error: int) -> None:
    record = recorded(searched(error), "correct", VALUE)
    assert record.labels[:error] == ["correct"] * error
    assert error == 7 or record.labels[error] == "incorrect"
    for step in record.solution_steps[:7]:
        assert step.sources is not None
        if step.sources.monte_carlo:
            assert step.sources.monte_carlo[0].stopping in ("exact", "complete")
        else:
            assert step.mc_score is None, "nothing is stored instead of counts"
            implied = ("correct", "mc_later_success", 0.5) if step.step_id < error else ("unknown", "unresolved", 0.5)
            assert (step.label, step.annotation_method, step.confidence) == implied
    assert any(step.annotation_method == "mc_later_success" for step in record.solution_steps) == (error > 1)


def test_keep_if_agree_keeps_the_implied_step_where_the_judge_agrees() -> None:
    rule = ConsensusSettings(rule="keep_if_agree")
    labels: tuple[tuple[Label, str], ...] = (("correct", "correct"), ("incorrect", "unknown"), ("neutral", "unknown"))
    for judge, label in labels:
        record = recorded(searched(6), judge, rule)
        implied = [one for one in record.solution_steps[:5] if one.sources and not one.sources.monte_carlo]
        assert implied and all(one.label == label for one in implied), judge


def test_an_expert_stands_over_what_is_implied() -> None:
    record = recorded(searched(7), "correct", VALUE)
    sources = [one.sources for one in record.solution_steps if one.sources]
    said = ExpertVerdict(verdict="incorrect", expert_id="a")
    sources[0] = sources[0].model_copy(update={"expert": (said,)})
    labelled = label_steps(record.solution_steps, sources, VALUE)
    assert (labelled[0].label, labelled[0].annotation_method) == ("incorrect", "expert_verified")


def test_rules_that_ask_more_than_a_score_above_0_are_refused() -> None:
    for rule in ("brief", "judge"):
        with pytest.raises(InputError, match=f"search=first_error .* consensus.rule={rule}"):
            AnnotateConfig(monte_carlo=SEARCH, consensus=ConsensusSettings(rule=rule))
        with pytest.raises(InputError, match="monte_carlo.search=all"):
            measure_solutions(CASE, [], StoredPolicy({}), SEARCH, ConsensusSettings(rule=rule))
    record = recorded(searched(3, stopping="fixed"), "correct", VALUE)
    sources = [one.sources for one in record.solution_steps if one.sources]
    with pytest.raises(UndecidedError, match="by rule brief; annotate with monte_carlo.search=all"):
        label_steps(record.solution_steps, sources, ConsensusSettings())
    judged = label_steps(record.solution_steps, sources, ConsensusSettings(rule="judge"))
    assert [one.label for one in judged] == ["correct"] * 8


@pytest.mark.parametrize("kind", ["value", "soft", "advantage"])
def test_training_on_scores_of_every_step_is_refused(kind: str) -> None:
    solution = recorded(searched(3, stopping="fixed"), "correct", VALUE).solution()
    with pytest.raises(InputError, match="monte_carlo.search=all"):
        step_targets(solution, LabelSettings(kind=kind))
    assert step_targets(solution, LabelSettings()).num_known >= 4


def test_training_by_the_confidence_of_an_implied_step_is_refused() -> None:
    solution = recorded(searched(7, stopping="fixed"), "correct", VALUE).solution()
    with pytest.raises(InputError, match=r"monte_carlo.stopping=fixed and search=all"):
        step_targets(solution, LabelSettings(use_confidence=True))


def test_an_estimate_counts_what_a_search_measures_at_most() -> None:
    steps = tuple(Step(step_id=place, content="x") for place in range(9))
    cases = [CaseSolutions(CASE, [Solution(solution_id="s", solution_steps=steps)] * 2)]

    def prefixes(settings: MonteCarloSettings) -> int:
        others = (ConsensusSettings(), ExpertSettings(), AnswerSettings(), SolutionSettings())
        prices = (ModelPrice(), ModelPrice(), [ModelPrice()])
        plan = Planned(RetrievalSettings(), JudgeSettings(), settings, *others, *prices)
        return estimate_run(cases, plan)["monte_carlo"]["prefixes"]

    assert prefixes(MonteCarloSettings()) == 16 and prefixes(SEARCH) == 8
