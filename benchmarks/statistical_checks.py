"""Do the intervals, p-values and powers of an evaluation hold? Coverage, a null test, a planted effect of 2 points.

python benchmarks/statistical_checks.py [--sets 1000] [--json FILE]
Simulated patients whose truth is known exactly (tests/population.py); every interval is the package's own bootstrap by
patient. The other side is what is nominal: 95 % of intervals hold the truth; 95 % of the intervals of a guesser's gain
hold 0; a planted gain is found as often as medprm.statistics.power says.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from population import (
    STATISTICS,
    Population,
    coverage,
    draw_population,
    found_share,
    measure_sets,
    population_with_gain,
)

from medprm.statistics.bootstrap import MIN_CLUSTERS
from medprm.statistics.power import clusters_needed, power

PATIENTS = (20, 40, 100, 200)
GAIN = 0.02
POPULATION = 3000


def coverages(population: Population, num_sets: int) -> list[dict[str, Any]]:
    """The share of intervals that hold the truth, by number and set size."""
    return [
        {"patients": size}
        | {
            name: coverage(measure_sets(population, name, size, num_sets, 1), population.true_value(name))
            for name in STATISTICS
        }
        for size in PATIENTS
    ]


def null_test(num_sets: int) -> list[dict[str, Any]]:
    """Of how many sets the interval of a guesser's gain holds 0. What the finite population's mean is off 0 by the draw
    of its scores is taken away, so that the true gain is 0 exactly."""
    rows = []
    for size in (100, 200):
        population = draw_population(POPULATION, 0.0, 100 + size)
        centred = population._replace(
            gain=population.gain - [[population.true_value("gain"), 0]] * population.gain[:, 1:]
        )
        rows.append(
            {
                "patients": size,
                "hold_0": round(num_sets * (1 - found_share(measure_sets(centred, "gain", size, num_sets, 2)))),
            }
        )
    return rows


def deviation_of(population: Population) -> float:
    """Behind one patient, of the gain."""
    gain, truth = population.gain, population.true_value("gain")
    residuals = (gain[:, 0] - truth * gain[:, 1]) / gain[:, 1].mean()
    return float(residuals.std())


def planted(num_sets: int) -> list[dict[str, Any]]:
    """How often a true gain of 2 points is found, and how often the formula says."""
    population = population_with_gain(GAIN, POPULATION, 3)
    deviation, truth = deviation_of(population), population.true_value("gain")
    rows = []
    for wanted in (0.5, 0.8, 0.95):
        size = clusters_needed(truth, deviation, wanted)
        found = found_share(measure_sets(population, "gain", size, num_sets, 4))
        rows.append({"patients": size, "power": power(truth, deviation, size), "found": found, "true_gain": truth})
    return rows


def print_tables(result: dict[str, Any]) -> None:
    print(
        f"share of {result['sets']} intervals that hold the truth (a warning is printed below {MIN_CLUSTERS} patients)"
    )
    for row in result["coverage"]:
        print(f"  {row['patients']:4} patients  " + "  ".join(f"{name} {row[name]:.3f}" for name in STATISTICS))
    print(f"a scorer that guesses: intervals of its gain that hold 0, of {result['sets']}")
    for row in result["null"]:
        print(f"  {row['patients']:4} patients  {row['hold_0']}")
    print("a planted gain of 2 points: how often it is found, and the power said")
    for row in result["planted"]:
        print(f"  {row['patients']:4} patients  found {row['found']:.3f}  power {row['power']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000, help="simulated sets of each kind (1000)")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    population = draw_population(POPULATION, 0.8, 0)
    result = {
        "sets": given.sets,
        "coverage": coverages(population, given.sets),
        "null": null_test(given.sets),
        "planted": planted(given.sets),
        "standard_error": math.sqrt(0.95 * 0.05 / given.sets),
    }
    print_tables(result)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
