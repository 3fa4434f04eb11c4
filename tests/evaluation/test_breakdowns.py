"""Parts of a test set: by place, length, modality, kind of error and expert; thresholds and the length baseline."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from medprm.evaluation.breakdowns import error_kind_estimates, expert_estimates, part_estimates
from medprm.evaluation.metrics import evaluate_scored
from medprm.evaluation.scored import ScoredError, read_scored, write_scored
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import draw_resampling, judged_steps
from medprm.evaluation.thresholds import length_baseline, macro_f1_at

SETTINGS = EvaluationSettings(num_bootstrap=200, num_vote_subsets=50)


def test_parts_hold_all_steps_once_and_equal_scikit_learn(make_solutions) -> None:
    test = [replace(one, modality="ct_scan" if i % 3 else "pathology") for i, one in enumerate(make_solutions(30, 8))]
    steps = judged_steps(test)
    resampling = draw_resampling(steps.group_ids, 100, 0)
    found = part_estimates(steps, 0.5, resampling)
    assert set(found) == {"by_category", "by_modality", "by_position", "by_place_from_end", "by_length"}
    for parts in found.values():
        assert sum(numbers["macro_f1"].n for numbers in parts.values()) == len(steps.scores)
    assert list(found["by_position"])[:2] == ["step 1", "step 2"]
    assert list(found["by_length"]) == ["1 to 3 steps", "4 to 6 steps", "7 to 9 steps"]
    mask = np.array([one.modality == "pathology" for one in steps.solutions])
    golden = f1_score(steps.is_correct[mask], steps.scores[mask] >= 0.5, average="macro")
    assert found["by_modality"]["pathology"]["macro_f1"].value == pytest.approx(golden)


def test_kinds_of_error_say_how_many_of_each_are_found(make_solutions) -> None:
    def kinds(one):
        return [
            ("wrong_side" if k % 2 else "slip") if label == "incorrect" else None for k, label in enumerate(one.labels)
        ]

    test = [replace(one, error_kinds=kinds(one)) for one in make_solutions(30, 8)]
    steps = judged_steps(test)
    found = error_kind_estimates(steps, 0.5, draw_resampling(steps.group_ids, 100, 0))
    assert set(found) == {"slip", "wrong_side"}
    scores = [
        score < 0.5
        for one in test
        for score, kind in zip(one.step_scores, one.error_kinds, strict=True)
        if kind == "wrong_side"
    ]
    assert found["wrong_side"]["recall_incorrect"].value == pytest.approx(np.mean(scores))
    assert found["wrong_side"]["recall_incorrect"].n == len(scores)


def test_agreement_with_each_expert_is_scikit_learns(make_solutions) -> None:
    def verdicts(one):
        return [
            {"a": "correct" if k % 2 else "incorrect"} | ({"b": "neutral"} if k == 0 else {"b": label})
            for k, label in enumerate(one.labels)
        ]

    test = [replace(one, experts=verdicts(one)) for one in make_solutions(20, 4)]
    found = expert_estimates(test, 0.5, 100, 0)
    said = [k % 2 == 1 for one in test for k in range(len(one.labels))]
    predicted = [score >= 0.5 for one in test for score in one.step_scores]
    scores = [score for one in test for score in one.step_scores]
    assert found["a"]["kappa"].value == pytest.approx(cohen_kappa_score(said, predicted))
    assert found["a"]["pearson"].value == pytest.approx(np.corrcoef(scores, said)[0, 1], abs=1e-6)
    assert found["b"]["kappa"].value > 0.1 > abs(found["a"]["kappa"].value)
    assert found["b"]["kappa"].n < found["a"]["kappa"].n == len(said), "neutral verdicts are left out"


def test_what_breaks_numbers_down_survives_the_file_and_old_files_are_read(make_solutions, tmp_path) -> None:
    full = [
        replace(
            one,
            modality="text",
            source="s",
            error_kinds=["k"] * len(one.labels),
            experts=[{"a": "correct"}] * len(one.labels),
        )
        for one in make_solutions(2, 2)
    ]
    write_scored(tmp_path / "scored.jsonl", full)
    assert read_scored(tmp_path / "scored.jsonl") == full
    with pytest.raises(ScoredError, match="expected all or none"):
        replace(full[0], error_kinds=["k"])


def test_the_length_baseline_takes_direction_and_threshold_from_validation(make_solutions) -> None:
    def with_texts(solutions, right, wrong):
        return [
            replace(one, step_texts=["x" * (right if label == "correct" else wrong) for label in one.labels])
            for one in solutions
        ]

    for right, wrong in ((5, 50), (50, 5)):
        validation = judged_steps(with_texts(make_solutions(10, 4, 1), right, wrong))
        test, threshold = length_baseline(validation, judged_steps(with_texts(make_solutions(10, 4, 2), right, wrong)))
        assert macro_f1_at(test, threshold) == 1
    swapped, threshold = length_baseline(validation, judged_steps(with_texts(make_solutions(10, 4, 2), 5, 50)))
    assert macro_f1_at(swapped, threshold) == 0


def test_the_sweep_marks_the_optimum_on_the_test_split_as_an_upper_bound(make_solutions) -> None:
    metrics = evaluate_scored(make_solutions(20, 8, 1, "validation"), make_solutions(30, 8), SETTINGS)
    sweep = metrics["threshold_sweep"]
    chosen = next(one for one in sweep["points"] if one["threshold"] == metrics["threshold"])
    assert chosen["test"] == pytest.approx(metrics["step_metrics"]["macro_f1"]["value"])
    assert chosen["validation"] == max(one["validation"] for one in sweep["points"])
    assert sweep["test_tuned"]["macro_f1"] >= max(one["test"] for one in sweep["points"])
    assert "upper bound" in sweep["test_tuned"]["is"]
    assert metrics["step_metrics"]["macro_f1"]["value"] < sweep["test_tuned"]["macro_f1"]


def test_calibration_and_length_are_beside_the_numbers(make_solutions) -> None:
    metrics = evaluate_scored(make_solutions(20, 8, 1, "validation"), make_solutions(30, 8), SETTINGS)
    assert metrics["calibration"]["raw"]["ece"] == metrics["step_metrics"]["ece"]
    assert metrics["calibration"]["isotonic"]["ece"]["value"] < metrics["calibration"]["raw"]["ece"]["value"]
    assert metrics["calibration_maps"]["temperature"]["temperature"] > 0
    assert {"macro_f1", "auroc"} <= set(metrics["baselines"]["length"])
    without = evaluate_scored([], make_solutions(30, 8), SETTINGS)
    assert "calibration" in without["notes"] and "baselines.length" in without["notes"]
