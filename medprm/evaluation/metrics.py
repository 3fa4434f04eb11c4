"""metrics.json: every number of an evaluation, with n and a 95 % interval by patient, and baselines beside it.

In: scored solutions of validation (threshold, aggregation) and test (everything else). Out: a mapping of plain JSON
values; numbers are {"value", "low", "high", "n"}. What cannot be measured is absent, and `notes` says why.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medprm.cases.atomic import replaced_file
from medprm.evaluation.breakdowns import error_kind_estimates, expert_estimates, part_estimates
from medprm.evaluation.calibration import before_and_after, fit_all
from medprm.evaluation.candidates import SolutionScores, collect_candidates
from medprm.evaluation.differences import compare_selectors
from medprm.evaluation.protocol_words import protocol_words
from medprm.evaluation.protocols import ProtocolInput, measure
from medprm.evaluation.scored import LABELS, ScoredError, ScoredSolution
from medprm.evaluation.selection import (
    Choice,
    best_of_all_estimates,
    best_of_n_estimates,
    choose_aggregation,
    selector_curves,
    shown_size,
)
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import (
    JudgedSteps,
    Resampling,
    baseline_estimates,
    count_estimates,
    draw_resampling,
    estimate_auroc,
    first_error_estimates,
    judged_steps,
    step_estimates,
)
from medprm.evaluation.thresholds import ThresholdChoice, choose_threshold, length_baseline, threshold_sweep
from medprm.statistics.bootstrap import MIN_CLUSTERS, Estimate


def evaluate_scored(
    validation: Sequence[ScoredSolution],
    test: Sequence[ScoredSolution],
    settings: EvaluationSettings,
    others: Mapping[str, SolutionScores] | None = None,
) -> dict[str, Any]:
    """All metrics of the test solutions. Raises ScoredError where there is none, or a patient is in both sets.

    `others`: solution scores of other scorers by name, such as `orm`: selectors of their own beside the PRM's.
    """
    _check_sets(validation, test)
    threshold = choose_threshold(validation, settings)
    choice = choose_aggregation(collect_candidates(validation), settings)
    resampling = draw_resampling((one.group_id for one in test), settings.num_bootstrap, settings.seed)
    found = _Found({}, {"test": _count(test), "validation": _count(validation)}, {}, {})
    found.notes.update(_notes_on_choices(threshold, choice, resampling))
    _add_steps(validation, test, threshold.value, settings, resampling, found)
    _add_best_of_n(test, others or {}, choice.aggregation, settings, resampling, found)
    if settings.protocol is not None:
        given = ProtocolInput(validation, test, threshold.value, choice.aggregation, settings, resampling)
        result = measure(settings.protocol, given)
        found.sections["published_protocol"] = result.numbers
        found.tables["published_protocol_words"] = result.words()
    return {
        "threshold": threshold.value,
        "aggregation": choice.aggregation,
        **_to_json(found.sections, found.notes),
        **found.tables,
        "counts": found.counts,
        "protocol": protocol_words(threshold, choice, test, settings),
        "notes": found.notes,
    }


@dataclass(frozen=True)
class _Found:
    """What is put together: estimates by section, counts, tables that are plain JSON, and why something is absent."""

    sections: dict[str, Any]
    counts: dict[str, Any]
    tables: dict[str, Any]
    notes: dict[str, str]


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
    validation: Sequence[ScoredSolution],
    test: Sequence[ScoredSolution],
    threshold: float,
    settings: EvaluationSettings,
    resampling: Resampling,
    found: _Found,
) -> None:
    steps, chosen_on = judged_steps(test), judged_steps(validation)
    if len(steps.scores) == 0:
        found.notes["step_metrics"] = "absent: no test step is judged correct or incorrect"
        return
    found.sections["step_metrics"] = step_estimates(steps, threshold, resampling)
    baselines = baseline_estimates(steps, threshold, resampling)
    found.sections["baselines"], found.sections["versus_baselines"] = baselines.estimates, baselines.versus
    _add_length_baseline(chosen_on, steps, resampling, found)
    found.sections.update(part_estimates(steps, threshold, resampling))
    if kinds := error_kind_estimates(steps, threshold, resampling):
        found.sections["by_error_kind"] = kinds
    if experts := expert_estimates(test, threshold, settings.num_bootstrap, settings.seed):
        found.sections["experts"] = experts
    found.tables["threshold_sweep"] = threshold_sweep(chosen_on, steps, threshold)
    _add_calibration(chosen_on, steps, resampling, found)
    first_errors = first_error_estimates(test, threshold, resampling)
    if first_errors is None:
        found.notes["step_metrics.first_error_f1"] = (
            "absent: no solution has a known first error or is known to have none"
        )
        return
    found.sections["step_metrics"] |= first_errors.estimates
    found.counts["solutions_with_unknown_first_error"] = first_errors.num_left_out


def _add_length_baseline(validation: JudgedSteps, steps: JudgedSteps, resampling: Resampling, found: _Found) -> None:
    if len(validation.scores) == 0:
        found.notes["baselines.length"] = "absent: no validation step is judged, to choose its direction and threshold"
        return
    by_length, threshold = length_baseline(validation, steps)
    numbers = count_estimates(by_length, threshold, resampling)
    found.sections["baselines"]["length"] = {
        **{name: numbers[name] for name in found.sections["baselines"]["coin"]},
        "auroc": estimate_auroc(by_length, resampling),
    }


def _add_calibration(validation: JudgedSteps, steps: JudgedSteps, resampling: Resampling, found: _Found) -> None:
    calibrations = fit_all(validation)
    if not calibrations:
        found.notes["calibration"] = "absent: too few validation steps are judged, or all alike, to fit it"
        return
    found.sections["calibration"] = before_and_after(calibrations, steps, resampling)
    found.tables["calibration_maps"] = {kind: one.as_json() for kind, one in calibrations.items()}


def _add_best_of_n(
    test: Sequence[ScoredSolution],
    others: Mapping[str, SolutionScores],
    aggregation: str,
    settings: EvaluationSettings,
    resampling: Resampling,
    found: _Found,
) -> None:
    candidates = collect_candidates(test, others)
    found.counts["candidates_of_unknown_correctness"] = candidates.num_left_out
    found.counts["unparsed_candidates"] = candidates.num_unparsed
    if candidates.num_unparsed:
        found.notes["best_of_n.unparsed"] = f"{candidates.num_unparsed} answers could not be read: they are wrong"
    if candidates.num_left_out:
        left_out = f"{candidates.num_left_out} candidates are neither right nor wrong (is_correct): left out"
        found.notes["best_of_n.left_out"] = left_out
    if not candidates.cases:
        found.notes["best_of_n"] = "absent: no candidate answer is known to be right or wrong (is_correct)"
        return
    if candidates.max_size < 2:
        found.notes["best_of_n"] = "absent: no case has two candidates of known correctness to choose from"
        return
    curves = selector_curves(candidates, aggregation, settings)
    result = best_of_n_estimates(curves, resampling)
    found.counts["cases_with_fewer_candidates_than"] = result.left_out
    wanted = curves.sizes if settings.max_candidates is None else settings.max_candidates
    if not any(one.is_defined for size, one in result.estimates["oracle"].items() if int(size) in wanted):
        found.notes["best_of_n"] = "absent: too few cases reach any N of max_candidates for an interval"
        return
    found.sections["best_of_n"] = {"pass@1": result.pass_at_1, **result.estimates}
    found.sections["gap_closed"] = result.gap_closed
    found.sections["best_of_all"] = best_of_all_estimates(candidates, aggregation, settings, resampling)
    found.tables["sampling_errors"] = result.sampling_errors
    compared = compare_selectors(curves, aggregation, shown_size(curves.sizes), resampling)
    found.tables["comparisons"] = [row for one in compared if (row := one.as_json()) is not None]
    if result.versus_majority:
        found.sections["versus_majority"] = result.versus_majority
    else:
        found.notes["best_of_n.majority"] = "absent: no candidate has a parsed answer to vote with"


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
