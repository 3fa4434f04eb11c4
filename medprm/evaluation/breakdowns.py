"""Step metrics of parts of a test set: by category, modality, source, place in the solution, length, kind of error.

In: judged steps, a threshold, the resampling of the report. Out: by part, estimates by name. A part that cannot be told
(nothing in the records says the modality) is absent. Intervals are paired across parts: the same resamples of patients.
"""

from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np

from medprm.cases.schema import Category
from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.steps import JudgedSteps, Resampling, calibration_estimates, count_estimates, estimate_auroc
from medprm.statistics.agreement import pair_agreement, pearson
from medprm.statistics.bootstrap import Estimate, estimate_mean

SHOWN = ("macro_f1", "f1_correct", "f1_incorrect", "auroc", "balanced_accuracy", "mcc", "ece")
MAX_POSITION = 8
LENGTHS = ((1, 3), (4, 6), (7, 9), (10, None))

PartOf = Callable[[ScoredSolution, int], str | None]
"""The part that a step belongs to; None where nobody knows."""


def _position(solution: ScoredSolution, place: int) -> str:
    return f"step {place + 1}" if place + 1 < MAX_POSITION else f"step {MAX_POSITION} and later"


def _place_from_end(solution: ScoredSolution, place: int) -> str:
    return "last step" if place + 1 == len(solution.labels) else "earlier steps"


def _length(solution: ScoredSolution, place: int) -> str:
    num_steps = len(solution.labels)
    low, high = next(one for one in LENGTHS if one[1] is None or num_steps <= one[1])
    return f"{low} steps and more" if high is None else f"{low} to {high} steps"


PARTS: dict[str, PartOf] = {
    "by_category": lambda solution, place: solution.categories[place] or "uncategorised",
    "by_modality": lambda solution, place: solution.modality,
    "by_source": lambda solution, place: solution.source,
    "by_position": _position,
    "by_place_from_end": _place_from_end,
    "by_length": _length,
}


def part_estimates(
    steps: JudgedSteps, threshold: float, resampling: Resampling
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """For each of `PARTS` that divides the steps: the metrics of `SHOWN` of every part."""
    found = {}
    for name, part_of in PARTS.items():
        parts = np.array([part_of(*one) or "" for one in zip(steps.solutions, steps.places, strict=True)])
        names = sorted(set(parts.tolist()) - {""}, key=_place_in_table)
        if names and (len(names) > 1 or name in ("by_category", "by_modality")):
            found[name] = {one: _numbers(steps.where(parts == one), threshold, resampling) for one in names}
    return found


def _numbers(steps: JudgedSteps, threshold: float, resampling: Resampling) -> dict[str, Estimate]:
    numbers = count_estimates(steps, threshold, resampling) | calibration_estimates(steps, resampling)
    numbers["auroc"] = estimate_auroc(steps, resampling)
    return {name: numbers[name] for name in SHOWN}


def _place_in_table(part: str) -> tuple[int, int, str]:
    """Categories in the order of the schema; numbers by size; any other by name."""
    known = get_args(Category)
    number = next((int(word) for word in part.split() if word.isdigit()), 0)
    return (known.index(part) if part in known else len(known)), number, part


def error_kind_estimates(
    steps: JudgedSteps, threshold: float, resampling: Resampling
) -> dict[str, dict[str, Estimate]]:
    """For each kind of error, the share of its steps that are found (score < threshold)."""
    kinds = np.array(
        [
            (one.error_kinds[place] or "") if one.error_kinds else ""
            for one, place in zip(steps.solutions, steps.places, strict=True)
        ]
    )
    found = {}
    for kind in sorted(set(kinds[~steps.is_correct].tolist()) - {""}):
        part = steps.where((kinds == kind) & ~steps.is_correct)
        clusters = resampling.clusters(part.group_ids)
        found[kind] = {"recall_incorrect": estimate_mean(part.scores < threshold, clusters, resampling.weights)}
    return found


def expert_estimates(
    solutions: Sequence[ScoredSolution], threshold: float, num_bootstrap: int, seed: int
) -> dict[str, dict[str, Estimate]]:
    """For each expert: Cohen's kappa, raw agreement and Gwet's AC1 of the model's verdicts with theirs, Pearson's r of
    the scores with "correct" as 1. Steps that the expert left neutral or unknown are left out."""
    by_expert: dict[str, list[tuple[str, float, str]]] = {}
    for one in solutions:
        for place, verdicts in enumerate(one.experts):
            for expert, verdict in verdicts.items():
                if verdict in ("correct", "incorrect"):
                    by_expert.setdefault(expert, []).append((verdict, one.step_scores[place], one.group_id))
    found = {}
    for expert, rows in sorted(by_expert.items()):
        verdicts, scores, groups = zip(*rows, strict=True)
        predicted = ["correct" if score >= threshold else "incorrect" for score in scores]
        agreement = pair_agreement(predicted, verdicts, groups, num_bootstrap, seed)
        correlation = pearson(scores, [float(one == "correct") for one in verdicts], groups, num_bootstrap, seed)
        found[expert] = {
            "kappa": agreement.kappa,
            "ac1": agreement.ac1,
            "raw_agreement": agreement.raw_agreement,
            "pearson": correlation,
        }
    return found
