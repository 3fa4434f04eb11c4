"""Power: textbook values, and the deviation that the standard error needs."""

import numpy as np
import pytest

from medprm.statistics.bootstrap import draw_weights, number_clusters, ratio, resample_sums, sum_by_cluster
from medprm.statistics.power import clusters_needed, detectable, deviation_by_cluster, power


def test_textbook_numbers() -> None:
    # Two-sided 5 %, power 80 %, effect of half a standard deviation: (1.960 + 0.842)^2 / 0.25 = 31.4.
    assert clusters_needed(0.5, 1.0) == 32
    assert clusters_needed(0.01, 0.3, wanted=0.9) == 9457  # (1.95996 + 1.28155)^2 * 900 = 9456.7
    assert power(0.0, 1.0, 100) == pytest.approx(0.05)
    assert power(0.5, 1.0, 32) == pytest.approx(0.807, abs=0.001)


def test_needed_and_detectable_undo_each_other() -> None:
    for effect in (0.01, 0.02, 0.1):
        needed = clusters_needed(effect, 0.4)
        assert detectable(0.4, needed) <= effect < detectable(0.4, needed - 1)
        assert power(effect, 0.4, needed) == pytest.approx(0.8, abs=0.02)


def test_the_deviation_gives_the_bootstraps_standard_error() -> None:
    generator = np.random.default_rng(0)
    ids = np.repeat(np.arange(150), generator.integers(1, 6, 150))
    values = generator.normal(0, 1, 150)[ids] + generator.normal(0, 1, len(ids))
    clusters = number_clusters(ids.tolist())
    sums = sum_by_cluster(np.stack([values, np.ones_like(values)], axis=1), clusters)
    resampled = ratio(resample_sums(sums, draw_weights(clusters.num, 4000, 0)))
    assert deviation_by_cluster(values, clusters) / np.sqrt(clusters.num) == pytest.approx(resampled.std(), rel=0.05)
