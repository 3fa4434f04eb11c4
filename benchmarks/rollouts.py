"""Rollouts: how many stopping early saves and how many labels it changes; what a search for the first error takes.

python benchmarks/rollouts.py [--cases N] [--json FILE]
All 32 rollouts of a step are drawn once and replayed under each way of stopping, by the brief's rule; a label counts as
changed where it differs from that of all 32. Steps whose label no rollout can change (judge unknown, neutral) are left
out. Stated mixtures of steps (`stored_rollouts.MIXTURES`) with 3 % unreadable rollouts, and the first N cases of the
phantom with the shipped base (64 cases: 10 minutes the first time, kept in --folder). 95 % intervals by patient, of the
mixtures by step.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from measure import finish
from stored_rollouts import MIXTURES, NUM_PLANNED, CaseDraws, StoredPolicy, draw_mixture, draw_phantom, draw_solutions

from medprm.annotation.consensus import label_of_counts
from medprm.annotation.first_error import measure_solutions
from medprm.annotation.rollouts import StepPrefix, roll_out
from medprm.annotation.settings import ConsensusSettings, MonteCarloSettings
from medprm.cases.schema import MonteCarlo
from medprm.statistics.bootstrap import draw_weights, estimate_mean, number_clusters

RULE = ConsensusSettings()
FIXED = MonteCarloSettings(num_rollouts=NUM_PLANNED, rollouts_per_round=NUM_PLANNED, stopping="fixed")
ROUNDS = (1, 2, 4)
ERRORS = (0.005, 0.01, 0.02, 0.05)
# Least saving [%] of exact stopping where the sources agree and where they do not, by verdict and score.
BARS = {
    "agree": (25.0, (("correct", 1.0), ("incorrect", 0.0))),
    "disagree": (60.0, (("correct", 0.0), ("incorrect", 1.0))),
}
NUM_STEPS = 4000  # of a mixture
NUM_BOOTSTRAP = 1000


class Step(NamedTuple):
    """One step of a replay: its patient, the judge's verdict, its score of all rollouts in tenths, the rollouts run."""

    group_id: str
    judge: str
    tenth: int
    num_run: int
    is_changed: bool


def replay(one: CaseDraws, settings: MonteCarloSettings) -> list[tuple[StepPrefix, MonteCarlo]]:
    """Every step of a case that rollouts can label, with its counts under `settings`."""
    wanted = [step for steps in one.solutions for step in steps if step.judge in ("correct", "incorrect")]
    policy = StoredPolicy(one.drawn)
    return list(zip(wanted, roll_out(one.case, wanted, policy, settings, RULE), strict=True))


def against_all(
    draws: Sequence[CaseDraws], whole: Sequence[Sequence[tuple[StepPrefix, MonteCarlo]]], way: MonteCarloSettings
) -> list[Step]:
    """The steps of a replay, compared with `whole`: the same with all planned rollouts."""
    return [
        Step(
            one.case.group_id,
            step.judge,
            tenth_of(step, full),
            run.num_total,
            label_of_counts(step.judge, run, RULE) != label_of_counts(step.judge, full, RULE),
        )
        for one, fulls in zip(draws, whole, strict=True)
        for (step, run), (_, full) in zip(replay(one, way), fulls, strict=True)
    ]


def tenth_of(step: StepPrefix, counts: MonteCarlo) -> int:
    """The step's score of all rollouts in tenths; 0 and 10 for scores of just 0 and 1."""
    if counts.num_correct == 0 or counts.num_wrong == 0:
        return 10 * (counts.num_correct > 0)
    return min(9, max(1, round(10 * counts.num_correct / (counts.num_correct + counts.num_wrong))))


def ways(every_round: bool) -> dict[str, MonteCarloSettings]:
    """The ways of stopping that are compared."""
    found = {}
    for size in ROUNDS if every_round else (4,):
        exact = replace(FIXED, stopping="exact", rollouts_per_round=size)
        sequential = replace(exact, stopping="sequential")
        found[f"exact, rounds of {size}"] = exact
        found |= {
            f"sequential {error:g}, rounds of {size}": replace(sequential, sequential_error=error) for error in ERRORS
        }
    for spread in (0.0, 1.0):
        one = replace(FIXED, stopping="sequential", rollouts_per_round=4, sequential_spread=spread)
        found[f"sequential {one.sequential_error:g}, spread {spread:g}, rounds of 4"] = one
    return found


def compare_ways(name: str, draws: Sequence[CaseDraws], every_round: bool) -> tuple[dict[str, float], dict[str, Any]]:
    """Rollouts saved and labels changed by each way, in percent, over all and by verdict and score."""
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {}
    whole = [replay(one, FIXED) for one in draws]
    for way, settings in ways(every_round).items():
        steps = against_all(draws, whole, settings)
        # The steps of a mixture have no patient: each is a cluster.
        ids = range(len(steps)) if len(draws) == 1 else [one.group_id for one in steps]
        clusters = number_clusters(list(ids))
        weights = draw_weights(clusters.num, NUM_BOOTSTRAP, 0)
        saved = np.array([100 * (1 - one.num_run / NUM_PLANNED) for one in steps])
        changed = np.array([100.0 * one.is_changed for one in steps])
        found = {
            "saved": estimate_mean(saved, clusters, weights).as_json(),
            "changed": estimate_mean(changed, clusters, weights).as_json(),
            "by_verdict_and_score": by_cell(steps),
        }
        figures[way] = found
        ratios |= {f"{name}: {way}: {what} [%]": found[what]["value"] for what in ("saved", "changed")}
    return ratios, figures


