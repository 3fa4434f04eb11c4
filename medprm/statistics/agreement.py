"""Agreement between annotators: raw agreement, Cohen's kappa, Gwet's AC1, Krippendorff's alpha (nominal), Pearson's r.

In: labels or scores as sequences (None is a missing one). Out: numbers, or `Estimate` with intervals by cluster.
Undefined (such as kappa where both raters always say the same one word) is NaN, never 0.
Sources: Cohen 1960; Gwet 2008; Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), nominal metric.
"""

import warnings
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.metrics import cohen_kappa_score

from medprm.statistics.bootstrap import (
    Estimate,
    draw_weights,
    estimate,
    estimate_many,
    number_clusters,
    sum_by_cluster,
)

Rating = Hashable | None


class PairAgreement(NamedTuple):
    """Two raters on the same units. `n` of each estimate counts the units that both rated."""

    raw_agreement: Estimate
    kappa: Estimate
    ac1: Estimate
    num_left_out: int
    num_clusters: int


class Confusion(NamedTuple):
    """Words of two raters on the same units, counted by cluster: `counts` (G, W * W); units that one skipped apart."""

    counts: np.ndarray
    num_units: int
    num_left_out: int


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa by scikit-learn; NaN where it is undefined (both raters use one and the same word only)."""
    if len(first) == 0 or len(set(first) | set(second)) < 2:
        return float("nan")
    names = {name: number for number, name in enumerate(dict.fromkeys([*first, *second]))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(cohen_kappa_score([names[one] for one in first], [names[one] for one in second]))


def pair_agreement(
    first: Sequence[Rating],
    second: Sequence[Rating],
    cluster_ids: Sequence[Hashable],
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> PairAgreement:
    """Raw agreement, kappa and AC1 of two raters, resampled by cluster. Units that one of them skipped are left out."""
    table = confusion(first, second, cluster_ids)
    result = pair_agreements([table], num_bootstrap, seed)[0]
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return result._replace(kappa=result.kappa._replace(value=cohen_kappa([a for a, _ in both], [b for _, b in both])))


def confusion(first: Sequence[Rating], second: Sequence[Rating], cluster_ids: Sequence[Hashable]) -> Confusion:
    """What two raters said of the same units, counted."""
    assert len(first) == len(second) == len(cluster_ids), "ratings and clusters must have equal length"
    both = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a is not None and b is not None]
    names = {name: k for k, name in enumerate(dict.fromkeys([one[i] for one in (first, second) for i in both]))}
    num_words = len(names)
    cells = np.array([names[first[i]] * num_words + names[second[i]] for i in both], dtype=np.int64)
    clusters = number_clusters([cluster_ids[i] for i in both])
    counts = np.bincount(clusters.index * num_words**2 + cells, minlength=clusters.num * num_words**2)
    return Confusion(counts.reshape(clusters.num, num_words**2), len(both), len(first) - len(both))


def pair_agreements(tables: Sequence[Confusion], num_bootstrap: int = 2000, seed: int = 0) -> list[PairAgreement]:
    """Raw agreement, kappa and AC1 of many pairs of raters at once, resampled by cluster."""
    kept = [one for one in tables if one.num_units]
    samples, counts = [one.counts for one in kept], [one.num_units for one in kept]
    of_each = [estimate_many(one, samples, counts, num_bootstrap, seed) for one in (_raw_agreement, _kappa, _ac1)]
    estimates = zip(*of_each, strict=True)
    nothing = Estimate(float("nan"), float("nan"), float("nan"), 0)
    found = []
    for one in tables:
        raw, kappa, ac1 = next(estimates) if one.num_units else (nothing, nothing, nothing)
        found.append(PairAgreement(raw, kappa, ac1, one.num_left_out, len(one.counts)))
    return found


def _shares(sums: np.ndarray) -> np.ndarray:
    """Cells (..., W * W) to shares (..., W, W)."""
    num_words = round(sums.shape[-1] ** 0.5)
    tables = sums.reshape(*sums.shape[:-1], num_words, num_words)
    return tables / tables.sum(axis=(-2, -1), keepdims=True)


def _raw_agreement(sums: np.ndarray) -> np.ndarray:
    return np.trace(_shares(sums), axis1=-2, axis2=-1)


def _kappa(sums: np.ndarray) -> np.ndarray:
    shares = _shares(sums)
    expected = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    observed = np.trace(shares, axis1=-2, axis2=-1)
    return np.where(expected > 1 - 1e-9, np.nan, (observed - expected) / np.where(expected > 1 - 1e-9, 1, 1 - expected))


def _ac1(sums: np.ndarray) -> np.ndarray:
    shares = _shares(sums)
    num_words = shares.shape[-1]
    if num_words < 2:
        return np.full(sums.shape[:-1], np.nan)
    mean_share = (shares.sum(axis=-1) + shares.sum(axis=-2)) / 2
    expected = (mean_share * (1 - mean_share)).sum(axis=-1) / (num_words - 1)
    return (np.trace(shares, axis1=-2, axis2=-1) - expected) / (1 - expected)


def krippendorff_alpha(
    ratings: Sequence[Sequence[Rating]],
    cluster_ids: Sequence[Hashable] | None = None,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Alpha for nominal ratings[unit][rater], None where missing. Units with fewer than two ratings cannot be paired.

    `n` counts the units that can be paired; clusters default to the units themselves.
    """
    assert cluster_ids is None or len(cluster_ids) == len(ratings), "ratings and clusters must have equal length"
    ids = range(len(ratings)) if cluster_ids is None else cluster_ids
    pairable = [(one, [r for r in unit if r is not None]) for one, unit in zip(ids, ratings, strict=True)]
    pairable = [(one, unit) for one, unit in pairable if len(unit) >= 2]
    if not pairable:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    names = {name: k for k, name in enumerate(dict.fromkeys(r for _, unit in pairable for r in unit))}
    rows = np.zeros((len(pairable), len(names) + 1))
    for row, (_, unit) in zip(rows, pairable, strict=True):
        np.add.at(row, [names[rating] for rating in unit], 1)
        counts = row[:-1]
        row[-1] = (len(unit) ** 2 - (counts**2).sum()) / (len(unit) - 1)
    clusters = number_clusters([one for one, _ in pairable])
    weights = draw_weights(clusters.num, num_bootstrap, seed)
    return estimate(_alpha, sum_by_cluster(rows, clusters), weights, len(pairable))


