"""Fitted on validation: a known temperature is found, isotonic regression is scikit-learn's, the error falls."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from medprm.evaluation.calibration import before_and_after, fit, fit_all
from medprm.evaluation.steps import JudgedSteps, draw_resampling, judged_steps
from medprm.statistics.step_metrics import auroc


def overconfident(make_solutions, seed: int, num_patients: int) -> JudgedSteps:
    """Truth drawn with probability p; the score is p at a third of its temperature."""
    steps = judged_steps(make_solutions(num_patients, 8, seed))
    generator = np.random.default_rng(seed)
    p = generator.uniform(0.05, 0.95, len(steps.scores))
    truth = generator.random(len(p)) < p
    return JudgedSteps(truth, 1 / (1 + ((1 - p) / p) ** 3), steps.solutions, steps.places)


def test_a_known_temperature_is_found_and_the_error_falls(make_solutions) -> None:
    validation, test = overconfident(make_solutions, 1, 100), overconfident(make_solutions, 2, 60)
    calibrations = fit_all(validation)
    assert calibrations["temperature"].temperature == pytest.approx(3, rel=0.1)
    numbers = before_and_after(calibrations, test, draw_resampling(test.group_ids, 200, 0))
    for kind in ("temperature", "isotonic"):
        assert numbers[kind]["ece"].value < 0.04 < 0.1 < numbers["raw"]["ece"].value
        assert numbers[kind]["brier"].high < numbers["raw"]["brier"].value


def test_isotonic_is_scikit_learns(make_solutions) -> None:
    steps = overconfident(make_solutions, 3, 20)
    golden = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(steps.scores, steps.is_correct)
    grid = np.linspace(0, 1, 201)
    assert fit("isotonic", steps).apply(grid) == pytest.approx(golden.predict(grid), abs=1e-12)


def test_both_keep_the_order_and_isotonic_makes_ties(make_solutions) -> None:
    steps = overconfident(make_solutions, 3, 20)
    raw = auroc(steps.is_correct, steps.scores)
    assert raw is not None
    order = np.argsort(steps.scores)
    mapped = {kind: one.apply(steps.scores) for kind, one in fit_all(steps).items()}
    assert all(np.all(np.diff(scores[order]) >= 0) for scores in mapped.values())
    assert auroc(steps.is_correct, mapped["temperature"]) == pytest.approx(raw, abs=1e-12)
    assert len(np.unique(mapped["isotonic"])) < len(np.unique(steps.scores)) == len(np.unique(mapped["temperature"]))
    assert abs(auroc(steps.is_correct, mapped["isotonic"]) - raw) > 1e-3


def test_too_few_steps_or_one_class_fit_nothing(make_solutions) -> None:
    steps = judged_steps(make_solutions(20, 8, 0))
    assert fit_all(steps.where(steps.is_correct)) == {}
    assert fit_all(steps.where(np.arange(len(steps.scores)) < 10)) == {}
