"""Step metrics: own functions of counts equal scikit-learn's, published baselines, thresholds by brute force."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from medprm.statistics import step_metrics
from medprm.statistics.bootstrap import draw_weights, number_clusters

PLUS, MINUS = 16585, 7691  # VisualProcessBench, steps of each label without neutral


def sample(seed: int, num: int = 400, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties that say something of the truth."""
    generator = np.random.default_rng(seed)
    truth = generator.random(num) < 0.7
    scores = np.clip(np.round(0.35 * truth + 0.65 * generator.random(num), digits), 0, 1)
    return truth, scores


@pytest.mark.parametrize("seed", range(5))
def test_functions_of_counts_equal_scikit_learn(seed: int) -> None:
    truth, scores = sample(seed)
    predicted = scores >= 0.4 + 0.1 * seed
    counts = step_metrics.confusion_rows(truth, predicted).sum(axis=0)
    both = {"labels": [False, True], "zero_division": 0}
    golden = {
        "macro_f1": sklearn_metrics.f1_score(truth, predicted, average="macro", **both),
        "f1_correct": sklearn_metrics.f1_score(truth, predicted),
        "f1_incorrect": sklearn_metrics.f1_score(truth, predicted, pos_label=False),
        "precision_correct": sklearn_metrics.precision_score(truth, predicted),
        "recall_correct": sklearn_metrics.recall_score(truth, predicted),
        "precision_incorrect": sklearn_metrics.precision_score(truth, predicted, pos_label=False),
        "recall_incorrect": sklearn_metrics.recall_score(truth, predicted, pos_label=False),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, predicted),
        "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "mcc": sklearn_metrics.matthews_corrcoef(truth, predicted),
    }
    found = {name: float(metric(counts)) for name, metric in step_metrics.COUNT_METRICS.items()}
    assert found == pytest.approx(golden, abs=1e-12)


def test_a_class_never_predicted_has_f1_zero_as_in_scikit_learn() -> None:
    counts = np.array([70.0, 30.0, 0.0, 0.0])
    assert step_metrics.f1_incorrect(counts) == 0
    assert step_metrics.precision_incorrect(counts) == 0


def test_brier_equals_scikit_learn() -> None:
    truth, scores = sample(1)
    sums = step_metrics.brier_rows(truth, scores).sum(axis=0)
    assert sums[0] / sums[1] == pytest.approx(sklearn_metrics.brier_score_loss(truth, scores))