def by_cell(steps: Sequence[Step]) -> dict[str, list[dict[str, float]]]:
    """By verdict and score in tenths: steps, rollouts saved and labels changed [%]."""
    table: dict[str, list[dict[str, float]]] = {}
    for judge in ("correct", "incorrect"):
        rows = [[one for one in steps if one.judge == judge and one.tenth == tenth] for tenth in range(11)]
        table[judge] = [
            {
                "score": tenth / 10,
                "n": len(row),
                "saved": 100 * (1 - float(np.mean([one.num_run for one in row])) / NUM_PLANNED),
                "changed": 100 * float(np.mean([one.is_changed for one in row])),
            }
            for tenth, row in enumerate(rows)
            if row
        ]
    return table


def against_bars(name: str, found: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """Saved by exact stopping over what is wanted of it, with a line for each bar."""
    ratios = {}
    for what, (least, cells) in BARS.items():
        rows = [row for judge, score in cells for row in found[judge] if row["score"] == score]
        saved = sum(row["saved"] * row["n"] for row in rows) / sum(row["n"] for row in rows)
        is_met = "met" if saved >= least else "MISSED"
        print(f"{name}: where the sources {what}, {saved:.1f} % saved, wanted {least:g} %: {is_met}")
        ratios[f"{name}: saved where the sources {what} / {least:g} %"] = saved / least
    return ratios


def compare_searches(name: str, draws: Sequence[CaseDraws]) -> tuple[dict[str, float], dict[str, Any]]:
    """Rollouts a solution for all prefixes, for the search, and from the left up to the error, by rule=value."""
    num_solutions = sum(len(one.solutions) for one in draws)
    figures: dict[str, Any] = {"num_solutions": num_solutions}
    ratios: dict[str, float] = {}
    for stopping in ("fixed", "exact"):
        way = replace(FIXED, stopping=stopping, rollouts_per_round=4)
        every, halved = measure_all(draws, way), measure_all(draws, replace(way, search="first_error"))
        left = sum(num_from_left(one, runs) for one, runs in zip(draws, every.counts, strict=True))
        taken = {"all": every.num_run, "first_error": halved.num_run, "from the left": left}
        figures |= {f"{search}, {stopping}": num / num_solutions for search, num in taken.items()}
        for search in ("first_error", "from the left"):
            ratios[f"search, {name}: all / {search}, {stopping}"] = taken["all"] / taken[search]
        pairs = [zip(*both, strict=True) for both in zip(every.counts, halved.counts, strict=True)]
        is_same = [first_error(whole) == first_error(runs) for both in pairs for whole, runs in both]
        ratios[f"search, {name}: the same first error, {stopping} [%]"] = 100 * float(np.mean(is_same))
    return ratios, figures


class Measurement(NamedTuple):
    """The counts of every case's solutions, and the rollouts that were drawn for them."""

    counts: list[list[list[MonteCarlo | None]]]
    num_run: int


def measure_all(draws: Sequence[CaseDraws], settings: MonteCarloSettings) -> Measurement:
    policies = [StoredPolicy(one.drawn) for one in draws]
    consensus = ConsensusSettings(rule="value")
    counts = [
        measure_solutions(one.case, one.solutions, policy, settings, consensus)
        for one, policy in zip(draws, policies, strict=True)
    ]
    return Measurement(counts, sum(policy.num_served for policy in policies))


def num_from_left(draws: CaseDraws, counts: Sequence[Sequence[MonteCarlo | None]]) -> int:
    """Rollouts of a case whose prefixes are measured one after another up to the first error."""
    taken = {}
    for steps, runs in zip(draws.solutions, counts, strict=True):
        last = first_error(runs)
        for one, run in list(zip(steps, runs, strict=True))[: None if last is None else last + 1]:
            assert run is not None, "all prefixes were measured"
            taken[one.steps] = run.num_total
    return sum(taken.values())


def first_error(counts: Sequence[MonteCarlo | None]) -> int | None:
    """The first measured prefix that no rollout was right from."""
    return next((place for place, run in enumerate(counts) if run is not None and run.num_correct == 0), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=64, help="cases of the phantom")
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench/rollouts"), help="keeps the phantom's draws")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", type=Path, help="file for the figures; the ratios are under `ratios`")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {}
    phantom = draw_phantom(given.folder, given.cases)
    compared = {f"mixture {name}": [draw_mixture(table, NUM_STEPS)] for name, table in MIXTURES.items()}
    for name, draws in ({"phantom": phantom} | compared).items():
        found, figures[name] = compare_ways(name, draws, name in ("phantom", *list(compared)[:2]))
        ratios |= found
        if name in ("phantom", "mixture as the phantom"):
            ratios |= against_bars(name, figures[name]["exact, rounds of 4"]["by_verdict_and_score"])
    solutions = {
        f"{number} prefixes, half right before the error": [draw_solutions(number, 300, 0.5)] for number in (4, 8, 16)
    }
    for name, draws in ({"phantom": phantom} | solutions).items():
        found, figures[f"search, {name}"] = compare_searches(name, draws)
        ratios |= found
    finish(given, ratios, figures)


if __name__ == "__main__":
    main()