def _alpha(sums: np.ndarray) -> np.ndarray:
    """Counts of each word, then the disagreement within units: (..., W + 1) -> (...)."""
    counts, disagreement = sums[..., :-1], sums[..., -1]
    total = counts.sum(axis=-1)
    expected = total**2 - (counts**2).sum(axis=-1)
    return np.where(expected <= 0, np.nan, 1 - (total - 1) * disagreement / np.where(expected <= 0, 1, expected))


def pearson(
    first: Sequence[float | None],
    second: Sequence[float | None],
    cluster_ids: Sequence[Hashable],
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Pearson's correlation of two scores, resampled by cluster; NaN where one of them does not vary.

    Units that lack one of the two are left out; `n` counts the others.
    """
    assert len(first) == len(second) == len(cluster_ids), "scores and clusters must have equal length"
    both = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a is not None and b is not None]
    pairs = np.array([(first[i], second[i]) for i in both], dtype=np.float64).reshape(-1, 2)
    if len(both) < 2 or (spread := pairs.std(axis=0)).min() == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), len(both))
    # The correlation does not change, and sums of standard scores keep their digits in float32.
    x, y = ((pairs - pairs.mean(axis=0)) / spread).T
    clusters = number_clusters([cluster_ids[i] for i in both])
    weights = draw_weights(clusters.num, num_bootstrap, seed)
    sums = sum_by_cluster(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1), clusters)
    return estimate(_correlation, sums, weights, len(both))


def _correlation(sums: np.ndarray) -> np.ndarray:
    """Sums of 1, x, y, x squared, y squared and xy: (..., 6) -> (...)."""
    mean_x, mean_y, square_x, square_y, product = (sums[..., k] / sums[..., 0] for k in range(1, 6))
    variances = np.stack([square_x - mean_x**2, square_y - mean_y**2])
    # Scores that do not vary in a resample leave only rounding: no correlation, rather than noise over noise.
    constant = variances.min(axis=0) < 1e-5
    spread = np.sqrt(np.where(constant, 1, variances.prod(axis=0)))
    return np.where(constant, np.nan, np.clip((product - mean_x * mean_y) / spread, -1, 1))
