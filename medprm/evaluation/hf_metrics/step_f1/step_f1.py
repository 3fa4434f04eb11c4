"""F1 of correct and of incorrect steps, as a module of Hugging Face's `evaluate`."""

import datasets
import numpy as np

import evaluate
from medprm.statistics.step_metrics import COUNT_METRICS, confusion_rows

DESCRIPTION = (
    "Macro F1 (VisualProcessBench), F1 and recall by class, balanced accuracy, MCC of step scores at a threshold."
)
INPUTS = """
predictions: P(+) of each step, in [0, 1].
references: 1 for a correct step, 0 for an incorrect one; leave out neutral and unknown steps.
threshold: a step counts as correct from this score on; at load or at compute, 0.5 without.
"""


class StepF1(evaluate.Metric):
    def __init__(self, *args, threshold: float = 0.5, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.threshold = threshold

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation="arXiv 2503.10291", inputs_description=INPUTS, features=features
        )

    def _compute(self, predictions, references, threshold: float | None = None) -> dict[str, float]:
        cut = self.threshold if threshold is None else threshold
        counts = confusion_rows(np.array(references) == 1, np.array(predictions) >= cut).sum(axis=0)
        return {name: float(metric(counts)) for name, metric in COUNT_METRICS.items()}
