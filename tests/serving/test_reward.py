"""Rewards: those of the library, in the signatures of TRL and verl, in one call a case."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from medprm.cases.schema import Case, CaseSolutions, to_json
from medprm.errors import InputError, SolutionTooLong
from medprm.scoring.scorer import StepScorer
from medprm.serving.reward import PrmReward, completion_text, compute_score

CASE = json.dumps({"case_id": "c1", "modality": "text", "question": "What is seen?"})
OTHER = json.dumps({"case_id": "c2", "modality": "text", "question": "Which lobe?"})


class Lengths:
    """Scores by the length of a step, and remembers what it was asked; a step `bad` or `broken` it refuses."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, case: Case, solutions: Sequence[Sequence[str]]) -> list[list[float]]:
        self.asked.append((case.case_id, len(solutions)))
        if any("bad" in steps for steps in solutions):
            raise SolutionTooLong("case c1: 9 tokens")
        if any("broken" in steps for steps in solutions):
            raise InputError("case c1: no such image")
        return [[len(step) / 100 for step in steps] for steps in solutions]


def test_rewards_come_in_order_and_a_case_is_one_call() -> None:
    score = Lengths()
    reward = PrmReward(score, aggregation="min")
    texts = ["abc\nabcdef", "ab", "abcd", "a\nabc"]
    found = reward(prompts=["?"] * 4, completions=texts, case=[CASE, OTHER, CASE, OTHER], trainer_state=None)
    assert found == [0.03, 0.02, 0.04, 0.01]
    assert score.asked == [("c1", 2), ("c2", 2)]
    assert reward.__name__ == "medprm"


def test_rewards_are_the_scores_of_the_library(
    scorer: StepScorer, cases: list[CaseSolutions], image_folder: Path
) -> None:
    item = cases[0]
    reward = PrmReward(lambda case, solutions: scorer.score(case, solutions, image_folder), aggregation="mean")
    texts = ["\n".join(one.step_texts) for one in item.solutions]
    found = reward(completions=texts, case=[to_json(item.case)] * 3)
    expected = scorer.score(item.case, item.solutions, image_folder)
    assert found == pytest.approx([sum(one) / len(one) for one in expected], abs=1e-5)


def test_a_chat_counts_by_what_the_assistant_says() -> None:
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": [{"type": "text", "text": "abc"}]}]
    assert completion_text(chat) == "abc"
    assert PrmReward(Lengths())(completions=[chat], case=[CASE]) == [0.03]


def test_what_cannot_be_scored_is_counted_and_stops_nothing() -> None:
    reward = PrmReward(Lengths(), aggregation="min", unscored=None)
    assert reward(completions=["abc", "", "bad", "ab"], case=[CASE] * 4) == [0.03, None, None, 0.02]
    assert reward.num_unscored == {"no step": 1, "too long": 1}
    assert reward(completions=["bad", "a\nbad"], case=[CASE] * 2) == [None, None], "a policy may babble throughout"


def test_a_mistake_in_the_case_is_not_taken_for_a_bad_completion() -> None:
    reward = PrmReward(Lengths())
    for completions in (["broken"], ["abc", "broken"]):
        with pytest.raises(InputError, match="no such image"):
            reward(completions=completions, case=[CASE] * len(completions))
    assert not reward.num_unscored
    with pytest.raises(InputError, match="neither a column `case` nor `case_id`"):
        reward(completions=["a"])
    with pytest.raises(InputError, match="'question' is missing"):
        reward(completions=["a"], case=['{"case_id": "c1", "modality": "text"}'])
    with pytest.raises(InputError, match="aggregation is 'median'"):
        PrmReward(Lengths(), aggregation="median")


def test_known_cases_go_by_their_name(cases: list[CaseSolutions]) -> None:
    reward = PrmReward(Lengths(), cases=[item.case for item in cases])
    assert reward(completions=["abc"], case_id=[cases[0].case.case_id]) == [0.03]
    with pytest.raises(InputError, match="'nobody' is none of the 12 known cases"):
        reward(completions=["abc"], case_id=["nobody"])


def test_verl_gets_the_scores_of_the_service(serve: Any, scorer: StepScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPRM_SCORING_URL", serve())
    found = asyncio.run(compute_score("set", "fever\nclear", "A", {"case": CASE}, aggregation="min"))
    (expected,) = scorer.score(Case.model_validate_json(CASE), [["fever", "clear"]], Path("."))
    assert found["score"] == pytest.approx(min(expected), abs=1e-5)
    assert found["num_steps"] == 2
    monkeypatch.delenv("MEDPRM_SCORING_URL")
    with pytest.raises(InputError, match="no scoring service"):
        asyncio.run(compute_score("set", "fever", "A", {"case": CASE}))


def test_a_wrong_token_and_a_missing_image_are_no_reward(
    serve: Any, cases: list[CaseSolutions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For verl, which sends one completion at a time, and for TRL, which sends the group of a case."""
    token = "a long enough token"
    monkeypatch.setenv("MEDPRM_SCORING_URL", url := serve(token=token, data_root=str(tmp_path)))
    case = {"case": json.dumps(to_json(cases[1].case))}
    for given, said in (("another long token", "status 401"), (token, "status 422")):
        monkeypatch.setenv("MEDPRM_SCORING_TOKEN", given)
        with pytest.raises(InputError, match=said):
            asyncio.run(compute_score("set", "fever\nclear", "A", case))
        reward = PrmReward.from_service(url, "MEDPRM_SCORING_TOKEN", unscored=None)
        for completions in (["fever"], ["fever", "clear"]):
            with pytest.raises(InputError, match=said):
                reward(completions=completions, case=[case["case"]] * len(completions))
        assert not reward.num_unscored


def test_what_is_too_long_for_the_service_is_unscored(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPRM_SCORING_URL", url := serve(max_steps=3))
    for text in ("fever " * 5000, "fever\n" * 4):
        assert asyncio.run(compute_score("set", text, "A", {"case": CASE}))["score"] == 0.0
    reward = PrmReward.from_service(url, unscored=None)
    first, second = reward(completions=["fever", "fever\n" * 4], case=[CASE] * 2)
    assert first is not None and second is None
    assert reward.num_unscored == {"too long": 1}
    long_case = json.dumps(json.loads(CASE) | {"question": "What is seen? " * 3000})
    with pytest.raises(InputError, match="tokens"):
        reward(completions=["fever"], case=[long_case])
