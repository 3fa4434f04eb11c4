"""Calibration of step scores: fitted on validation, measured on test before and after.

In: judged steps. Out: `Calibration`s, and for the raw scores and each map the calibration error and the Brier score.
No map turns the order of two scores round. A temperature keeps them apart (but within 1e-7 of 0 and 1), so that AUROC
and the choices among candidates by min, max and last stay the same; isotonic regression makes ties, by which both may
change.
"""

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from medprm.evaluation.steps import JudgedSteps, Resampling, calibration_estimates
from medprm.scoring.calibration import Calibration, logits
from medprm.scoring.settings import CALIBRATION_KINDS
from medprm.statistics.bootstrap import Estimate

MIN_STEPS = 20
"""Fewer validation steps than this, or one class only, fit nothing."""

MAX_LOG_TEMPERATURE = 5.0


def can_be_fitted(validation: JudgedSteps) -> bool:
    return len(validation.scores) >= MIN_STEPS and 0 < validation.is_correct.mean() < 1


def fit(kind: str, validation: JudgedSteps) -> Calibration:
    """The temperature of least cross-entropy, or isotonic regression, on these steps."""
    assert kind in CALIBRATION_KINDS and can_be_fitted(validation), f"{kind} on {len(validation.scores)} steps"
    num_steps, truth = len(validation.scores), validation.is_correct.astype(np.float64)
    if kind == "isotonic":
        model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(validation.scores, truth)
        knots = tuple(map(float, model.X_thresholds_)), tuple(map(float, model.y_thresholds_))
        return Calibration(kind, num_steps, None, *knots)
    values = logits(validation.scores)

    def cross_entropy(log_temperature: float) -> float:
        scaled = values / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - truth * scaled))

    bounds = (-MAX_LOG_TEMPERATURE, MAX_LOG_TEMPERATURE)
    found: Any = minimize_scalar(cross_entropy, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return Calibration(kind, num_steps, float(np.exp(found.x)))


def fit_all(validation: JudgedSteps) -> dict[str, Calibration]:
    """Every kind; nothing where the steps are too few or of one class."""
    return {kind: fit(kind, validation) for kind in CALIBRATION_KINDS} if can_be_fitted(validation) else {}


def before_and_after(
    calibrations: dict[str, Calibration], test: JudgedSteps, resampling: Resampling
) -> dict[str, dict[str, Estimate]]:
    """`raw` and each calibration: the calibration error and the Brier score of the test steps."""
    numbers = {"raw": calibration_estimates(test, resampling)}
    for kind, calibration in calibrations.items():
        numbers[kind] = calibration_estimates(test.scored(calibration.apply(test.scores)), resampling)
    return numbers
