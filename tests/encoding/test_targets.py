"""Labels to targets: unknown is masked, never taken for incorrect."""

from typing import Any

import pytest
from tiny import full_record

from medprm.cases.schema import Solution
from medprm.encoding.settings import LabelSettings
from medprm.encoding.targets import history_texts, step_targets
from medprm.errors import InputError


def solution(*steps: dict[str, Any], **fields: Any) -> Solution:
    numbered = [{"step_id": k, "content": "text", **step} for k, step in enumerate(steps)]
    return full_record(solution_steps=numbered, **fields).solution()


def rollouts(num_correct: int, num_wrong: int, **counts: int) -> dict[str, Any]:
    return {"sources": {"monte_carlo": [{"num_correct": num_correct, "num_wrong": num_wrong, **counts}]}}


PLUS, MINUS = (1.0, 0.0), (0.0, 1.0)


def test_hybrid_takes_the_fused_label_and_masks_the_rest() -> None:
    given = solution({"label": "correct"}, {"label": "incorrect"}, {"label": "neutral"}, {"label": "unknown"}, {})
    targets = step_targets(given, LabelSettings())
    assert targets.rows == (PLUS, MINUS, None, None, None)
    assert targets.weights == (1.0,) * 5
    assert targets.num_known == 2
    assert history_texts(targets, LabelSettings()) == ["+", "-", None, None, None]


def test_value_is_plus_above_the_threshold_and_unknown_without_a_readable_rollout() -> None:
    given = solution(rollouts(1, 15), rollouts(0, 16), rollouts(0, 0, num_unparsed=16), {"mc_score": 0.2}, {})
    assert step_targets(given, LabelSettings(kind="value")).rows == (PLUS, MINUS, None, PLUS, None)
    strict = LabelSettings(kind="value", mc_threshold=0.1)
    assert step_targets(given, strict).rows == (MINUS, MINUS, None, PLUS, None)


def test_unparsed_rollouts_are_not_wrong_ones() -> None:
    given = solution(rollouts(3, 1, num_unparsed=4, num_truncated=8))
    assert step_targets(given, LabelSettings(kind="soft")).rows == ((0.75, 0.25),)


def test_several_runs_are_pooled_by_their_counts() -> None:
    runs = [{"num_correct": 1, "num_wrong": 0}, {"num_correct": 0, "num_wrong": 3}]
    given = solution({"sources": {"monte_carlo": runs}})
    assert step_targets(given, LabelSettings(kind="soft")).rows == ((0.25, 0.75),)


def test_advantage_compares_with_the_step_before() -> None:
    given = solution(rollouts(2, 2), rollouts(3, 1), rollouts(3, 1), rollouts(0, 4), {}, rollouts(4, 0))
    targets = step_targets(given, LabelSettings(kind="advantage"))
    assert targets.rows == (None, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), None, None)
    assert LabelSettings(kind="advantage").texts == ("+", "=", "-")
    margin = LabelSettings(kind="advantage", advantage_margin=0.3)
    assert step_targets(given, margin).rows[1] == (0.0, 1.0, 0.0)


def test_judge_is_the_majority_and_a_tie_is_unknown() -> None:
    def verdicts(*names: str) -> dict[str, Any]:
        return {"sources": {"judge": [{"verdict": name} for name in names]}}

    given = solution(
        verdicts("correct", "correct", "incorrect"),
        verdicts("correct", "incorrect"),
        verdicts("incorrect"),
        verdicts("neutral"),
        {"rag_label": "-"},
        {},
    )
    assert step_targets(given, LabelSettings(kind="judge")).rows == (PLUS, None, MINUS, None, MINUS, None)


@pytest.mark.parametrize(("is_correct", "last"), [(True, PLUS), (False, MINUS), (None, None)])
def test_outcome_labels_the_last_step_only(is_correct: bool | None, last: Any) -> None:
    given = solution({"label": "incorrect"}, {"label": "incorrect"}, is_correct=is_correct)
    assert step_targets(given, LabelSettings(kind="outcome")).rows == (None, last)


def test_confidence_weighs_only_where_asked() -> None:
    given = solution({"label": "correct", "confidence": 0.25}, {"label": "correct"})
    assert step_targets(given, LabelSettings(use_confidence=True)).weights == (0.25, 1.0)
    assert step_targets(given, LabelSettings()).weights == (1.0, 1.0)


def test_the_confidence_of_rollouts_that_were_stopped_early_is_no_weight() -> None:
    weighed = LabelSettings(use_confidence=True)
    short = rollouts(8, 0, num_planned=32) | {"label": "correct", "confidence": 0.95}
    with pytest.raises(InputError, match=r"step 0: .*8 of 32 rollouts .* monte_carlo.stopping=fixed"):
        step_targets(solution(short | {"annotation_method": "rag_mc_consensus"}), weighed)
    assert step_targets(solution(short), LabelSettings()).rows == (PLUS,)
    whole = rollouts(32, 0, num_planned=32) | {"label": "correct", "confidence": 0.95}
    # An expert's confidence is a constant, and a step without a label weighs nothing.
    for fine in (whole, short | {"annotation_method": "expert_verified"}, short | {"label": "unknown"}):
        assert step_targets(solution(fine), weighed).weights == (0.95,)
    disputed = short | {"label": "unknown", "confidence": 0.5, "rag_label": "+"}
    assert step_targets(solution(disputed), LabelSettings(kind="judge", use_confidence=True)).weights == (0.5,)


@pytest.mark.parametrize("kind", ["value", "soft", "advantage"])
def test_scores_of_rollouts_that_were_stopped_early_are_refused(kind: str) -> None:
    with pytest.raises(InputError, match="8 of 32 rollouts were run"):
        step_targets(solution(rollouts(8, 0, num_planned=32)), LabelSettings(kind=kind))


@pytest.mark.parametrize("kind", ["hybrid", "value", "soft", "judge", "advantage", "outcome"])
def test_every_target_is_a_distribution(kind: str) -> None:
    settings = LabelSettings(kind=kind)
    given = solution(rollouts(1, 2) | {"label": "correct", "rag_label": "+"}, rollouts(5, 2) | {"label": "incorrect"})
    for row in step_targets(given, settings).rows:
        assert row is None or (len(row) == len(settings.texts) and sum(row) == pytest.approx(1.0) and min(row) >= 0)
