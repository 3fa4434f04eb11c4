"""The consensus rule of the brief, case by case."""

import pytest

from medprm.annotation.consensus import fuse, label_step
from medprm.annotation.settings import ConsensusSettings
from medprm.cases.schema import ExpertVerdict, JudgeVerdict, Label, MonteCarlo, Sources, Step
from medprm.cases.verdicts import majority
from medprm.errors import InputError


def _sources(judge: Label | None, num_correct: int, num_wrong: int, expert: Label | None = None) -> Sources:
    return Sources(
        judge=(JudgeVerdict(verdict=judge),) if judge else (),
        monte_carlo=(MonteCarlo(num_correct=num_correct, num_wrong=num_wrong),) if num_correct + num_wrong else (),
        expert=(ExpertVerdict(verdict=expert, expert_id="radiologist_001"),) if expert else (),
    )


@pytest.mark.parametrize(
    ("sources", "label"),
    [
        (_sources("correct", 8, 2), "correct"),
        (_sources("correct", 7, 3), "unknown"),  # 0.7 is not above 0.7
        (_sources("incorrect", 2, 8), "incorrect"),
        (_sources("incorrect", 3, 7), "unknown"),  # 0.3 is not below 0.3
        (_sources("incorrect", 9, 1), "unknown"),
        (_sources("correct", 1, 9), "unknown"),
        (_sources("neutral", 9, 1), "unknown"),
        (_sources(None, 9, 1), "unknown"),
        (_sources("correct", 0, 0), "unknown"),
        (_sources("correct", 8, 2, expert="incorrect"), "incorrect"),
        (_sources("correct", 1, 9, expert="correct"), "correct"),
        (_sources("correct", 8, 2, expert="unknown"), "correct"),  # an expert who cannot tell decides nothing
    ],
)
def test_fused_label(sources: Sources, label: Label) -> None:
    assert fuse(sources, ConsensusSettings()).label == label


def test_unreadable_rollouts_do_not_count_as_wrong() -> None:
    sources = Sources(
        judge=(JudgeVerdict(verdict="correct"),),
        monte_carlo=(MonteCarlo(num_correct=4, num_wrong=1, num_unparsed=11),),
    )
    assert fuse(sources, ConsensusSettings()).label == "correct"


def test_tied_verdicts_are_unknown() -> None:
    assert majority(["correct", "incorrect"]) == "unknown"
    assert majority(["correct", "incorrect", "correct"]) == "correct"
    assert majority([]) == "unknown"


def test_derived_fields() -> None:
    step = Step(step_id=0, content="There is a nodule.")
    labelled = label_step(step, _sources("correct", 12, 4), ConsensusSettings())
    assert (labelled.label, labelled.rag_label, labelled.mc_score) == ("correct", "+", 0.75)
    assert labelled.annotation_method == "rag_mc_consensus"
    assert labelled.confidence == pytest.approx(0.875)
    unresolved = label_step(step, _sources("correct", 1, 9), ConsensusSettings())
    assert unresolved.label == "unknown"
    assert unresolved.confidence is None


def test_thresholds_out_of_order_are_refused() -> None:
    with pytest.raises(InputError, match="0.8 and 0.2"):
        ConsensusSettings(mc_correct_above=0.2, mc_incorrect_below=0.8)
