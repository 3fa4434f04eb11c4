"""Average precision, the area under the precision-recall curve as a sum of steps (no interpolation).

In: truth (n,), scores (n,), higher for the positives. Out: numbers in [0, 1]; a blind score reaches the share of
positives. The point value is scikit-learn's; the resampled ones equal it on the repeated rows (tests).
Axes: R resamples, G clusters, K distinct scores.
"""

import numpy as np
from sklearn.metrics import average_precision_score

RESAMPLES_PER_CHUNK = 64


def average_precision(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """NaN where only one class is there: without negatives there is nothing to tell apart."""
    truth = np.asarray(is_positive, bool)
    if truth.all() or not truth.any():
        return float("nan")
    return float(average_precision_score(truth, np.asarray(scores, dtype=np.float64)))


def resample_average_precision(
    is_positive: np.ndarray, scores: np.ndarray, cluster: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Average precision of every resample: weights (R, G), cluster (n,) -> (R,); NaN where one class is absent."""
    truth = np.asarray(is_positive, bool)
    if truth.all() or not truth.any():
        return np.full(len(weights), np.nan)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    ranked, of_cluster, positive = np.asarray(scores)[order], cluster[order], truth[order, None]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # equal scores enter the curve together
    results = []
    for first in range(0, len(weights), RESAMPLES_PER_CHUNK):
        drawn = np.ascontiguousarray(weights[first : first + RESAMPLES_PER_CHUNK].T, dtype=np.float32)[of_cluster]
        at_score = np.add.reduceat(drawn * positive, starts, axis=0).astype(np.float64)
        hits = np.cumsum(at_score, axis=0)
        called = np.cumsum(np.add.reduceat(drawn, starts, axis=0), axis=0, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(called > 0, hits / called, 0.0)
            area = (at_score * precision).sum(axis=0) / hits[-1]
        results.append(np.where(hits[-1] < called[-1], area, np.nan))
    return np.concatenate(results)
