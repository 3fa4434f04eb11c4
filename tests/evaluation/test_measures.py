"""Measures and tables over seeds: the numbers of a report again, their mean, and intervals that grow with the seeds."""

from dataclasses import replace

import numpy as np
import pytest
from test_groups import rescored

from medprm.errors import InputError
from medprm.evaluation.groups import compare_groups, measured_runs
from medprm.evaluation.measures import (
    MEASURES,
    ScoredRun,
    best_of_n_measure,
    error_measure,
    gap_measure,
    measure_of,
)
from medprm.evaluation.metrics import evaluate_scored
from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.search_table import Outcome
from medprm.evaluation.seeds_table import seeds_tables
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import draw_resampling

SETTINGS = EvaluationSettings(num_bootstrap=200, num_vote_subsets=50, max_candidates=[1, 2, 4], threshold=0.5)


def run_of(test: list[ScoredSolution], validation: list[ScoredSolution], name: str = "run") -> ScoredRun:
    metrics = evaluate_scored(validation, test, SETTINGS)
    return ScoredRun(name, test, metrics["threshold"], metrics["aggregation"], validation, SETTINGS)


@pytest.fixture(scope="module")
def sets(make_solutions) -> tuple[list[ScoredSolution], list[ScoredSolution]]:
    return make_solutions(60, 4), make_solutions(60, 4, 1, "validation")


def test_every_measure_is_the_number_of_the_report(sets) -> None:
    test, validation = sets
    run, metrics = run_of(test, validation), evaluate_scored(validation, test, SETTINGS)
    resampling = draw_resampling((one.group_id for one in test), SETTINGS.num_bootstrap, SETTINGS.seed)
    for name in MEASURES:
        found = measured_runs([run], measure_of(name, [run]), resampling)
        number = metrics["step_metrics"].get(name) or metrics["best_of_n"].get(metrics["aggregation"], {}).get("4")
        if name in ("precision_correct", "recall_correct"):
            number = metrics["step_metrics"][name]
        assert found.by_run == pytest.approx([number["value"]]), name
        low, high = np.percentile(found.resampled[:, 0], [2.5, 97.5])
        assert (low, high) == pytest.approx((number["low"], number["high"])), name
        assert found.n == number["n"], name
    gap = measured_runs([run], gap_measure(4), resampling)
    assert gap.by_run == pytest.approx([metrics["gap_closed"][metrics["aggregation"]]["4"]["value"]])
    for kind, numbers in metrics["calibration"].items():
        for name in ("ece", "brier"):
            found = measured_runs([run], error_measure(name, kind), resampling)
            assert found.by_run == pytest.approx([numbers[name]["value"]]), (kind, name)
    for selector, by_size in metrics["best_of_n"].items():
        if selector != "pass@1":
            found = measured_runs([run], best_of_n_measure(2, selector), resampling)
            assert found.by_run == pytest.approx([by_size["2"]["value"]]), selector


def test_runs_that_differ_in_best_of_n_are_told_apart(sets) -> None:
    test, validation = sets
    by_chance = run_of(rescored(test, 0.0, 1), validation, "chance")
    knowing = [
        replace(one, step_scores=[0.9 if one.is_correct else 0.1] * len(one.step_scores)) for one in test
    ]  # picks a right answer wherever there is one
    first, second = compare_groups(
        {"chance": [by_chance], "knows": [run_of(knowing, validation, "knows")]}, "best_of_n", 200
    )
    oracle = evaluate_scored(validation, test, SETTINGS)["best_of_n"]["oracle"]["4"]["value"]
    assert second.mean.value == pytest.approx(oracle)
    assert second.minus_first is not None and second.minus_first.low > 0
    assert second.minus_first.value == pytest.approx(second.mean.value - first.mean.value)


def test_tables_over_seeds(sets) -> None:
    test, validation = sets
    runs = [run_of(rescored(test, 0.3, seed), rescored(validation, 0.3, seed + 10), f"run{seed}") for seed in range(3)]
    tables = {one.title: one.rows for one in seeds_tables(runs, 200)}
    macro = tables["Steps"][1]
    assert macro[0] == "macro F1"
    by_run = [evaluate_scored([], one.solutions, SETTINGS)["step_metrics"]["macro_f1"]["value"] for one in runs]
    assert macro[2:] == [f"{one:.3f}" for one in by_run]
    assert float(macro[1].split()[0]) == pytest.approx(np.mean(by_run), abs=6e-4)
    best = {row[0]: row[1:] for row in tables["Best-of-N"]}
    assert best["selector"] == ["N = 1", "N = 2", "N = 4"]
    assert {"majority vote", "mean score", "oracle (best possible)", "random pick"} <= set(best)
    alone = {one.title: one.rows for one in seeds_tables(runs[:1], 200)}
    assert "[" not in alone["Steps"][1][1], "one seed says nothing of another"
    assert [row[0] for row in tables["Calibration, fitted on validation and measured on test"][1:]] == [
        "raw",
        "temperature",
        "isotonic",
    ]


def outcome(case: int, is_correct: bool) -> Outcome:
    return Outcome(
        case_id=f"case{case}", group_id=f"patient{case}", method="beam", num_candidates=8, is_correct=is_correct,
        answer="a", num_tokens=100, num_scored=10, num_cut=0, num_open=0, best_of_n=0.5, majority=0.25,
        best_of_n_candidates=3.0, best_of_n_tokens=110.0, is_pool_short=False, pass_at_1=0.4, oracle=1.0,
    )  # fmt: skip


def test_search_over_seeds_is_paired_by_case(sets) -> None:
    test, validation = sets
    runs = [run_of(test, validation)] * 2
    searches = [[outcome(case, case % 4 < right) for case in range(60)] for right in (2, 3)]
    rows = seeds_tables(runs, 200, searches)[-1].rows
    assert rows[1][0] == "beam search, N = 8" and rows[1][1] == "100 / 110"
    assert rows[1][2].startswith("0.625 [") and rows[1][3].startswith("0.500") and rows[1][5].startswith("0.125 [")
    assert rows[1][6] == "+0.000, +0.250"
    fewer = seeds_tables(runs, 200, [searches[0], searches[1][:40]])[-1]
    assert fewer.title == "Search, 40 cases that every run searched, of 40 patients"
    assert fewer.rows[1][2].startswith("0.625 [")
    with pytest.raises(InputError, match="no case with one method and N in common"):
        seeds_tables(runs, 200, [searches[0], [replace(one, method="dvts") for one in searches[1]]])
