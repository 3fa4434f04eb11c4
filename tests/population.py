"""A population of simulated patients with a truth that is known exactly, to check intervals, p-values and powers on.

Every patient has one or more cases of eight candidates, whose steps are scored; patients differ in difficulty, so that
the rows of one patient go together. A set of G patients is drawn from the population with replacement, so that the
population's own numbers are the truth. The statistics are those of the package, on sums by patient.
"""

from typing import NamedTuple

import numpy as np

from medprm.evaluation import best_of_n
from medprm.statistics.bootstrap import Estimate, Statistic, draw_weights, estimate, ratio
from medprm.statistics.step_metrics import confusion_rows, macro_f1

NUM_CANDIDATES, NUM_STEPS, SIZE = 8, 5, 4


class Population(NamedTuple):
    """Sums by patient, (P, K), of each number."""

    best_of_n: np.ndarray
    gain: np.ndarray
    macro_f1: np.ndarray

    def true_value(self, name: str) -> float:
        return float(STATISTICS[name](getattr(self, name).sum(axis=0)))


STATISTICS: dict[str, Statistic] = {"best_of_n": ratio, "gain": ratio, "macro_f1": macro_f1}


def draw_population(num_patients: int, signal: float, seed: int) -> Population:
    """`signal` is how far the scores of right candidates lie above those of wrong ones; 0 is a scorer that guesses."""
    generator = np.random.default_rng(seed)
    best, gain, counts = np.zeros((num_patients, 2)), np.zeros((num_patients, 2)), np.zeros((num_patients, 4))
    for patient in range(num_patients):
        ability = generator.normal(-0.2, 1.2)
        for _ in range(1 + generator.poisson(0.5)):
            is_right = generator.random(NUM_CANDIDATES) < 1 / (1 + np.exp(-ability - generator.normal(0, 0.8)))
            scores = generator.normal(0, 1, NUM_CANDIDATES) + signal * is_right
            picked = best_of_n.best_of_n(scores, is_right, [SIZE])[0]
            best[patient] += picked, 1
            gain[patient] += picked - is_right.mean(), 1
            is_correct = generator.random((NUM_CANDIDATES, NUM_STEPS)) < np.where(is_right, 0.9, 0.55)[:, None]
            predicted = generator.normal(0.4 + 0.5 * ability, 1, is_correct.shape) + 1.2 * is_correct > 0.8
            counts[patient] += confusion_rows(is_correct.ravel(), predicted.ravel()).sum(axis=0)
    return Population(best, gain, counts)


def measure_sets(
    population: Population, name: str, num_patients: int, num_sets: int, seed: int, num_bootstrap: int = 1000
) -> list[Estimate]:
    """The number of `num_sets` sets of `num_patients` patients each, with its interval."""
    sums, generator, found = getattr(population, name), np.random.default_rng(seed), []
    for number in range(num_sets):
        drawn = sums[generator.integers(0, len(sums), num_patients)]
        weights = draw_weights(num_patients, num_bootstrap, seed * 1_000_003 + number)
        found.append(estimate(STATISTICS[name], drawn, weights, num_patients))
    return found


def coverage(sets: list[Estimate], truth: float) -> float:
    """Share of the intervals that hold the truth."""
    return float(np.mean([one.low <= truth <= one.high for one in sets]))


def found_share(sets: list[Estimate]) -> float:
    """Share of the intervals that exclude 0."""
    return float(np.mean([one.low > 0 or one.high < 0 for one in sets]))


def population_with_gain(gain: float, num_patients: int, seed: int) -> Population:
    """A population whose true gain of Best-of-N over a random pick is `gain`, to a tenth of a point: by bisection."""
    low, high = 0.0, 2.0
    for _ in range(20):
        middle = (low + high) / 2
        population = draw_population(num_patients, middle, seed)
        if abs(population.true_value("gain") - gain) < 0.001:
            return population
        low, high = (middle, high) if population.true_value("gain") < gain else (low, middle)
    raise AssertionError(f"no signal gives a gain of {gain}")
