"""Brier score and expected calibration error of step scores, as a module of Hugging Face's `evaluate`."""

import datasets
import numpy as np

import evaluate
from medprm.statistics.step_metrics import brier_rows, calibration_rows, expected_calibration_error

DESCRIPTION = "Brier score, and expected calibration error over 10 bins of equal width, of step scores."
INPUTS = """
predictions: P(+) of each step, in [0, 1].
references: 1 for a correct step, 0 for an incorrect one; leave out neutral and unknown steps.
"""


class StepCalibration(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions, references) -> dict[str, float]:
        truth, scores = np.array(references) == 1, np.array(predictions)
        squared = brier_rows(truth, scores).sum(axis=0)
        bins = calibration_rows(truth, scores).sum(axis=0)
        return {"brier": float(squared[0] / squared[1]), "ece": float(expected_calibration_error(bins))}
