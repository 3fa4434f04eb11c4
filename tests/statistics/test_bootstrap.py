"""The cluster bootstrap: equal to the slow way, seeded, and of about the coverage it states."""

import numpy as np
import pytest

from medprm.statistics.bootstrap import (
    Estimate,
    draw_weights,
    estimate_mean,
    estimate_rows,
    interval,
    number_clusters,
    paired_difference,
    sum_by_cluster,
)


def clustered_sample(generator: np.random.Generator, num_clusters: int) -> tuple[np.ndarray, list[int]]:
    """Five rows per cluster that share most of their deviation: true mean 0."""
    shared = generator.normal(size=num_clusters)
    values = np.repeat(shared, 5) + 0.3 * generator.normal(size=5 * num_clusters)
    return values, list(np.repeat(np.arange(num_clusters), 5))


def test_clusters_are_numbered_in_order_of_appearance() -> None:
    clusters = number_clusters(["b", "a", "b", "c"])
    assert clusters.index.tolist() == [0, 1, 0, 2]
    assert clusters.num == 3
    assert clusters.are_few


def test_weights_draw_as_many_clusters_as_there_are() -> None:
    weights = draw_weights(37, 200, seed=3)
    assert (weights.sum(axis=1) == 37).all()
    assert np.array_equal(weights, draw_weights(37, 200, seed=3))
    assert not np.array_equal(weights, draw_weights(37, 200, seed=4))


def test_sums_by_cluster() -> None:
    sums = sum_by_cluster(np.array([[1, 2], [3, 4], [5, 6]]), number_clusters(["x", "y", "x"]))
    assert sums.tolist() == [[6, 8], [3, 4]]


def test_matrix_product_equals_resampling_rows_one_by_one() -> None:
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 30, 400).tolist()
    values = generator.normal(size=400)
    clusters = number_clusters(ids)
    fast = estimate_mean(values, clusters, draw_weights(clusters.num, 300, seed=9))
    slow = estimate_rows(lambda rows: float(values[rows].mean()), clusters, 300, seed=9)
    # Sums in float32 keep 7 digits; measured difference 5e-9.
    assert fast == pytest.approx(slow, abs=1e-6)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    by_cluster, by_row = 0, 0
    for repeat in range(200):
        values, ids = clustered_sample(generator, 60)
        one = estimate_mean(values, clusters := number_clusters(ids), draw_weights(clusters.num, 400, seed=repeat))
        by_cluster += one.low <= 0 <= one.high
        one = estimate_mean(values, rows := number_clusters(range(300)), draw_weights(rows.num, 400, seed=repeat))
        by_row += one.low <= 0 <= one.high
    # 95 % of 200 is 190, standard error 3; the percentile interval of 60 clusters is a little narrow.
    assert 178 <= by_cluster <= 198
    assert by_row < 150, "resampling rows instead of patients must be seen to fail here"


def test_paired_difference_is_narrower_than_the_difference_of_two() -> None:
    generator = np.random.default_rng(2)
    first, ids = clustered_sample(generator, 80)
    second = first - 0.1 + 0.05 * generator.normal(size=len(first))
    clusters = number_clusters(ids)
    weights = draw_weights(clusters.num, 500, seed=0)
    paired = paired_difference(first, second, clusters, weights)
    assert paired.value == pytest.approx(0.1, abs=0.02)
    assert 0 < paired.low < paired.value < paired.high
    alone = estimate_mean(first, clusters, weights)
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)


def test_a_difference_from_itself_is_exactly_zero() -> None:
    values, ids = clustered_sample(np.random.default_rng(3), 10)
    clusters = number_clusters(ids)
    zero = paired_difference(values, values, clusters, draw_weights(clusters.num, 200, seed=0))
    assert zero == Estimate(0.0, 0.0, 0.0, 50)


def test_few_undefined_resamples_are_left_out_and_many_undo_the_interval() -> None:
    resampled = np.linspace(0, 1, 1000)
    resampled[:40] = np.nan
    assert interval(0.5, resampled, 10).is_defined
    resampled[:60] = np.nan
    assert not interval(0.5, resampled, 10).is_defined
    with pytest.raises(AssertionError):
        interval(0.5, resampled, 10).as_json()
