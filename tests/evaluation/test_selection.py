"""Selectors over cases: other scorers, lengths, a greedy first candidate, per-case winners, comparisons and power."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medprm.evaluation.candidates import collect_candidates
from medprm.evaluation.differences import compare_selectors
from medprm.evaluation.metrics import evaluate_scored
from medprm.evaluation.scored import ScoredError
from medprm.evaluation.selection import selector_curves
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import draw_resampling
from medprm.evaluation.table import format_table
from medprm.evaluation.winners import selection_rows, write_selections

SETTINGS = EvaluationSettings(num_bootstrap=200, num_vote_subsets=100, max_candidates=[1, 2, 4, 8])


def truth_as_scores(solutions) -> dict[tuple[str, str], float]:
    return {(one.case_id, one.solution_id): float(bool(one.is_correct)) for one in solutions}


def test_another_scorer_is_a_selector_of_its_own(make_solutions) -> None:
    test = make_solutions(40, 8)
    metrics = evaluate_scored(make_solutions(20, 8, 1, "validation"), test, SETTINGS, {"orm": truth_as_scores(test)})
    best = metrics["best_of_n"]
    assert best["orm"]["8"]["value"] == pytest.approx(best["oracle"]["8"]["value"])
    assert metrics["best_of_all"]["orm"]["value"] == pytest.approx(best["oracle"]["8"]["value"])
    lacking = dict(list(truth_as_scores(test).items())[1:])
    with pytest.raises(ScoredError, match="no score by 'orm'"):
        evaluate_scored([], test, SETTINGS, {"orm": lacking})


def test_null_means_every_n_up_to_the_most_candidates(make_solutions) -> None:
    test = [one for one in make_solutions(20, 12) if one.group_id < "test_patient_0010" or one.solution_id[-2:] != "11"]
    every, some = (evaluate_scored([], test, replace(SETTINGS, max_candidates=sizes)) for sizes in (None, [1, 4, 8]))
    for name in ("mean", "majority", "weighted_vote", "oracle"):
        assert list(every["best_of_n"][name]) == [str(size) for size in range(1, 13)]
    for name in ("mean", "majority", "oracle"):
        for size in ("1", "4", "8"):
            assert every["best_of_n"][name][size] == some["best_of_n"][name][size]
    assert every["counts"]["cases_with_fewer_candidates_than"]["12"] == 10
    # The table keeps its width: the powers of two and the largest.
    header = next(line for line in format_table(every).splitlines() if line.startswith("Best-of-N"))
    assert [word for word in header.split() if word.startswith("N=")][:5] == ["N=1", "N=2", "N=4", "N=8", "N=12"]


def test_length_baselines_pick_the_fewest_and_the_most_characters(make_solutions) -> None:
    test = [
        replace(
            one,
            step_texts=["x" * (9 if one.is_correct else 30)] * len(one.labels),
            labels=["unknown"] * len(one.labels),
        )
        for one in make_solutions(20, 4)
    ]
    same_length = [
        replace(one, **{name: getattr(one, name)[:3] for name in ("labels", "categories", "step_texts", "step_scores")})
        for one in test
    ]
    best = evaluate_scored([], same_length, SETTINGS)["best_of_n"]
    assert best["shortest"]["4"] == pytest.approx(best["oracle"]["4"])
    assert best["longest"]["4"]["value"] < best["random"]["4"]["value"]


def test_a_greedy_first_candidate_is_pass_at_1_and_said(make_solutions) -> None:
    test = make_solutions(40, 8)
    metrics = evaluate_scored([], test, replace(SETTINGS, greedy_first=True))
    first = [one.is_correct for one in test if one.solution_id.endswith("_0")]
    best = metrics["best_of_n"]
    assert best["pass@1"]["value"] == pytest.approx(np.mean(first))
    assert best["mean"]["1"]["value"] == best["majority"]["1"]["value"] == pytest.approx(np.mean(first))
    assert best["mean"]["8"] == evaluate_scored([], test, SETTINGS)["best_of_n"]["mean"]["8"], "all candidates: no draw"
    assert "decoded greedily" in metrics["protocol"]["best_of_n"]


def test_sampling_error_is_stated_and_0_where_nothing_is_sampled(make_solutions) -> None:
    errors = evaluate_scored([], make_solutions(40, 8), SETTINGS)["sampling_errors"]["weighted_vote"]
    assert errors["1"] == errors["8"] == 0
    assert 0 < errors["4"] < 0.5 / np.sqrt(100 * 40)


def test_comparisons_are_paired_corrected_and_say_their_power(make_solutions) -> None:
    candidates = collect_candidates(make_solutions(80, 8))
    curves = selector_curves(candidates, "mean", SETTINGS)
    resampling = draw_resampling(curves.group_ids, 400, 0)
    found = {one.other: one for one in compare_selectors(curves, "mean", 8, resampling)}
    assert "oracle" not in found and "mean" not in found
    against_random = found["random"]
    assert against_random.difference.value == pytest.approx((curves.at("mean", 8) - curves.at("random", 8)).mean())
    assert against_random.p == 2 / 401
    assert all(one.p_holm >= one.p for one in found.values())
    power = against_random.power()
    assert power["patients"] == 80
    assert power["patients_needed"]["0.01"] == pytest.approx(4 * power["patients_needed"]["0.02"], rel=0.01)
    standard_error = (against_random.difference.high - against_random.difference.low) / 3.92
    assert power["deviation"] / np.sqrt(80) == pytest.approx(standard_error, rel=0.15)


def test_the_winner_of_each_case_and_why(make_solutions, tmp_path: Path) -> None:
    test = make_solutions(10, 4)
    candidates = collect_candidates(test)
    write_selections(tmp_path / "selections.jsonl", selection_rows(candidates, test, "mean"))
    rows = [json.loads(line) for line in (tmp_path / "selections.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    by_id = {(one.case_id, one.solution_id): one for one in test}
    for row, case in zip(rows, candidates.cases, strict=True):
        pick = row["picks"]["min"]
        assert pick["score"] == max(case.scores["min"])
        assert pick["next"]["score"] <= pick["score"]
        solution = by_id[row["case_id"], pick["solution_id"]]
        assert pick["lowest_step"]["score"] == min(solution.step_scores) == pick["score"]
        assert pick["is_correct"] == solution.is_correct
        vote = row["picks"]["majority"]
        assert vote["score"] == max(vote["votes"].values()) and sum(vote["votes"].values()) == 4
        assert row["num_right"] == case.is_correct.sum()


def test_ties_are_named(make_solutions) -> None:
    test = [replace(one, step_scores=[0.5] * len(one.labels)) for one in make_solutions(1, 4)]
    (row,) = selection_rows(collect_candidates(test), test, "mean")
    assert len(row["picks"]["mean"]["tied"]) == 4
    assert "next" not in row["picks"]["mean"]
