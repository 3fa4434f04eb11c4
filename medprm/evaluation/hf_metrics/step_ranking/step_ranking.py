"""AUROC and AUPRC of step scores, as a module of Hugging Face's `evaluate`."""

import datasets
import numpy as np

import evaluate
from medprm.statistics.average_precision import average_precision
from medprm.statistics.step_metrics import auroc

DESCRIPTION = "How well step scores rank correct steps above incorrect ones, without a threshold."
INPUTS = """
predictions: P(+) of each step, in [0, 1].
references: 1 for a correct step, 0 for an incorrect one; leave out neutral and unknown steps.
"""


class StepRanking(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions, references) -> dict[str, float]:
        truth, scores = np.array(references) == 1, np.array(predictions)
        return {
            "auroc": auroc(truth, scores),
            "auprc_correct": average_precision(truth, scores),
            "auprc_incorrect": average_precision(~truth, -scores),
        }
