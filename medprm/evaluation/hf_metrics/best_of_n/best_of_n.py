"""Best-of-N by exact expectation, as a module of Hugging Face's `evaluate`."""

import datasets
import numpy as np

import evaluate
from medprm.evaluation.best_of_n import best_of_n, oracle, pass_at_1

DESCRIPTION = "Expected accuracy of the candidate of the highest score among N, over all subsets of N; mean over cases."
INPUTS = """
predictions: for each case the solution scores of its candidates.
references: for each case, 1 for each candidate whose answer is right, else 0.
sizes: values of N; 1, 2, 4, 8 without. Every case needs as many candidates as the largest.
"""


class BestOfN(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {
                "predictions": datasets.Sequence(datasets.Value("float64")),
                "references": datasets.Sequence(datasets.Value("int64")),
            }
        )
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions, references, sizes=(1, 2, 4, 8)) -> dict[str, float]:
        sizes = sorted(sizes)
        for number, (scores, truth) in enumerate(zip(predictions, references, strict=True)):
            if len(scores) != len(truth) or len(scores) < sizes[-1]:
                raise ValueError(
                    f"case {number}: {len(scores)} scores, {len(truth)} references; expected as many of both, "
                    f"{sizes[-1]} at least, or smaller sizes than {sizes}"
                )
        truths = [np.array(one) == 1 for one in references]
        picked = np.mean([best_of_n(np.array(s), t, sizes) for s, t in zip(predictions, truths, strict=True)], axis=0)
        best = np.mean([oracle(one, sizes) for one in truths], axis=0)
        found = {f"best_of_{size}": float(value) for size, value in zip(sizes, picked, strict=True)}
        found |= {f"oracle_{size}": float(value) for size, value in zip(sizes, best, strict=True)}
        return found | {"pass@1": float(np.mean([pass_at_1(one) for one in truths]))}
