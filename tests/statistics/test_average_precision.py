"""Average precision equals scikit-learn's, on the sample and on every resample."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from medprm.statistics.average_precision import average_precision, resample_average_precision
from medprm.statistics.bootstrap import draw_weights, number_clusters


def test_resampled_equals_scikit_learn_on_repeated_rows() -> None:
    generator = np.random.default_rng(0)
    truth, scores = generator.random(150) < 0.3, np.round(generator.random(150), 1)
    clusters = number_clusters((np.arange(150) // 6).tolist())
    weights = draw_weights(clusters.num, 200, seed=0)
    found = resample_average_precision(truth, scores, clusters.index, weights)
    assert found.shape == (200,)
    for row in (0, 1, 100, 199):
        times = weights[row][clusters.index].astype(int)
        golden = average_precision_score(np.repeat(truth, times), np.repeat(scores, times))
        assert found[row] == pytest.approx(golden, abs=1e-12)


def test_by_hand_and_one_class() -> None:
    assert average_precision(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([1, 0, 0, 0]), np.full(4, 0.5)) == pytest.approx(0.25)
    assert math.isnan(average_precision(np.ones(3), np.arange(3)))
    nothing = resample_average_precision(np.ones(3), np.arange(3), np.arange(3), np.ones((2, 3), dtype=np.float32))
    assert np.isnan(nothing).all()
    without_negative = np.array([[2, 0], [1, 1]], dtype=np.float32)
    found = resample_average_precision(np.array([1, 0]), np.array([0.2, 0.1]), np.arange(2), without_negative)
    assert math.isnan(found[0])
    assert found[1] == 1
