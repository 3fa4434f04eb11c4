"""The LLM judge as a selector: one purchase a distinct candidate, no gold in the prompt, unrated ones last."""

import json
from pathlib import Path

import numpy as np
import pytest

from medprm.annotation.settings import JudgeSettings
from medprm.cases.schema import Case, GoldStandard
from medprm.clients.chat import ChatReply, ChatRequest, Choice
from medprm.errors import InputError
from medprm.evaluation.best_of_n import selection_probabilities
from medprm.evaluation.judge_selector import UNRATED, JudgeSelector, rating_prompt, read_ratings, write_ratings

CASE = Case(
    case_id="c1", modality="text", question="Which test?", gold_standard=GoldStandard(answer="secret gold", findings=())
)
CANDIDATES = [("a", ["One.", "CT."]), ("b", ["Two.", "MRI."]), ("c", ["One.", "CT."]), ("d", ["bad"])]


class Scripted:
    """Rates by the solution's text; a `bad` one gets prose at every round."""

    model = "scripted"

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []

    def ask(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        text = request.messages[1].text
        rating = 90 if "CT." in text else 30
        said = "No idea." if "bad" in text else json.dumps({"reason": "so", "rating": rating})
        if "Two." in text and request.round == 0:
            said = json.dumps({"rating": 130})  # outside the scale: asked again
        return ChatReply((Choice(said, "stop"),), self.model)


def test_each_distinct_candidate_is_rated_once(tmp_path: Path) -> None:
    client = Scripted()
    rated = JudgeSelector(client, JudgeSettings(kind="server", max_rounds=2)).rate(CASE, CANDIDATES)
    assert [one.rating for one in rated] == [0.9, 0.3, 0.9, None]
    assert len(client.asked) == 1 + 2 + 2, "the same steps once, the unusable ones again"
    assert all(one.stage == "selection" for one in client.asked)
    write_ratings(tmp_path / "ratings.jsonl", rated)
    found = read_ratings(tmp_path / "ratings.jsonl")
    assert found == {("c1", "a"): 0.9, ("c1", "b"): 0.3, ("c1", "c"): 0.9, ("c1", "d"): UNRATED}
    assert min(0.0, 0.3, 0.9) > UNRATED


def test_equal_ratings_share_the_pick_and_unrated_ones_only_where_none_is_rated() -> None:
    pick = selection_probabilities
    assert pick(np.array([0.9, 0.3, 0.9, UNRATED]), 4).tolist() == [0.5, 0.0, 0.5, 0.0]
    assert pick(np.array([0.0, UNRATED]), 2).tolist() == [1.0, 0.0]
    assert pick(np.array([UNRATED, UNRATED]), 2).tolist() == [0.5, 0.5]


def test_the_reference_never_stands_in_the_prompt() -> None:
    assert "secret gold" not in rating_prompt(CASE, ["CT."])
    other = CASE.model_copy(update={"gold_standard": None})
    assert rating_prompt(other, ["CT."]) == rating_prompt(CASE, ["CT."])


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="judge_candidates writes it"):
        read_ratings(tmp_path / "none.jsonl")
    (tmp_path / "other.jsonl").write_text('{"case_id": "c1"}\n')
    with pytest.raises(InputError, match=r"other\.jsonl:1"):
        read_ratings(tmp_path / "other.jsonl")
