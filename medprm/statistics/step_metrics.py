"""Step metrics: how well step scores tell correct steps from incorrect ones.

In: `is_correct` (n,) bool and `scores` (n,) in [0, 1] of the steps judged correct or incorrect (steps that are
neutral or unknown are left out before); a step is predicted correct where score >= threshold.
Out: numbers. Point values come from scikit-learn; the functions of counts (..., 4) and sums serve the bootstrap and
equal scikit-learn's (tests). Counts are tp, fp, fn, tn with "correct" as the positive class.
Sources: VisualProcessBench (VisualPRM, section 4: macro F1 of all steps pooled); ProcessBench (first-error F1).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

NUM_CALIBRATION_BINS = 10
RESAMPLES_PER_CHUNK = 128


def confusion_rows(is_correct: np.ndarray, is_predicted_correct: np.ndarray) -> np.ndarray:
    """One row per step with a single 1 in tp, fp, fn or tn: (n, 4)."""
    truth, predicted = np.asarray(is_correct, bool), np.asarray(is_predicted_correct, bool)
    columns = [truth & predicted, ~truth & predicted, truth & ~predicted, ~truth & ~predicted]
    return np.stack(columns, axis=-1).astype(np.float64)


def _share(part: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """part / (part + rest), and 0 where both are 0 (scikit-learn's zero_division=0)."""
    total = part + rest
    return np.where(total > 0, part / np.where(total > 0, total, 1), 0.0)


def _f1(hit: np.ndarray, false_alarm: np.ndarray, miss: np.ndarray) -> np.ndarray:
    return _share(2 * hit, false_alarm + miss)


def precision_correct(counts: np.ndarray) -> np.ndarray:
    return _share(counts[..., 0], counts[..., 1])


def recall_correct(counts: np.ndarray) -> np.ndarray:
    return _share(counts[..., 0], counts[..., 2])


def f1_correct(counts: np.ndarray) -> np.ndarray:
    return _f1(counts[..., 0], counts[..., 1], counts[..., 2])


def precision_incorrect(counts: np.ndarray) -> np.ndarray:
    return _share(counts[..., 3], counts[..., 2])


def recall_incorrect(counts: np.ndarray) -> np.ndarray:
    return _share(counts[..., 3], counts[..., 1])


def f1_incorrect(counts: np.ndarray) -> np.ndarray:
    return _f1(counts[..., 3], counts[..., 2], counts[..., 1])


def macro_f1(counts: np.ndarray) -> np.ndarray:
    return (f1_correct(counts) + f1_incorrect(counts)) / 2


def accuracy(counts: np.ndarray) -> np.ndarray:
    return (counts[..., 0] + counts[..., 3]) / counts.sum(axis=-1)


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """Mean recall of the two classes; NaN where a class is absent."""
    correct = counts[..., 0] / (counts[..., 0] + counts[..., 2])
    return (correct + counts[..., 3] / (counts[..., 3] + counts[..., 1])) / 2


def matthews(counts: np.ndarray) -> np.ndarray:
    """Matthews' correlation coefficient, in [-1, 1]; 0 where a row or a column of the table is empty."""
    hits, false_alarms, missed, caught = (counts[..., k] for k in range(4))
    margins = (hits + false_alarms) * (hits + missed) * (caught + false_alarms) * (caught + missed)
    return np.where(
        margins > 0, (hits * caught - false_alarms * missed) / np.sqrt(np.where(margins > 0, margins, 1)), 0
    )


COUNT_METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "macro_f1": macro_f1,
    "f1_correct": f1_correct,
    "f1_incorrect": f1_incorrect,
    "precision_correct": precision_correct,
    "recall_correct": recall_correct,
    "precision_incorrect": precision_incorrect,
    "recall_incorrect": recall_incorrect,
    "balanced_accuracy": balanced_accuracy,
    "accuracy": accuracy,
    "mcc": matthews,
}


