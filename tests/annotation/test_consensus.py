"""The consensus rule of the brief, case by case."""

import pytest

from medprm.annotation.consensus import UndecidedError, fuse, label_step, label_steps
from medprm.annotation.settings import ConsensusSettings, MonteCarloSettings
from medprm.annotation.stopping import stopping_rule
from medprm.cases.schema import ExpertVerdict, JudgeVerdict, Label, MonteCarlo, RuleVerdict, Sources, Step
from medprm.cases.verdicts import majority, share_correct
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
    assert labelled.confidence == pytest.approx(0.75)
    unresolved = label_step(step, _sources("correct", 1, 9), ConsensusSettings())
    assert unresolved.label == "unknown"
    assert unresolved.confidence == 0.5
    certain = label_step(step, _sources("incorrect", 0, 16), ConsensusSettings())
    assert (certain.label, certain.confidence) == ("incorrect", 0.95)


@pytest.mark.parametrize(
    ("rule", "sources", "label"),
    [
        ("value", _sources(None, 1, 31), "correct"),
        ("value", _sources("correct", 0, 32), "incorrect"),
        ("judge", _sources("neutral", 0, 32), "neutral"),
        ("judge", _sources("correct", 0, 0), "correct"),
        ("keep_if_agree", _sources("correct", 1, 31), "correct"),
        ("keep_if_agree", _sources("incorrect", 1, 31), "unknown"),
        ("keep_if_agree", _sources("incorrect", 0, 32), "incorrect"),
    ],
)
def test_other_rules(rule: str, sources: Sources, label: Label) -> None:
    assert fuse(sources, ConsensusSettings(rule=rule)).label == label


def test_too_few_readable_rollouts_are_no_score() -> None:
    assert fuse(_sources("correct", 7, 0), ConsensusSettings(min_readable=8)).label == "unknown"
    assert fuse(_sources("correct", 8, 0), ConsensusSettings(min_readable=8)).label == "correct"


def test_counts_that_do_not_decide_raise() -> None:
    short = MonteCarlo(num_correct=23, num_wrong=0, num_planned=32, stopping="exact")  # decided at 0.7
    sources = Sources(judge=(JudgeVerdict(verdict="correct"),), monte_carlo=(short,))
    assert fuse(sources, ConsensusSettings()).label == "correct"
    with pytest.raises(UndecidedError, match=r"23 of 32 .* 0.8"):
        fuse(sources, ConsensusSettings(mc_correct_above=0.8))
    with pytest.raises(InputError, match="23 of 32"):
        share_correct([short])
    with_expert = sources.model_copy(update={"expert": (ExpertVerdict(verdict="incorrect", expert_id="a"),)})
    assert fuse(with_expert, ConsensusSettings(mc_correct_above=0.8)).label == "incorrect"


def test_counts_that_the_sequential_test_stopped_decide_as_surely_as_it_demanded() -> None:
    settings = MonteCarloSettings(stopping="sequential")
    rule = stopping_rule(settings, ConsensusSettings())
    counts = MonteCarlo(num_correct=12, num_wrong=0, num_planned=32)
    stopped = rule.stopped("correct", counts)
    assert stopped.stopping == "sequential" and stopped.extra == {"most_chance_of_change": rule.limit("correct")}
    sources = Sources(judge=(JudgeVerdict(verdict="correct"),), monte_carlo=(stopped,))
    assert fuse(sources, ConsensusSettings()).label == "correct"
    assert fuse(sources, ConsensusSettings(mc_correct_above=0.6)).label == "correct"  # surer still
    with pytest.raises(UndecidedError, match=r"12 of 32 rollouts were run \(sequential\)"):
        fuse(sources, ConsensusSettings(mc_correct_above=0.95))
    unsaid = sources.model_copy(update={"monte_carlo": (stopped.model_copy(update={"extra": None}),)})
    with pytest.raises(UndecidedError):
        fuse(unsaid, ConsensusSettings())


def test_the_answer_step_and_what_follows_an_error() -> None:
    steps = [Step(step_id=i, content="x") for i in range(3)]
    answer = Sources(
        judge=(JudgeVerdict(verdict="incorrect"),), outcome=(RuleVerdict(verdict="correct", rule="answer"),)
    )
    given = [_sources("incorrect", 0, 9), _sources("correct", 9, 0), answer]

    def labels(**settings: str) -> list[Label | None]:
        return [one.label for one in label_steps(steps, given, ConsensusSettings(**settings))]  # type: ignore[arg-type]

    assert labels() == ["incorrect", "correct", "unknown"]
    assert labels(answer_step="outcome") == ["incorrect", "correct", "correct"]
    assert labels(answer_step="unknown") == ["incorrect", "correct", "unknown"]
    assert labels(after_first_error="unknown") == ["incorrect", "unknown", "unknown"]
    assert labels(after_first_error="incorrect") == ["incorrect", "incorrect", "incorrect"]


def test_thresholds_out_of_order_are_refused() -> None:
    with pytest.raises(InputError, match="0.8 and 0.2"):
        ConsensusSettings(mc_correct_above=0.2, mc_incorrect_below=0.8)