def test_resampled_auroc_equals_scikit_learn_on_repeated_rows() -> None:
    truth, scores = sample(2, num=150, digits=1)
    clusters = number_clusters((np.arange(150) // 6).tolist())
    weights = draw_weights(clusters.num, 300, seed=0)
    found = step_metrics.resample_auroc(truth, scores, clusters.index, weights)
    assert found.shape == (300,)
    for row in (0, 1, 150, 299):
        times = weights[row][clusters.index].astype(int)
        golden = sklearn_metrics.roc_auc_score(np.repeat(truth, times), np.repeat(scores, times))
        assert found[row] == pytest.approx(golden, abs=1e-12)


def test_auroc_of_one_class_is_undefined() -> None:
    assert math.isnan(step_metrics.auroc(np.ones(5, bool), np.linspace(0, 1, 5)))
    nothing = step_metrics.resample_auroc(np.ones(5, bool), np.linspace(0, 1, 5), np.arange(5), np.ones((3, 5)))
    assert np.isnan(nothing).all()


def test_calibration_error_by_hand() -> None:
    scores = np.array([0.05, 0.05, 0.95, 1.0, 1.0, 0.95])
    truth = np.array([False, True, True, True, True, False])
    sums = step_metrics.calibration_rows(truth, scores).sum(axis=0)
    by_hand = 2 / 6 * abs(0.5 - 0.05) + 4 / 6 * abs(0.75 - 0.975)
    assert step_metrics.expected_calibration_error(sums) == pytest.approx(by_hand)


@pytest.mark.parametrize("seed", range(4))
def test_best_threshold_equals_brute_force(seed: int) -> None:
    truth, scores = sample(seed, num=80)
    best = step_metrics.best_threshold(truth, scores)
    cuts = np.r_[np.arange(0, 1, 0.01) + 0.005, -0.1, 1.1]  # one between any two scores
    values = [sklearn_metrics.f1_score(truth, scores >= cut, average="macro", zero_division=0) for cut in cuts]
    assert best.macro_f1 == pytest.approx(max(values))
    assert sklearn_metrics.f1_score(truth, scores >= best.value, average="macro") == pytest.approx(max(values))


def test_of_equal_thresholds_the_nearest_to_a_half_is_taken() -> None:
    truth = np.array([False, False, True, True])
    assert step_metrics.best_threshold(truth, np.array([0.1, 0.2, 0.8, 0.9])).value == 0.5
    assert step_metrics.best_threshold(truth, np.array([0.1, 0.6, 0.8, 0.9])).value == pytest.approx(0.7)
    assert step_metrics.best_threshold(truth, np.array([0.1, 0.2, 0.3, 0.4])).value == pytest.approx(0.25)


def test_threshold_between_neighbouring_floats_still_splits_them() -> None:
    low = 0.7
    high = np.nextafter(low, 1)
    best = step_metrics.best_threshold(np.array([False, True]), np.array([low, high]))
    assert low < best.value <= high
    assert best.macro_f1 == 1


@pytest.mark.parametrize(("share", "published"), [(1.0, 40.6), (0.5, 48.3), (PLUS / (PLUS + MINUS), 50.0)])
def test_guessers_reach_the_published_baselines_of_visualprocessbench(share: float, published: float) -> None:
    counts = step_metrics.chance_counts(np.array(PLUS), np.array(MINUS), share)
    assert round(100 * float(step_metrics.macro_f1(counts)), 1) == published


# Source, steps labelled + and - without neutral, macro F1 of calling all correct and of a fair coin [%].
BY_SOURCE = (
    ("MathVerse-VO", 5767, 2960, 39.8, 48.7),
    ("MathVision", 3875, 2350, 38.4, 49.2),
    ("DynaMath", 3469, 1091, 43.2, 46.4),
    ("WeMath", 1776, 582, 43.0, 46.6),
    ("MMMU", 1698, 708, 41.4, 47.8),
)


def test_guessers_on_each_source_of_visualprocessbench() -> None:
    for name, plus, minus, all_plus, coin in BY_SOURCE:
        for share, golden in ((1.0, all_plus), (0.5, coin)):
            counts = step_metrics.chance_counts(np.array(plus), np.array(minus), share)
            assert round(100 * float(step_metrics.macro_f1(counts)), 1) == golden, name
    assert (sum(row[1] for row in BY_SOURCE), sum(row[2] for row in BY_SOURCE)) == (PLUS, MINUS)


def test_first_error_rows() -> None:
    def row(labels: str, *scores: float) -> tuple[int, int, int, int] | None:
        words = {"+": "correct", "-": "incorrect", "=": "neutral", "?": "unknown"}
        return step_metrics.first_error_row([words[one] for one in labels], list(scores), 0.5)

    assert row("++-", 0.9, 0.9, 0.1) == (1, 1, 0, 0)
    assert row("+--", 0.9, 0.9, 0.1) == (1, 0, 0, 0), "the second error is not the first"
    assert row("++-", 0.1, 0.9, 0.1) == (1, 0, 0, 0)
    assert row("++-", 0.9, 0.9, 0.9) == (1, 0, 0, 0)
    assert row("+++", 0.9, 0.9, 0.5) == (0, 0, 1, 1), "a score at the threshold counts as correct"
    assert row("+++", 0.9, 0.1, 0.9) == (0, 0, 1, 0)
    assert row("+=+", 0.9, 0.1, 0.9) == (0, 0, 1, 1), "neutral steps are skipped"
    assert row("+-??", 0.9, 0.1, 0.9, 0.1) == (1, 1, 0, 0), "labels after the first error are not needed"
    assert row("?-+", 0.9, 0.1, 0.9) is None
    assert row("+?+", 0.9, 0.1, 0.9) is None


def test_first_error_f1_is_the_harmonic_mean() -> None:
    assert step_metrics.first_error_f1(np.array([10, 4, 5, 4])) == pytest.approx(2 * 0.4 * 0.8 / 1.2)
    assert step_metrics.first_error_f1(np.array([10, 0, 5, 0])) == 0
    with np.errstate(invalid="ignore"):
        assert np.isnan(step_metrics.first_error_f1(np.array([10, 4, 0, 0])))