def auroc(is_correct: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; NaN where only one class is there."""
    truth = np.asarray(is_correct, bool)
    if truth.all() or not truth.any():
        return float("nan")
    return float(roc_auc_score(truth, np.asarray(scores, dtype=np.float64)))


def resample_auroc(is_correct: np.ndarray, scores: np.ndarray, cluster: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of every resample, ties counted half: weights (R, G), cluster (n,) -> (R,)."""
    truth, scores = np.asarray(is_correct, bool), np.asarray(scores, dtype=np.float64)
    order = np.argsort(scores[~truth], kind="stable")
    negatives, negative_cluster = scores[~truth][order], cluster[~truth][order]
    # Correct steps with the same place among the incorrect ones count alike: they are summed before the product.
    below = np.searchsorted(negatives, scores[truth], side="left")
    upto = np.searchsorted(negatives, scores[truth], side="right")
    by_place = np.lexsort((upto, below))
    places = np.stack([below, upto], axis=1)[by_place]
    starts = np.flatnonzero(np.r_[True, np.any(places[1:] != places[:-1], axis=1)])[: len(places)]
    positive_cluster = cluster[truth][by_place]
    if len(positive_cluster) == 0 or len(negatives) == 0:
        return np.full(len(weights), np.nan)
    results = []
    for first in range(0, len(weights), RESAMPLES_PER_CHUNK):
        by_cluster = np.ascontiguousarray(weights[first : first + RESAMPLES_PER_CHUNK].T, dtype=np.float64)
        running = np.zeros((len(negatives) + 1, by_cluster.shape[1]))
        np.cumsum(by_cluster[negative_cluster], axis=0, out=running[1:])
        positives = np.add.reduceat(by_cluster[positive_cluster], starts, axis=0)
        mean_below = (running[places[starts, 0]] + running[places[starts, 1]]) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            won = np.einsum("pr,pr->r", positives, mean_below)
            results.append(won / (positives.sum(axis=0) * running[-1]))
    return np.concatenate(results)


def brier_rows(is_correct: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Squared error and a 1 per step, (n, 2): their ratio of sums is the Brier score."""
    errors = (np.asarray(scores, dtype=np.float64) - np.asarray(is_correct, dtype=np.float64)) ** 2
    return np.stack([errors, np.ones_like(errors)], axis=1)


def calibration_rows(is_correct: np.ndarray, scores: np.ndarray, num_bins: int = NUM_CALIBRATION_BINS) -> np.ndarray:
    """Count, score and truth of each step in the columns of its bin: (n, 3 * num_bins). Bins are of equal width."""
    scores = np.asarray(scores, dtype=np.float64)
    number = np.minimum((scores * num_bins).astype(int), num_bins - 1)
    rows = np.zeros((len(scores), 3, num_bins))
    every = np.arange(len(scores))
    rows[every, 0, number] = 1
    rows[every, 1, number] = scores
    rows[every, 2, number] = np.asarray(is_correct, dtype=np.float64)
    return rows.reshape(len(scores), 3 * num_bins)


def expected_calibration_error(sums: np.ndarray) -> np.ndarray:
    """Sums of `calibration_rows`, (..., 3 * bins): mean |share correct - mean score| over bins, weighted by count."""
    parts = sums.reshape(*sums.shape[:-1], 3, -1)
    gaps = np.abs(parts[..., 2, :] - parts[..., 1, :]).sum(axis=-1)
    return gaps / parts[..., 0, :].sum(axis=-1)


class Threshold(NamedTuple):
    """A cut on step scores (correct where score >= value) and its macro F1 on the steps it was chosen on."""

    value: float
    macro_f1: float


def best_threshold(is_correct: np.ndarray, scores: np.ndarray) -> Threshold:
    """The threshold of highest macro F1, among 0.5, the midpoints of distinct scores and the two extremes.

    Ties go to the one nearest to 0.5, then to the lower.
    """
    truth, scores = np.asarray(is_correct, bool), np.asarray(scores, dtype=np.float64)
    assert len(scores) > 0, "a threshold cannot be chosen on no steps"
    distinct = np.unique(scores)
    middles = (distinct[:-1] + distinct[1:]) / 2
    middles = np.where(middles <= distinct[:-1], distinct[1:], middles)  # neighbouring floats have no middle
    candidates = np.unique(np.r_[distinct[0], middles, np.nextafter(distinct[-1], np.inf), 0.5])
    missed = np.searchsorted(np.sort(scores[truth]), candidates, side="left")
    caught = np.searchsorted(np.sort(scores[~truth]), candidates, side="left")
    hits, false_alarms = truth.sum() - missed, (~truth).sum() - caught
    values = macro_f1(np.stack([hits, false_alarms, missed, caught], axis=1).astype(np.float64))
    # Two cuts with equal counts have equal values; the margin only guards against rounding between unequal ones.
    tied = candidates[values >= values.max() - 1e-12]
    chosen = tied[np.argmin(np.abs(tied - 0.5))]
    return Threshold(float(chosen), float(values.max()))


FIRST_ERROR_COLUMNS = ("erroneous", "erroneous found exactly", "error-free", "error-free left alone")


def first_error_row(labels: list[str], scores: list[float], threshold: float) -> tuple[int, int, int, int] | None:
    """The `FIRST_ERROR_COLUMNS` of one solution, or None where its first error is not known.

    The predicted first error is the first judged step with score < threshold. Steps that are neutral are skipped.
    An unknown step before the first known error leaves the place of the first error open.
    """
    before_unknown = labels[: labels.index("unknown")] if "unknown" in labels else labels
    if "incorrect" not in before_unknown and "unknown" in labels:
        return None
    judged = [step for step, label in enumerate(labels) if label in ("correct", "incorrect")]
    predicted = next((step for step in judged if scores[step] < threshold), None)
    if "incorrect" in labels:
        return 1, int(predicted == labels.index("incorrect")), 0, 0
    return 0, 0, 1, int(predicted is None)


def first_error_f1(sums: np.ndarray) -> np.ndarray:
    """Harmonic mean of the accuracies on erroneous and on error-free solutions; NaN where either kind is absent."""
    on_erroneous = sums[..., 1] / sums[..., 0]
    on_correct = sums[..., 3] / sums[..., 2]
    both = on_erroneous + on_correct
    return np.where(both == 0, 0.0, 2 * on_erroneous * on_correct / np.where(both == 0, 1, both))


def chance_counts(num_correct: np.ndarray, num_incorrect: np.ndarray, share_predicted_correct: float) -> np.ndarray:
    """Expected counts (..., 4) of a guesser that calls a step correct with a fixed probability and looks at nothing.

    Share 1 is "all correct", 0.5 a fair coin, the share of correct steps the base-rate guesser.
    """
    plus, minus = share_predicted_correct, 1 - share_predicted_correct
    columns = [num_correct * plus, num_incorrect * plus, num_correct * minus, num_incorrect * minus]
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=-1)
