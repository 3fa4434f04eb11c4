"""P-values invert the interval; Holm's correction by hand."""

import math

import numpy as np
import pytest

from medprm.statistics.bootstrap import PERCENTILES
from medprm.statistics.significance import bootstrap_p, holm


@pytest.mark.parametrize("shift", [-0.4, -0.2, 0.0, 0.15, 0.19, 0.21, 0.5])
def test_p_is_below_the_level_exactly_where_the_interval_excludes_0(shift: float) -> None:
    resampled = np.random.default_rng(0).normal(shift, 0.1, 4000)
    low, high = np.percentile(resampled, PERCENTILES)
    assert (bootstrap_p(resampled) < 0.05) == (low > 0 or high < 0)


def test_p_of_a_difference_that_is_always_0_is_1_and_of_nothing_is_undefined() -> None:
    assert bootstrap_p(np.zeros(100)) == 1
    assert math.isnan(bootstrap_p(np.full(5, np.nan)))
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert holm([]) == []
    with_gap = holm([0.02, float("nan"), 0.03])
    assert with_gap[0] == pytest.approx(0.04)
    assert math.isnan(with_gap[1])


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    generator = np.random.default_rng(1)
    alarms = [min(holm(list(generator.random(10)))) < 0.05 for _ in range(2000)]
    assert 0.035 < np.mean(alarms) < 0.065
