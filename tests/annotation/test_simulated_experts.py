"""Simulated experts: their accuracy, their independence, who reads what twice."""

import numpy as np
import pytest

from medprm.annotation.expert_queue import StepKey
from medprm.annotation.settings import ExpertSettings
from medprm.annotation.simulated_experts import panel_verdicts, simulated_verdict
from medprm.cases.verdicts import majority
from medprm.errors import InputError

KEYS = [StepKey("c", str(number), 0) for number in range(3000)]


@pytest.mark.parametrize("reader", [0, 2])
def test_an_expert_has_its_accuracy_and_says_the_same_again(reader: int) -> None:
    settings = ExpertSettings(accuracy=0.9, cannot_tell=0.1, num_experts=3)
    said = [simulated_verdict(key, "incorrect", settings, reader).verdict for key in KEYS]
    assert said == [simulated_verdict(key, "incorrect", settings, reader).verdict for key in KEYS]
    assert np.mean([one == "unknown" for one in said]) == pytest.approx(0.1, abs=0.02)
    assert np.mean([one == "incorrect" for one in said if one != "unknown"]) == pytest.approx(0.9, abs=0.02)


def test_experts_err_independently() -> None:
    settings = ExpertSettings(accuracy=0.7, cannot_tell=0.0, num_experts=2)
    wrong = np.array(
        [[simulated_verdict(key, "correct", settings, n).verdict == "incorrect" for n in (0, 1)] for key in KEYS]
    )
    assert abs(np.corrcoef(wrong.T)[0, 1]) < 0.06


def test_each_step_goes_to_one_expert_some_to_two_and_disputes_to_a_third() -> None:
    settings = ExpertSettings(accuracy=0.8, cannot_tell=0.05, num_experts=3, double_share=0.25)
    said = [panel_verdicts(key, "correct", settings) for key in KEYS]
    nums = np.array([len(one) for one in said])
    assert np.mean(nums > 1) == pytest.approx(0.25, abs=0.03)
    for verdicts in said:
        assert len({one.expert_id for one in verdicts}) == len(verdicts)
        differ = len(verdicts) > 1 and verdicts[0].verdict != verdicts[1].verdict
        assert (len(verdicts) == 3) == differ
    shares = [np.mean([one[0].expert_id == f"simulated_expert_{n}" for one in said]) for n in (1, 2, 3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.04)
    settled = [majority([one.verdict for one in verdicts]) for verdicts in said if len(verdicts) > 1]
    alone = [verdicts[0].verdict for verdicts in said if len(verdicts) == 1]
    assert np.mean([one == "correct" for one in settled]) > np.mean([one == "correct" for one in alone]) + 0.03


def test_double_reading_needs_two() -> None:
    with pytest.raises(InputError, match=r"expert.double_share is 0.2 with one expert; expected num_experts >= 2"):
        ExpertSettings(double_share=0.2)
