"""The sequential test: its limit keeps the stated error, counted exactly and in seeded draws."""

from itertools import product

import numpy as np
import pytest
from drawn import replay
from scipy.stats import binom

from medprm.annotation.consensus import label_of_counts
from medprm.annotation.counts import LabelOf, chance_of_change
from medprm.annotation.sequential import (
    CHANCES,
    chance_by_counts,
    chance_limit,
    expected_changes,
    worst_share,
)
from medprm.annotation.settings import RULES, ConsensusSettings, MonteCarloSettings
from medprm.cases.schema import Label, MonteCarlo
from medprm.errors import InputError

NUM = 32


def label_by(judge: Label, rule: str = "brief", least: int = 1) -> LabelOf:
    settings = ConsensusSettings(rule=rule, min_readable=least)
    return lambda counts: label_of_counts(judge, counts, settings)


def all_labels(label_of: LabelOf, num: int) -> list[list[Label]]:
    return [
        [label_of(MonteCarlo(num_correct=r, num_wrong=n - r, num_planned=num)) for r in range(n + 1)]
        for n in range(num + 1)
    ]


def chances_of_change(label_of: LabelOf, n: int, num: int) -> np.ndarray:
    counts = [MonteCarlo(num_correct=r, num_wrong=n - r, num_planned=num) for r in range(n + 1)]
    return np.array([chance_of_change(one, label_of) for one in counts])


def test_the_chance_of_another_label_is_that_of_all_completions() -> None:
    labels = all_labels(label_by("correct"), 7)
    differ = chance_by_counts(labels)
    for n, place in product(range(8), (3, 90, 140, 199)):
        for r in range(n + 1):
            wanted = sum(
                binom.pmf(more, 7 - n, CHANCES[place])
                for more in range(7 - n + 1)
                if labels[7][r + more] != labels[n][r]
            )
            assert differ[n][r, place] == pytest.approx(wanted, abs=1e-12), (n, r)


def test_expected_changes_are_those_of_simulated_rollouts() -> None:
    label_of = label_by("correct")
    stops = {n: chances_of_change(label_of, n, NUM) <= 0.05 for n in range(4, NUM, 4)}
    expected = expected_changes(stops, chance_by_counts(all_labels(label_of, NUM)))
    labels = all_labels(label_of, NUM)
    rng, num_drawn = np.random.default_rng(0), 20_000
    for place in (100, 130, 145, 170):
        right = np.cumsum(rng.random((num_drawn, NUM)) < CHANCES[place], axis=1)
        changed = 0
        for path in right:
            look = next((n for n in range(4, NUM, 4) if stops[n][path[n - 1]]), NUM)
            changed += labels[look][path[look - 1]] != labels[NUM][path[-1]]
        # Four standard errors of 20,000 draws.
        assert changed / num_drawn == pytest.approx(expected[place], abs=4 * np.sqrt(expected[place] / num_drawn))
    assert expected.max() > 0.04, "a limit that changes something"


@pytest.mark.parametrize(("rule", "least"), [*((rule, 1) for rule in RULES), ("brief", 8)])
@pytest.mark.parametrize("judge", ["correct", "incorrect"])
def test_the_limit_is_the_largest_that_keeps_the_error(rule: str, least: int, judge: Label) -> None:
    num, looks = 12, range(3, 12, 3)
    label_of = label_by(judge, rule, least)
    differ = chance_by_counts(all_labels(label_of, num))
    chances = {n: chances_of_change(label_of, n, num) for n in looks}

    def share(limit: float, spread: float) -> float:
        return worst_share(expected_changes({n: row <= limit for n, row in chances.items()}, differ), spread)

    for error, spread in product((0.01, 0.05), (0.0, 0.5, 1.0)):
        limit = chance_limit(label_of, num, looks, error, spread)
        assert share(limit, spread) <= error
        larger = min((one for row in chances.values() for one in row if one > limit), default=None)
        assert larger is None or share(larger, spread) > error, (error, spread, limit)


def test_the_wider_the_chances_are_spread_the_fewer_rollouts() -> None:
    limits = [chance_limit(label_by("correct"), NUM, range(4, NUM, 4), 0.01, part) for part in (0.0, 0.5, 1.0)]
    assert 0 < limits[0] < limits[1] < limits[2]
    assert worst_share(np.arange(200.0), 0.0) == 199 and worst_share(np.arange(200.0), 1.0) == 99.5
    assert worst_share(np.arange(200.0), 0.5) == 149.5


@pytest.mark.parametrize("judge", ["correct", "incorrect"])
def test_with_spread_0_no_chance_goes_over_the_error(judge: Label) -> None:
    settings = MonteCarloSettings(stopping="sequential", sequential_error=0.02, sequential_spread=0.0)
    at = 0.7 if judge == "correct" else 0.3  # where labels change most
    for chance, unread in ((0.0, 0.0), (0.15, 0.3), (0.5, 0.0), (0.85, 0.0), (1.0, 0.3), (at, 0.0), (at, 0.3)):
        found = replay(judge, chance, settings, 400, unread)
        # 2 % and three standard errors of 400 draws.
        assert found.changed <= 0.02 + 3 * np.sqrt(0.02 / 400), (judge, chance, unread, found)


def test_the_default_holds_where_chances_are_spread_over_half_of_the_range() -> None:
    """A mixture that nothing was tuned on, over the half of the range where labels change most."""
    settings = MonteCarloSettings(stopping="sequential", sequential_error=0.02)
    chances = (0.525, 0.575, 0.625, 0.675, 0.725, 0.775, 0.825, 0.875, 0.925, 0.975)
    around = [replay("correct", chance, settings, 200).changed for chance in chances]
    assert np.mean(around) <= 0.02 + 3 * np.sqrt(0.02 / 2000)
    at_the_threshold = replay("correct", 0.7, settings, 400)
    assert at_the_threshold.changed > 0.02, "steps that all lie at the threshold are what the spread rules out"


def test_it_saves_more_than_exact_stopping() -> None:
    sequential, exact = MonteCarloSettings(stopping="sequential"), MonteCarloSettings()
    cases: tuple[tuple[Label, float], ...] = (("correct", 1.0), ("correct", 0.9), ("incorrect", 0.0))
    for judge, chance in cases:
        assert replay(judge, chance, sequential).saved > replay(judge, chance, exact).saved + 0.25, chance


def test_settings_without_effect_or_meaning_are_refused() -> None:
    with pytest.raises(InputError, match="sequential_spread is 0.1 but only stopping=sequential reads it"):
        MonteCarloSettings(sequential_spread=0.1)
    with pytest.raises(InputError, match="sequential_error is 0.02 but only"):
        MonteCarloSettings(stopping="fixed", sequential_error=0.02)
    with pytest.raises(InputError, match="0 <= sequential_spread <= 1"):
        MonteCarloSettings(stopping="sequential", sequential_spread=1.5)
