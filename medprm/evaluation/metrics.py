"""metrics.json: every number of an evaluation, with n and a 95 % interval by patient, and baselines beside it.

In: scored solutions of validation (threshold, aggregation) and test (everything else). Out: a mapping of plain JSON
values; numbers are {"value", "low", "high", "n"}. What cannot be measured is absent, and `notes` says why.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.atomic import replaced_file
from medprm.evaluation.scored import LABELS, ScoredError, ScoredSolution
from medprm.evaluation.selection import Choice, best_of_n_estimates, choose_aggregation, collect_candidates
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import (
    Resampling,
    baseline_estimates,
    category_estimates,
    draw_resampling,
    first_error_estimates,
    judged_steps,
    step_estimates,
)
from medprm.statistics.bootstrap import MIN_CLUSTERS, Estimate
from medprm.statistics.step_metrics import NUM_CALIBRATION_BINS, best_threshold

DEFAULT_THRESHOLD = 0.5


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


def evaluate_scored(
    validation: Sequence[ScoredSolution], test: Sequence[ScoredSolution], settings: EvaluationSettings
) -> dict[str, Any]:
    """All metrics of the test solutions. Raises ScoredError where there is none, or a patient is in both sets."""
    _check_sets(validation, test)
    threshold = choose_threshold(validation, settings)
    choice = choose_aggregation(collect_candidates(validation), settings)
    resampling = draw_resampling((one.group_id for one in test), settings.num_bootstrap, settings.seed)
    notes = _notes_on_choices(threshold, choice, resampling)
    counts: dict[str, Any] = {"test": _count(test), "validation": _count(validation)}
    sections: dict[str, Any] = {}
    _add_steps(test, threshold.value, resampling, sections, counts, notes)
    _add_best_of_n(test, choice.aggregation, settings, resampling, sections, counts, notes)
    return {
        "threshold": threshold.value,
        "aggregation": choice.aggregation,
        **_to_json(sections, notes),
        "counts": counts,
        "protocol": _protocol(threshold, choice, test, settings),
        "notes": notes,
    }


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """metrics.json, written whole or not at all."""
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replaced_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _check_sets(validation: Sequence[ScoredSolution], test: Sequence[ScoredSolution]) -> None:
    if not test:
        raise ScoredError("no test solution was scored; expected at least one (is the test split empty?)")
    shared = {one.group_id for one in validation} & {one.group_id for one in test}
    if shared:
        raise ScoredError(
            f"{len(shared)} patients are in validation and in test (first: {min(shared)!r}); expected none: "
            "the threshold and the aggregation would be chosen on test patients. Split by patient"
        )


def _add_steps(
    test: Sequence[ScoredSolution],
    threshold: float,
    resampling: Resampling,
    sections: dict[str, Any],
    counts: dict[str, Any],
    notes: dict[str, str],
) -> None:
    steps = judged_steps(test)
    if len(steps.scores) == 0:
        notes["step_metrics"] = "absent: no test step is judged correct or incorrect"
        return
    sections["step_metrics"] = step_estimates(steps, threshold, resampling)
    baselines = baseline_estimates(steps, threshold, resampling)
    sections["baselines"], sections["versus_baselines"] = baselines.estimates, baselines.versus
    sections["by_category"] = category_estimates(steps, threshold, resampling)
    first_errors = first_error_estimates(test, threshold, resampling)
    if first_errors is None:
        notes["step_metrics.first_error_f1"] = "absent: no solution has a known first error or is known to have none"
        return
    sections["step_metrics"] |= first_errors.estimates
    counts["solutions_with_unknown_first_error"] = first_errors.num_left_out


def _add_best_of_n(
    test: Sequence[ScoredSolution],
    aggregation: str,
    settings: EvaluationSettings,
    resampling: Resampling,
    sections: dict[str, Any],
    counts: dict[str, Any],
    notes: dict[str, str],
) -> None:
    candidates = collect_candidates(test)
    counts["candidates_of_unknown_correctness"] = candidates.num_left_out
    if not candidates.cases:
        notes["best_of_n"] = "absent: no candidate answer is known to be right or wrong (is_correct)"
        return
    if candidates.max_size < 2:
        notes["best_of_n"] = "absent: no case has two candidates of known correctness to choose from"
        return
    result = best_of_n_estimates(candidates, aggregation, settings, resampling)
    counts["cases_with_fewer_candidates_than"] = result.left_out
    if not any(one.is_defined for one in result.estimates["oracle"].values()):
        notes["best_of_n"] = "absent: too few cases reach any N of max_candidates for an interval"
        return
    sections["best_of_n"] = {"pass@1": result.pass_at_1, **result.estimates}
    sections["gap_closed"] = result.gap_closed
    if result.versus_majority:
        sections["versus_majority"] = result.versus_majority
    else:
        notes["best_of_n.majority"] = "absent: no candidate has a parsed answer to vote with"


def _to_json(section: Mapping[str, Any], notes: dict[str, str], path: str = "") -> dict[str, Any]:
    """Estimates as JSON; those that are undefined go to the notes."""
    result: dict[str, Any] = {}
    for name, value in section.items():
        here = f"{path}.{name}" if path else name
        if not isinstance(value, Estimate):
            result[name] = _to_json(value, notes, here)
        elif value.is_defined:
            result[name] = value.as_json()
        else:
            notes[here] = (
                f"undefined on this set (n = {value.n}): a class, or the gap it is a share of, is empty "
                "in the set or in over 5 % of the resamples"
            )
    return result


def _count(solutions: Sequence[ScoredSolution]) -> dict[str, Any]:
    labels = Counter(label for solution in solutions for label in solution.labels)
    return {
        "patients": len({solution.group_id for solution in solutions}),
        "cases": len({solution.case_id for solution in solutions}),
        "cases_without_patient_id": len({solution.case_id for solution in solutions if solution.patient_id is None}),
        "solutions": len(solutions),
        "solutions_without_parsed_answer": sum(solution.answer is None for solution in solutions),
        "steps": sum(labels.values()),
        "steps_by_label": {label: labels[label] for label in LABELS},
    }


def _notes_on_choices(threshold: ThresholdChoice, choice: Choice, resampling: Resampling) -> dict[str, str]:
    notes = {}
    if "by default" in threshold.rule:
        notes["threshold"] = threshold.rule
    if "by default" in choice.rule:
        notes["aggregation"] = choice.rule
    num_groups = len(resampling.numbers)
    if num_groups < MIN_CLUSTERS:
        notes["intervals"] = (
            f"only {num_groups} patients: below {MIN_CLUSTERS}, percentile intervals are known to be too narrow"
        )
    return notes


def _protocol(
    threshold: ThresholdChoice, choice: Choice, test: Sequence[ScoredSolution], settings: EvaluationSettings
) -> dict[str, str]:
    by_case = sum(solution.patient_id is None for solution in test)
    unit = "patient" if not by_case else "case" if by_case == len(test) else "patient (case where none is known)"
    return {
        "threshold": f"A step is predicted correct where its score >= {threshold.value:.6g}: {threshold.rule}.",
        "aggregation": f"Solution score = {choice.aggregation} of step scores: {choice.rule}.",
        "steps": "All judged steps pooled; neutral and unknown steps are left out.",
        "first_error": "ProcessBench: harmonic mean of the share of erroneous solutions whose first error is found "
        "exactly and the share of error-free solutions left alone; solutions with an unknown step before the first "
        "known error are left out.",
        "best_of_n": "Exact expectation over all subsets of N of a case's candidates; tied scores share the pick "
        "evenly; a case with fewer than N candidates is left out at that N.",
        "majority": "Exact; answers equal but for case and spaces vote together; tied answers share the win evenly; "
        "unparsed answers never win.",
        "weighted_vote": f"Answer with the highest sum of solution scores, over {settings.num_vote_subsets} random "
        "orders of the candidates per case.",
        "gap_closed": "(Best-of-N - pass@1) / (oracle - pass@1), on the same cases.",
        "baselines": "Expected counts of a guesser: all correct, a fair coin, and a coin with the base rate of the "
        "test steps.",
        "calibration": f"ECE over {NUM_CALIBRATION_BINS} bins of equal width.",
        "intervals": f"95 % percentile bootstrap, {settings.num_bootstrap} resamples by {unit} "
        f"(seed {settings.seed}); differences are paired.",
    }
