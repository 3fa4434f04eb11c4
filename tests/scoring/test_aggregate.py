"""Solution scores from step scores."""

import math

import numpy as np
import pytest

from medprm.scoring.aggregate import AGGREGATORS, DEFAULT_AGGREGATION, aggregate_all


def test_golden_numbers() -> None:
    assert aggregate_all([0.5, 1.0, 0.2]) == pytest.approx(
        {
            "mean": 1.7 / 3,
            "min": 0.2,
            "max": 1.0,
            "product": 0.1,
            "last": 0.2,
            "logit_mean": 1 / (1 + math.exp(-(0 + math.log((1 - 1e-7) / 1e-7) + math.log(0.25)) / 3)),
            "geometric_mean": 0.1 ** (1 / 3),
        }
    )
    assert DEFAULT_AGGREGATION == "mean"


@pytest.mark.parametrize("name", AGGREGATORS)
def test_every_aggregation_stays_in_range_and_grows_with_each_step(name: str) -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        scores = generator.uniform(size=generator.integers(1, 10))
        score = AGGREGATORS[name](list(scores))
        assert 0 <= score <= 1
        better = scores + (1 - scores) * generator.uniform(size=len(scores))
        assert AGGREGATORS[name](list(better)) >= score
        assert AGGREGATORS[name]([0.3]) == pytest.approx(0.3)


def test_a_long_solution_is_not_punished_by_the_length_normalised_product() -> None:
    assert aggregate_all([0.8] * 3)["geometric_mean"] == pytest.approx(aggregate_all([0.8] * 30)["geometric_mean"])
    assert aggregate_all([0.0, 1.0])["geometric_mean"] == 0
    assert aggregate_all([0.0, 1.0])["logit_mean"] == pytest.approx(0.5)
