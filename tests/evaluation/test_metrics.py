"""metrics.json: chosen on validation, equal to scikit-learn, seeded, without NaN, and absent where not measurable."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from medprm.errors import InputError
from medprm.evaluation.metrics import evaluate_scored, write_metrics
from medprm.evaluation.permutation import check_looking
from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.table import format_table

SETTINGS = EvaluationSettings(num_bootstrap=200, num_vote_subsets=50)


def numbers_in(value: Any, path: str = "") -> dict[str, dict[str, float]]:
    """Every {"value", "low", "high", "n"} of a metrics mapping by its path."""
    if isinstance(value, dict) and set(value) == {"value", "low", "high", "n"}:
        return {path: value}
    inner = value.items() if isinstance(value, dict) else []
    return {key: number for name, one in inner for key, number in numbers_in(one, f"{path}.{name}").items()}


@pytest.fixture(scope="module")
def metrics(make_solutions) -> dict[str, Any]:
    return evaluate_scored(make_solutions(20, 8, 1, "validation"), make_solutions(), SETTINGS)


def test_step_metrics_equal_scikit_learn(metrics, make_solutions) -> None:
    steps = [
        (label == "correct", score)
        for one in make_solutions()
        for label, score in zip(one.labels, one.step_scores, strict=True)
        if label in ("correct", "incorrect")
    ]
    truth, scores = np.array([t for t, _ in steps]), np.array([s for _, s in steps])
    found = metrics["step_metrics"]
    predicted = scores >= metrics["threshold"]
    assert found["macro_f1"]["value"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert found["f1_incorrect"]["value"] == pytest.approx(f1_score(truth, predicted, pos_label=False))
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(truth, scores))
    assert found["auroc"]["n"] == len(steps)


def test_every_number_lies_in_its_interval_and_has_n(metrics) -> None:
    numbers = numbers_in(metrics)
    assert len(numbers) > 60
    for path, number in numbers.items():
        assert number["low"] - 1e-6 <= number["value"] <= number["high"] + 1e-6 or "ece" in path, path
        assert number["n"] > 0, path


def test_sections_of_best_of_n(metrics) -> None:
    best = metrics["best_of_n"]
    assert list(best["mean"]) == ["1", "2", "4", "8"]
    assert best["mean"]["1"]["value"] == pytest.approx(best["pass@1"]["value"])
    assert best["oracle"]["1"]["value"] == pytest.approx(best["pass@1"]["value"])
    assert best["random"]["8"]["value"] == pytest.approx(best["pass@1"]["value"])
    chosen = metrics["aggregation"]
    gap = (best[chosen]["8"]["value"] - best["pass@1"]["value"]) / (
        best["oracle"]["8"]["value"] - best["pass@1"]["value"]
    )
    assert metrics["gap_closed"][chosen]["8"]["value"] == pytest.approx(gap)
    difference = best[chosen]["8"]["value"] - best["majority"]["8"]["value"]
    assert metrics["versus_majority"][chosen]["8"]["value"] == pytest.approx(difference)
    assert set(metrics["by_category"]) == {"observation", "analysis", "integration", "diagnosis"}


def test_json_is_strict_and_the_same_seed_gives_the_same_file(metrics, make_solutions, tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.json", metrics)
    text = (tmp_path / "metrics.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    again = evaluate_scored(make_solutions(20, 8, 1, "validation"), make_solutions(), SETTINGS)
    assert json.dumps(again) == json.dumps(metrics)
    other = evaluate_scored(make_solutions(20, 8, 1, "validation"), make_solutions(), replace(SETTINGS, seed=7))
    assert other["step_metrics"]["macro_f1"]["value"] == metrics["step_metrics"]["macro_f1"]["value"]
    assert other["step_metrics"]["macro_f1"]["low"] != metrics["step_metrics"]["macro_f1"]["low"]


def test_order_of_the_file_has_no_say(metrics, make_solutions) -> None:
    cases = make_solutions()
    other = evaluate_scored(make_solutions(20, 8, 1, "validation"), cases[::-1], SETTINGS)
    for name in ("macro_f1", "auroc", "first_error_f1"):
        assert other["step_metrics"][name] == pytest.approx(metrics["step_metrics"][name])
    assert other["best_of_n"]["min"]["4"] == pytest.approx(metrics["best_of_n"]["min"]["4"])


def test_test_labels_do_not_move_what_is_chosen_on_validation(metrics, make_solutions) -> None:
    flipped = {"correct": "incorrect", "incorrect": "correct"}
    test = [
        replace(one, labels=[flipped.get(label, label) for label in one.labels], is_correct=not one.is_correct)
        for one in make_solutions()
    ]
    other = evaluate_scored(make_solutions(20, 8, 1, "validation"), test, SETTINGS)
    assert (other["threshold"], other["aggregation"]) == (metrics["threshold"], metrics["aggregation"])
    assert other["step_metrics"]["auroc"]["value"] == pytest.approx(1 - metrics["step_metrics"]["auroc"]["value"])


def test_unknown_and_neutral_steps_are_left_out(metrics, make_solutions) -> None:
    def with_wild_scores(one: ScoredSolution) -> ScoredSolution:
        judged = [label in ("correct", "incorrect") for label in one.labels]
        scores = [s if known else 1 - s for s, known in zip(one.step_scores, judged, strict=True)]
        return replace(one, step_scores=scores)

    test = [with_wild_scores(one) for one in make_solutions()]
    other = evaluate_scored(make_solutions(20, 8, 1, "validation"), test, SETTINGS)
    assert other["step_metrics"] == metrics["step_metrics"]
    assert other["counts"]["test"]["steps_by_label"]["neutral"] == 15


def test_without_validation_the_defaults_are_said(make_solutions) -> None:
    metrics = evaluate_scored([], make_solutions(), SETTINGS)
    assert (metrics["threshold"], metrics["aggregation"]) == (0.5, "mean")
    assert {"threshold", "aggregation", "intervals"} <= set(metrics["notes"])


def test_settings_beat_validation(make_solutions) -> None:
    settings = replace(SETTINGS, threshold=0.42, aggregation="product")
    metrics = evaluate_scored(make_solutions(20, 8, 1, "validation"), make_solutions(), settings)
    assert (metrics["threshold"], metrics["aggregation"]) == (0.42, "product")
    assert "set by the user" in metrics["protocol"]["threshold"]


def test_best_of_n_is_absent_with_a_reason_where_it_cannot_be_had(make_solutions) -> None:
    single = evaluate_scored([], make_solutions(10, 1), SETTINGS)
    unjudged = evaluate_scored([], [replace(one, is_correct=None) for one in make_solutions(10, 4)], SETTINGS)
    for metrics in (single, unjudged):
        assert "best_of_n" not in metrics
        assert metrics["notes"]["best_of_n"].startswith("absent: ")
    assert unjudged["counts"]["candidates_of_unknown_correctness"] == 40
    unparsed = evaluate_scored([], [replace(one, answer=None) for one in make_solutions(10, 4)], SETTINGS)
    assert "majority" not in unparsed["best_of_n"]
    assert "versus_majority" not in unparsed
    assert "best_of_n.majority" in unparsed["notes"]


def test_an_answer_that_could_not_be_read_is_wrong(make_solutions) -> None:
    """Left out, it would make a policy that mumbles look right."""
    solutions = make_solutions(60, 4)
    mumbled = [
        replace(one, answer=None, is_correct=None, has_reference=True) if number % 3 == 0 else one
        for number, one in enumerate(solutions)
    ]
    as_wrong = [
        replace(one, answer=None, is_correct=False) if number % 3 == 0 else one for number, one in enumerate(solutions)
    ]
    found, expected = (evaluate_scored([], one, SETTINGS) for one in (mumbled, as_wrong))
    assert found["best_of_n"] == expected["best_of_n"]
    assert found["counts"]["unparsed_candidates"] == 80
    assert found["notes"]["best_of_n.unparsed"].startswith("80 answers")


def test_one_class_alone_is_undefined_not_a_number(make_solutions) -> None:
    test = [replace(one, labels=["correct"] * len(one.labels)) for one in make_solutions(60, 2)]
    metrics = evaluate_scored([], test, SETTINGS)
    assert "auroc" not in metrics["step_metrics"]
    assert "step_metrics.auroc" in metrics["notes"]
    assert "first_error_f1" not in metrics["step_metrics"]
    json.dumps(metrics, allow_nan=False)
    assert "undefined" in format_table(metrics)


def test_no_judged_step_leaves_best_of_n(make_solutions) -> None:
    test = [replace(one, labels=["unknown"] * len(one.labels)) for one in make_solutions(60, 4)]
    metrics = evaluate_scored([], test, SETTINGS)
    assert "step_metrics" not in metrics
    assert "step_metrics" in metrics["notes"]
    assert metrics["best_of_n"]["mean"]["4"]["n"] == 60


def test_cases_with_fewer_candidates_are_left_out_at_that_n_and_counted(make_solutions) -> None:
    whole = {f"test_case_{number:04d}" for number in range(5)}
    test = [one for one in make_solutions(10, 4) if one.case_id in whole or not one.solution_id.endswith("_3")]
    metrics = evaluate_scored([], test, SETTINGS)
    assert metrics["best_of_n"]["mean"]["4"]["n"] == 5
    assert metrics["best_of_n"]["mean"]["2"]["n"] == 10
    assert metrics["counts"]["cases_with_fewer_candidates_than"] == {"1": 0, "2": 0, "4": 5}
    lonely = [one for one in test if one.case_id == "test_case_0000" or one.solution_id.endswith("_0")]
    metrics = evaluate_scored([], lonely, replace(SETTINGS, max_candidates=[4]))
    assert "best_of_n" not in metrics
    assert "too few cases" in metrics["notes"]["best_of_n"]


def test_a_patient_in_both_sets_raises(make_solutions) -> None:
    with pytest.raises(InputError, match="in validation and in test"):
        evaluate_scored(make_solutions(5, 2), make_solutions(5, 2), SETTINGS)
    with pytest.raises(InputError, match="no test solution"):
        evaluate_scored([], [], SETTINGS)


def test_baselines_follow_from_the_counts(metrics) -> None:
    labels = metrics["counts"]["test"]["steps_by_label"]
    share = labels["correct"] / (labels["correct"] + labels["incorrect"])
    baselines = metrics["baselines"]
    assert baselines["all_plus"]["macro_f1"]["value"] == pytest.approx(share / (1 + share))
    assert baselines["base_rate"]["macro_f1"]["value"] == pytest.approx(0.5)
    above = metrics["step_metrics"]["macro_f1"]["value"] - baselines["coin"]["macro_f1"]["value"]
    assert metrics["versus_baselines"]["coin"]["macro_f1"]["value"] == pytest.approx(above)


def test_the_table_shows_the_numbers_aligned(metrics) -> None:
    table = format_table(metrics)
    assert f"{metrics['step_metrics']['macro_f1']['value']:.3f} [" in table
    assert "majority vote" in table
    assert "note: intervals: only 30 patients" in table
    assert max(map(len, table.split("note:")[0].splitlines())) <= 115


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"aggregation": "median"}, "mean, min, max, product, last, logit_mean, geometric_mean"),
        ({"max_candidates": []}, "max_candidates"),
        ({"max_candidates": [0, 2]}, "max_candidates"),
        ({"num_bootstrap": 5}, "at least 100"),
        ({"num_report_cases": 0}, "num_report_cases is 0"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        EvaluationSettings(**wrong)


def test_a_model_that_looks_loses_when_its_input_is_permuted(make_solutions) -> None:
    intact, blank = make_solutions(60, 4), make_solutions(60, 4, signal=0.1)
    shuffler = np.random.default_rng(0)
    permuted = [replace(one, step_scores=shuffler.random(len(one.labels)).tolist()) for one in intact]
    blank = [replace(one, step_scores=other.step_scores) for one, other in zip(intact, blank, strict=True)]
    result = check_looking(
        intact, permuted[::-1], blank, keep=lambda one, step: one.categories[step] == "observation", num_bootstrap=200
    )
    lost = result.differences["intact_minus_permuted"]
    assert lost.value == pytest.approx(result.auroc["intact"].value - result.auroc["permuted"].value)
    assert 0.05 < lost.low < lost.value < lost.high
    assert result.num_steps == sum(
        one.categories[step] == "observation" and label in ("correct", "incorrect")
        for one in intact
        for step, label in enumerate(one.labels)
    )
    assert set(result.as_json()["differences"]) == {
        "intact_minus_permuted",
        "permuted_minus_blank",
        "intact_minus_blank",
    }
    same = check_looking(intact, intact, num_bootstrap=100).differences["intact_minus_permuted"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_scored_sets_of_different_solutions_are_not_compared(make_solutions) -> None:
    with pytest.raises(InputError, match="1 solutions differ"):
        check_looking(make_solutions(5, 2), make_solutions(5, 2)[:-1])
    with pytest.raises(InputError, match="no judged step"):
        check_looking(make_solutions(5, 2), make_solutions(5, 2), keep=lambda one, step: False)


def test_no_number_is_nan_in_memory(metrics) -> None:
    assert all(math.isfinite(one) for number in numbers_in(metrics).values() for one in number.values())
