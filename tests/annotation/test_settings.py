"""A setting that nothing reads is an error, and what reads it is named."""

from typing import Any

import pytest

from medprm.annotation.settings import ConsensusSettings, ExpertSettings, JudgeSettings, MonteCarloSettings
from medprm.config import AnnotateConfig
from medprm.errors import InputError


@pytest.mark.parametrize(
    ("settings", "given", "reason"),
    [
        (JudgeSettings, {"show_answer": True}, "judge.show_answer is True but only kind=server reads it"),
        (JudgeSettings, {"max_rounds": 9}, "judge.max_rounds is 9 but only kind=server reads it"),
        (JudgeSettings, {"kind": "server", "unseen": "unknown"}, "judge.unseen is unknown but only kind=rule"),
        (MonteCarloSettings, {"continuation": "prompt"}, "continuation is prompt but only policy=server reads it"),
        (MonteCarloSettings, {"sequential_error": 0.05}, "sequential_error is 0.05 but only stopping=sequential"),
        (ConsensusSettings, {"rule": "value", "mc_correct_above": 0.9}, "mc_correct_above is 0.9 but only rule=brief"),
        (ConsensusSettings, {"rule": "judge", "mc_incorrect_below": 0.1}, "mc_incorrect_below is 0.1 but only rule="),
        (ExpertSettings, {"steps": "all", "max_share": 0.1}, "expert.max_share is 0.1 but steps=all gives every step"),
    ],
)
def test_what_nothing_reads_is_refused(settings: Any, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        settings(**given)


def test_several_experts_are_simulated_or_of_a_stage_of_a_project() -> None:
    with pytest.raises(InputError, match=r"expert.num_experts is 3 but only kind=simulated reads it \(kind=none\)"):
        AnnotateConfig(expert=ExpertSettings(kind="none", num_experts=3))
    assert AnnotateConfig(expert=ExpertSettings(num_experts=3)).expert.kind == "simulated"
