"""Intervals hold the truth as often as they say, a guesser's gain is 0, a planted gain is found as the power says.

benchmarks/statistical_checks.py prints the whole table; here in part, and in full where marked slow.
"""

import numpy as np
import pytest
from population import STATISTICS, coverage, draw_population, found_share, measure_sets, population_with_gain

from medprm.statistics.bootstrap import Clusters
from medprm.statistics.power import clusters_needed, deviation_by_cluster, power


@pytest.fixture(scope="module")
def population():
    return draw_population(3000, 0.8, 0)


def test_intervals_of_100_patients_hold_the_truth(population) -> None:
    sets = measure_sets(population, "best_of_n", 100, 200, 1, num_bootstrap=400)
    assert 0.90 <= coverage(sets, population.true_value("best_of_n")) <= 0.985  # 3 standard errors of 200 sets
    wrong = population.true_value("best_of_n") + 0.06
    assert coverage(sets, wrong) < 0.8, "a wrong truth is noticed"


@pytest.mark.slow
@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("num_patients", [100, 200])
def test_coverage_over_1000_sets(population, name: str, num_patients: int) -> None:
    sets = measure_sets(population, name, num_patients, 1000, 1)
    assert 0.93 <= coverage(sets, population.true_value(name)) <= 0.97


@pytest.mark.slow
def test_a_guessers_gain_holds_0_in_930_to_970_of_1000_sets() -> None:
    population = draw_population(3000, 0.0, 200)
    centred = population.gain - [[population.true_value("gain"), 0]] * population.gain[:, 1:]
    sets = measure_sets(population._replace(gain=centred), "gain", 100, 1000, 2)
    assert 930 <= 1000 * (1 - found_share(sets)) <= 970


@pytest.mark.slow
def test_a_planted_gain_of_2_points_is_found_with_the_power_that_is_said() -> None:
    population = population_with_gain(0.02, 3000, 3)
    gain, truth = population.gain, population.true_value("gain")
    residuals = (gain[:, 0] - truth * gain[:, 1]) / gain[:, 1].mean()
    size = clusters_needed(truth, float(residuals.std()), 0.8)
    found = found_share(measure_sets(population, "gain", size, 1000, 4))
    assert found == pytest.approx(power(truth, float(residuals.std()), size), abs=0.04)


def test_the_deviation_of_a_set_is_near_the_populations(population) -> None:
    """What `metrics.json` says of the power comes from the set itself."""
    gain = population.gain
    rows = np.repeat(gain[:, 0] / gain[:, 1], gain[:, 1].astype(int))
    index = np.repeat(np.arange(len(gain)), gain[:, 1].astype(int))
    residuals = (gain[:, 0] - population.true_value("gain") * gain[:, 1]) / gain[:, 1].mean()
    assert deviation_by_cluster(rows, Clusters(index, len(gain))) == pytest.approx(residuals.std(), rel=0.01)
