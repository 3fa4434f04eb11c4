"""The threshold on step scores: chosen on validation, its sweep on both splits, and the optimum on the test split.

The last is an upper bound, as published gains with a threshold tuned on the test set are; it is never used.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import JudgedSteps, judged_steps
from medprm.statistics.step_metrics import best_threshold, confusion_rows, macro_f1

DEFAULT_THRESHOLD = 0.5
SWEEP = tuple(round(0.05 * k, 2) for k in range(1, 20))


class ThresholdChoice(NamedTuple):
    """The threshold and how it came about."""

    value: float
    rule: str


def choose_threshold(validation: Sequence[ScoredSolution], settings: EvaluationSettings) -> ThresholdChoice:
    """The threshold of highest macro F1 on the validation steps, unless the user set one."""
    if settings.threshold is not None:
        return ThresholdChoice(settings.threshold, "set by the user")
    steps = judged_steps(validation)
    if len(steps.scores) == 0:
        return ThresholdChoice(DEFAULT_THRESHOLD, "no validation step is judged: 0.5 by default")
    best = best_threshold(steps.is_correct, steps.scores)
    rule = f"highest macro F1 ({best.macro_f1:.3f}) on {len(steps.scores)} validation steps; of equals, nearest to 0.5"
    return ThresholdChoice(best.value, rule)


def macro_f1_at(steps: JudgedSteps, threshold: float) -> float:
    """Macro F1 of all steps pooled."""
    return float(macro_f1(confusion_rows(steps.is_correct, steps.scores >= threshold).sum(axis=0)))


def threshold_sweep(validation: JudgedSteps, test: JudgedSteps, chosen: float) -> dict[str, Any]:
    """Macro F1 of both splits over `SWEEP` and at the chosen threshold; the optimum on the test split, so marked."""
    points = sorted({*SWEEP, chosen})
    sets = {name: steps for name, steps in (("validation", validation), ("test", test)) if len(steps.scores)}
    best = best_threshold(test.is_correct, test.scores)
    return {
        "points": [
            {"threshold": point} | {name: macro_f1_at(steps, point) for name, steps in sets.items()} for point in points
        ],
        "test_tuned": {
            "threshold": best.value,
            "macro_f1": best.macro_f1,
            "is": "an upper bound: chosen with the labels of the test split; used for no other number",
        },
    }


def length_scores(steps: JudgedSteps) -> np.ndarray:
    """The length of each step's text as a score: 1 / (1 + characters), so that short steps score high. (n,)"""
    lengths = [len(one.step_texts[place]) for one, place in zip(steps.solutions, steps.places, strict=True)]
    return 1 / (1 + np.array(lengths, dtype=np.float64))


def length_baseline(validation: JudgedSteps, test: JudgedSteps) -> tuple[JudgedSteps, float]:
    """The test steps scored by their length alone, and the threshold; direction and threshold come from validation."""
    short, long = length_scores(validation), 1 - length_scores(validation)
    of_short, of_long = (best_threshold(validation.is_correct, one) for one in (short, long))
    if of_short.macro_f1 >= of_long.macro_f1:
        return test.scored(length_scores(test)), of_short.value
    return test.scored(1 - length_scores(test)), of_long.value
