"""Bootstrap by cluster: 95 % percentile intervals where rows of one patient are resampled together.

In: sufficient statistics summed by cluster, (G, K), and resampling weights, (R, G). Out: `Estimate`.
One set of weights serves every number of a report, so differences between numbers are paired.
Axes: R resamples, G clusters (patients), K sufficient statistics, n rows.
Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), sections 2.4, 3.8 and 5.3.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

MIN_CLUSTERS = 50
"""Below this many clusters a percentile interval is known to be too narrow: a report says so."""

MAX_UNDEFINED = 0.05
"""Share of resamples that may have no value (such as one class only) before the interval is undefined too."""

PERCENTILES = (2.5, 97.5)

DRAWN_AT_ONCE = 2**18
MOST_DRAWS = 255  # of one cluster in a resample
WEIGHED_AT_ONCE = 2**20
SAMPLES_AT_ONCE = 512

Statistic = Callable[[np.ndarray], np.ndarray | float]
"""Sums (..., K) to values (...): works on the sums of the sample and on those of all resamples at once."""


class Estimate(NamedTuple):
    """A number with its 95 % interval; `n` counts what was measured (steps, solutions, cases). NaN is undefined."""

    value: float
    low: float
    high: float
    n: int

    @property
    def is_defined(self) -> bool:
        return bool(np.isfinite([self.value, self.low, self.high]).all())

    def as_json(self) -> dict[str, Any]:
        assert self.is_defined, "an undefined estimate has no JSON form: leave it out and say why"
        return {"value": float(self.value), "low": float(self.low), "high": float(self.high), "n": int(self.n)}


class Clusters(NamedTuple):
    """Rows numbered by cluster: `index` (n,) in 0 ... `num` - 1."""

    index: np.ndarray
    num: int

    @property
    def are_few(self) -> bool:
        return self.num < MIN_CLUSTERS


def number_clusters(ids: Sequence[Hashable]) -> Clusters:
    """Clusters numbered in order of first appearance."""
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(one, len(numbers)) for one in ids], dtype=np.int64)
    return Clusters(index, len(numbers))


def draw_weights(num_clusters: int, num_bootstrap: int, seed: int) -> np.ndarray:
    """How often each cluster is drawn in each resample: (R, G) uint8, every row sums to G."""
    assert num_clusters > 0, "a bootstrap needs at least one cluster"
    generator = np.random.default_rng(seed)
    weights = np.empty((num_bootstrap, num_clusters), dtype=np.uint8)
    rows_at_once = max(1, DRAWN_AT_ONCE // num_clusters)
    for first in range(0, num_bootstrap, rows_at_once):
        num_rows = min(rows_at_once, num_bootstrap - first)
        drawn = generator.integers(0, num_clusters, (num_rows, num_clusters))
        drawn += np.arange(num_rows)[:, None] * num_clusters  # each row counts in bins of its own
        counts = np.bincount(drawn.ravel(), minlength=num_rows * num_clusters)
        assert counts.max() <= MOST_DRAWS, "a count is about Poisson(1): this many draws of one cluster do not happen"
        weights[first : first + num_rows] = counts.reshape(num_rows, num_clusters)
    return weights


def sum_by_cluster(rows: np.ndarray, clusters: Clusters) -> np.ndarray:
    """Rows (n, K) or (n,) summed within clusters: (G, K) float64."""
    rows = np.asarray(rows, dtype=np.float64)
    columns = rows[:, None] if rows.ndim == 1 else rows
    assert len(columns) == len(clusters.index), f"{len(columns)} rows, {len(clusters.index)} cluster numbers"
    sums = np.empty((clusters.num, columns.shape[1]))
    for k in range(columns.shape[1]):
        sums[:, k] = np.bincount(clusters.index, weights=columns[:, k], minlength=clusters.num)
    return sums


def resample_sums(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums (G, K) of every resample: (R, K)."""
    # float32 holds counts exactly; a sum keeps 7 digits, far below the width of any interval.
    rows_at_once = max(1, WEIGHED_AT_ONCE // max(1, weights.shape[1]))
    resampled = np.empty((len(weights), sums.shape[1]))
    for first in range(0, len(weights), rows_at_once):
        rows = slice(first, first + rows_at_once)
        resampled[rows] = weights[rows].astype(np.float32) @ sums.astype(np.float32)
    return resampled


def interval(value: float, resampled: np.ndarray, n: int) -> Estimate:
    """The estimate whose resampled values are `resampled` (R,); undefined ones are left out up to `MAX_UNDEFINED`."""
    defined = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or len(defined) < (1 - MAX_UNDEFINED) * len(resampled):
        return Estimate(float(value), np.nan, np.nan, int(n))
    low, high = np.percentile(defined, PERCENTILES)
    return Estimate(float(value), float(low), float(high), int(n))


def estimate(statistic: Statistic, sums: np.ndarray, weights: np.ndarray, n: int) -> Estimate:
    """`statistic` of the sums (G, K), with its interval."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(sums.sum(axis=0)))
        resampled = np.asarray(statistic(resample_sums(sums, weights)))
    return interval(value, resampled, n)


def estimate_many(
    statistic: Statistic, samples: Sequence[np.ndarray], counts: Sequence[int], num_bootstrap: int, seed: int
) -> list[Estimate]:
    """What `estimate` gives for each of many small samples, sums (G_i, K_i) with counts n_i, quickly.

    Samples of one shape share their resamples, which are those that each would have alone: all come from one seed.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for number, sums in enumerate(samples):
        by_shape.setdefault(sums.shape, []).append(number)
    found: dict[int, Estimate] = {}
    for (num_clusters, num_sums), numbers in by_shape.items():
        weights = draw_weights(num_clusters, num_bootstrap, seed)
        for first in range(0, len(numbers), SAMPLES_AT_ONCE):
            some = numbers[first : first + SAMPLES_AT_ONCE]
            stacked = np.stack([samples[number] for number in some], axis=1)
            resampled = resample_sums(stacked.reshape(num_clusters, -1), weights)
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.asarray(statistic(stacked.sum(axis=0)))
                spread = np.asarray(statistic(resampled.reshape(num_bootstrap, len(some), num_sums)))
            intervals = _intervals(values, spread, [counts[number] for number in some])
            found |= dict(zip(some, intervals, strict=True))
    return [found[number] for number in range(len(samples))]


def _intervals(values: np.ndarray, resampled: np.ndarray, counts: Sequence[int]) -> list[Estimate]:
    """`interval` of many values (B,) with their resampled values (R, B)."""
    is_whole = np.isfinite(values) & np.isfinite(resampled).all(axis=0)
    whole = np.flatnonzero(is_whole).tolist()
    bounds = np.percentile(resampled[:, whole], PERCENTILES, axis=0).T if len(whole) else ()
    found = {
        k: Estimate(float(values[k]), float(a), float(b), counts[k]) for k, (a, b) in zip(whole, bounds, strict=True)
    }
    for k in np.flatnonzero(~is_whole).tolist():
        found[k] = interval(float(values[k]), resampled[:, k], counts[k])
    return [found[k] for k in range(len(counts))]


def ratio(sums: np.ndarray) -> np.ndarray:
    """First column over second, (..., 2) -> (...): a mean, where the second column counts rows."""
    return sums[..., 0] / sums[..., 1]


def estimate_mean(values: np.ndarray, clusters: Clusters, weights: np.ndarray) -> Estimate:
    """The mean of `values` (n,) over rows. A mean of paired differences gives a paired interval."""
    values = np.asarray(values, dtype=np.float64)
    sums = sum_by_cluster(np.stack([values, np.ones_like(values)], axis=1), clusters)
    return estimate(ratio, sums, weights, len(values))


def paired_difference(first: np.ndarray, second: np.ndarray, clusters: Clusters, weights: np.ndarray) -> Estimate:
    """Mean of `first` minus `second`, both (n,) and measured on the same rows."""
    return estimate_mean(np.asarray(first, dtype=np.float64) - np.asarray(second), clusters, weights)


def estimate_rows(
    statistic: Callable[[np.ndarray], float], clusters: Clusters, num_bootstrap: int, seed: int
) -> Estimate:
    """The slow way, for a statistic without sufficient sums: `statistic(row_indices)`, called once per resample."""
    num_rows = len(clusters.index)
    members = [np.flatnonzero(clusters.index == number) for number in range(clusters.num)]
    generator = np.random.default_rng(seed)
    resampled = np.empty(num_bootstrap)
    for row in range(num_bootstrap):
        # Same draws as `draw_weights`, so that both ways agree for one seed.
        drawn = np.sort(generator.integers(0, clusters.num, clusters.num))
        resampled[row] = statistic(np.concatenate([members[number] for number in drawn]))
    return interval(float(statistic(np.arange(num_rows))), resampled, num_rows)
