"""Several seeds: the interval covers the truth, and is wider than that of the patients alone."""

import math

import numpy as np

from medprm.statistics.seeds import combine_seeds


def simulated(generator: np.random.Generator, num_seeds: int, num_patients: int) -> tuple[list[float], np.ndarray]:
    """Truth 0: an effect of each patient, of each seed, and of both together."""
    patients, seeds = generator.normal(0, 1, num_patients), generator.normal(0, 0.1, num_seeds)
    table = patients[None] + seeds[:, None] + generator.normal(0, 0.5, (num_seeds, num_patients))
    drawn = generator.integers(0, num_patients, (200, num_patients))
    return table.mean(axis=1).tolist(), table.mean(axis=0)[drawn].mean(axis=1)


def test_coverage_over_simulated_runs() -> None:
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(600):
        by_seed, resampled = simulated(generator, 3, 100)
        found = combine_seeds(by_seed, resampled, 100, 100)
        covered.append(found.low <= 0 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.985  # measured 0.957


def test_one_seed_has_no_interval_and_equal_seeds_that_of_the_patients() -> None:
    resampled = np.random.default_rng(0).normal(0.5, 0.02, 5000)
    assert math.isnan(combine_seeds([0.5], resampled, 100, 10).low)
    same = combine_seeds([0.5, 0.5, 0.5], resampled, 10_000, 10)
    assert abs((same.high - same.low) / 2 - 1.96 * 0.02) < 0.001
    apart = combine_seeds([0.4, 0.5, 0.6], resampled, 10_000, 10)
    assert apart.high - apart.low > 3 * (same.high - same.low)
