"""ProcessBench's F1 of the first error, as a module of Hugging Face's `evaluate`."""

import datasets
import numpy as np

import evaluate
from medprm.statistics.step_metrics import first_error_f1, first_error_row

DESCRIPTION = (
    "Harmonic mean of the exact first-error accuracy on erroneous solutions and the accuracy on error-free ones."
)
INPUTS = """
predictions: for each solution the P(+) of its steps, in [0, 1].
references: for each solution the 0-based place of its first wrong step; -1 for none.
threshold: a step counts as correct from this score on; at load or at compute, 0.5 without.
"""


class FirstError(evaluate.Metric):
    def __init__(self, *args, threshold: float = 0.5, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.threshold = threshold

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
        )
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation="arXiv 2412.06559", inputs_description=INPUTS, features=features
        )

    def _compute(self, predictions, references, threshold: float | None = None) -> dict[str, float]:
        cut = self.threshold if threshold is None else threshold
        rows = []
        for number, (scores, place) in enumerate(zip(predictions, references, strict=True)):
            if not -1 <= place < len(scores):
                raise ValueError(f"solution {number}: first error {place}; expected -1 or 0 to {len(scores) - 1}")
            right = len(scores) if place == -1 else place
            labels = ["correct"] * right + ["incorrect"] * (place != -1) + ["unknown"] * (len(scores) - right - 1)
            rows.append(first_error_row(labels, list(scores), cut))
        sums = np.sum(rows, axis=0, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return {
                "f1": float(first_error_f1(sums)),
                "accuracy_on_erroneous": float(sums[1] / sums[0]),
                "accuracy_on_correct": float(sums[3] / sums[2]),
            }
