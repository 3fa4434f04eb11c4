"""Agreement: scikit-learn's kappa, Krippendorff's printed example, undefined shown as undefined."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from medprm.statistics.agreement import (
    cohen_kappa,
    confusion,
    krippendorff_alpha,
    pair_agreement,
    pair_agreements,
    pearson,
)

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers, twelve units.
OBSERVERS = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]


def two_raters(seed: int, num: int = 200) -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(seed)
    first = generator.choice(["correct", "incorrect", "neutral"], num, p=[0.7, 0.2, 0.1])
    second = np.where(generator.random(num) < 0.75, first, generator.permutation(first))
    return first.tolist(), second.tolist()


def test_kappa_equals_scikit_learn_inside_the_bootstrap_too() -> None:
    first, second = two_raters(0)
    result = pair_agreement(first, second, list(range(200)), num_bootstrap=400)
    assert result.kappa.value == pytest.approx(cohen_kappa_score(first, second))
    assert result.raw_agreement.value == pytest.approx(np.mean([a == b for a, b in zip(first, second, strict=True)]))
    generator = np.random.default_rng(0)
    slow = []
    for _ in range(400):
        rows = generator.integers(0, 200, 200)
        slow.append(cohen_kappa_score([first[i] for i in rows], [second[i] for i in rows]))
    # Same draws as the fast way: the same interval but for float32 sums.
    assert (result.kappa.low, result.kappa.high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=1e-5)


def test_undefined_kappa_is_not_zero() -> None:
    assert math.isnan(cohen_kappa(["+"] * 5, ["+"] * 5))
    assert math.isnan(cohen_kappa([], []))
    result = pair_agreement(["+"] * 60, ["+"] * 60, list(range(60)), num_bootstrap=100)
    assert not result.kappa.is_defined
    assert result.raw_agreement.value == 1


def test_units_that_one_rater_skipped_are_left_out_and_counted() -> None:
    result = pair_agreement(["+", None, "-", "+"], ["+", "+", "-", None], [0, 1, 2, 3], num_bootstrap=100)
    assert result.num_left_out == 2
    assert result.raw_agreement.n == 2


def test_many_pairs_at_once_are_each_as_alone() -> None:
    generator = np.random.default_rng(1)
    pairs = []
    for num in [2, 3, 40, 40, 40, 0, 7]:
        first, second = two_raters(num, 40)
        ids = generator.integers(0, max(1, num // 2), 40).tolist()
        pairs.append(([None, *first[: num - 1]] if num else [], second[:num], ids[:num]))
    found = pair_agreements([confusion(*one) for one in pairs], num_bootstrap=200)
    for one, alone in zip(found, (pair_agreement(*pair, num_bootstrap=200) for pair in pairs), strict=True):
        assert np.ravel(one[:3]).tolist() == pytest.approx(np.ravel(alone[:3]).tolist(), nan_ok=True)
        assert one[3:] == alone[3:]
    assert [one.num_left_out for one in found] == [1, 1, 1, 1, 1, 0, 1]
    assert found[2].num_clusters == len(set(pairs[2][2][1:]))


def test_ac1_by_hand() -> None:
    # Of 125 units 118 are + by both, 5 and 2 are disputed, none is - by both.
    first = ["+"] * 123 + ["-"] * 2
    second = ["+"] * 118 + ["-"] * 5 + ["+"] * 2
    share = (123 + 120) / 250
    expected = 2 * share * (1 - share)
    result = pair_agreement(first, second, list(range(125)), num_bootstrap=200)
    assert result.ac1.value == pytest.approx((118 / 125 - expected) / (1 - expected))
    assert result.kappa.value < 0 < 0.9 < result.ac1.value, "kappa collapses under a skewed prevalence, AC1 does not"


def test_alpha_of_krippendorffs_example() -> None:
    units = [[None if one == "." else one for one in unit] for unit in zip(*OBSERVERS, strict=True)]
    alpha = krippendorff_alpha(units, num_bootstrap=500)
    assert alpha.value == pytest.approx(0.743, abs=5e-4)
    assert alpha.n == 11, "one unit has a single rating and cannot be paired"
    assert alpha.low < alpha.value < alpha.high


def test_alpha_undefined_and_perfect() -> None:
    assert math.isnan(krippendorff_alpha([["+", "+"]] * 20, num_bootstrap=100).value)
    assert math.isnan(krippendorff_alpha([["+", None]] * 20, num_bootstrap=100).value)
    assert krippendorff_alpha([["+", "+"], ["-", "-"]] * 20, num_bootstrap=100).value == 1


def test_repeating_every_unit_in_one_cluster_does_not_narrow_the_interval() -> None:
    first, second = two_raters(4)
    once = pair_agreement(first, second, list(range(200)), num_bootstrap=300).kappa
    thrice = pair_agreement(first * 3, second * 3, list(range(200)) * 3, num_bootstrap=300).kappa
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=1e-3)


def test_pearson_equals_numpy_inside_the_bootstrap_too() -> None:
    generator = np.random.default_rng(0)
    x = 1000 + generator.normal(size=150)
    y = 0.6 * x + generator.normal(size=150)
    found = pearson(x.tolist(), y.tolist(), list(range(150)), num_bootstrap=300)
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1]) and found.n == 150
    generator = np.random.default_rng(0)
    slow = []
    for _ in range(300):
        rows = generator.integers(0, 150, 150)
        slow.append(np.corrcoef(x[rows], y[rows])[0, 1])
    # Same draws as the fast way: the same interval but for float32 sums.
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=1e-5)


def test_pearson_leaves_out_missing_scores_and_is_undefined_without_spread() -> None:
    assert pearson([1.0, None, 2.0, 3.0], [2.0, 5.0, None, 6.0], [0, 1, 2, 3], num_bootstrap=100).n == 2
    assert pearson([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [0, 1, 2], num_bootstrap=100).value == pytest.approx(-1)
    for constant in ([0.5] * 30, [None] * 30):
        assert math.isnan(pearson(constant, [float(i) for i in range(30)], list(range(30)), num_bootstrap=100).value)
