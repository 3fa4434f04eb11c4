"""Published protocols that judge steps: VisualProcessBench, ProcessBench, PRMBench, Mr-Ben and MR-GSM8K, MEDEC.

In: `ProtocolInput`. Out: estimates by part (all, or a source) and name. Definitions are in protocols.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medprm.evaluation.protocol_input import ALL, ProtocolInput, parts_of
from medprm.evaluation.scored import ScoredError, ScoredSolution
from medprm.evaluation.steps import count_estimates, judged_steps
from medprm.statistics.bootstrap import Estimate, estimate_mean, ratio
from medprm.statistics.step_metrics import confusion_rows, first_error_f1, first_error_row, macro_f1, matthews

Numbers = dict[str, dict[str, Estimate]]
NO_ERROR = -1


def visualprocessbench(given: ProtocolInput) -> Numbers:
    """Macro F1 of all steps pooled, and of each source."""
    return {name: _step_f1(given, part, "macro_f1") for name, part in parts_of(given.test).items()}


def _step_f1(given: ProtocolInput, solutions: Sequence[ScoredSolution], name: str) -> dict[str, Estimate]:
    numbers = count_estimates(judged_steps(solutions), given.threshold, given.resampling)
    return {name: numbers["macro_f1"], "f1_correct": numbers["f1_correct"], "f1_incorrect": numbers["f1_incorrect"]}


class _FirstErrors(NamedTuple):
    """The rows of the solutions whose first error is known, (n, 4), and those solutions."""

    rows: np.ndarray
    solutions: list[ScoredSolution]

    @property
    def group_ids(self) -> list[str]:
        return [one.group_id for one in self.solutions]


def _first_errors(given: ProtocolInput, solutions: Sequence[ScoredSolution]) -> _FirstErrors:
    found = [(first_error_row(one.labels, one.step_scores, given.threshold), one) for one in solutions]
    known = [(row, one) for row, one in found if row is not None]
    if not known:
        raise ScoredError("no test solution has a known first error or is known to have none, which the protocol needs")
    return _FirstErrors(np.array([row for row, _ in known], dtype=np.float64), [one for _, one in known])


def _found_exactly(sums: np.ndarray) -> np.ndarray:
    return sums[..., 1] / sums[..., 0]


def _left_alone(sums: np.ndarray) -> np.ndarray:
    return sums[..., 3] / sums[..., 2]


def processbench(given: ProtocolInput) -> Numbers:
    """F1 by split, and under `all` their mean; `pooled` is the F1 of all splits together."""
    numbers: Numbers = {}
    for name, part in parts_of(given.test).items():
        errors = _first_errors(given, part)
        numbers["pooled" if name == ALL else name] = {
            "f1": given.estimate(first_error_f1, errors.rows, errors.group_ids),
            "accuracy_on_erroneous": given.estimate(_found_exactly, errors.rows, errors.group_ids),
            "accuracy_on_correct": given.estimate(_left_alone, errors.rows, errors.group_ids),
        }
    errors = _first_errors(given, given.test)
    splits = [one.source or "" for one in errors.solutions]
    return {ALL: {"f1": given.mean_over_parts(first_error_f1, errors.rows, splits, errors.group_ids)}, **numbers}


def prmbench(given: ProtocolInput) -> Numbers:
    """PRMScore pooled, by kind of error, the mean over kinds, and the first error."""
    by_kind: dict[str, list[ScoredSolution]] = {}
    for one in given.test:
        kind = next((kind for kind in one.error_kinds if kind), None)
        by_kind.setdefault(kind or "correct", []).append(one)
    numbers: Numbers = {ALL: _step_f1(given, given.test, "prm_score")}
    errors = _first_errors(given, given.test)
    numbers[ALL]["first_error_accuracy"] = given.estimate(_found_exactly, errors.rows, errors.group_ids)
    kinds = {name: part for name, part in sorted(by_kind.items()) if name != "correct"}
    for name, part in kinds.items():
        numbers[name] = _step_f1(given, part, "prm_score")
    if kinds:
        steps = {name: judged_steps(part) for name, part in kinds.items()}
        rows = np.concatenate([confusion_rows(one.is_correct, one.scores >= given.threshold) for one in steps.values()])
        names = [name for name, one in steps.items() for _ in one.scores]
        groups = [group for one in steps.values() for group in one.group_ids]
        numbers["mean_of_kinds"] = {"prm_score": given.mean_over_parts(macro_f1, rows, names, groups)}
    return numbers


def mr_score(given: ProtocolInput) -> Numbers:
    """MCC of the verdict on whole solutions, accuracy of the first error, and their weighted mean."""

    def without_reason(sums: np.ndarray) -> np.ndarray:
        correlation = np.maximum(0, matthews(_as_confusion(sums)))
        return (0.2 * correlation + 0.3 * _found_exactly(sums)) / 0.5

    numbers: Numbers = {}
    for name, part in parts_of(given.test).items():
        errors = _first_errors(given, part)
        # Beside the four columns: erroneous solutions that were called wrong, wherever.
        called = [
            float(_is_called_wrong(one, given.threshold) and "incorrect" in one.labels) for one in errors.solutions
        ]
        rows, groups = np.c_[errors.rows, called], errors.group_ids
        numbers[name] = {
            "mcc": given.estimate(lambda sums: matthews(_as_confusion(sums)), rows, groups),
            "acc_step": given.estimate(_found_exactly, rows, groups),
            "mr_score_without_reason": given.estimate(without_reason, rows, groups),
        }
    return numbers


def _is_called_wrong(solution: ScoredSolution, threshold: float) -> bool:
    """Any step below the threshold; steps after the first error have no label, and say as much of the solution."""
    return any(score < threshold for score in solution.step_scores)


def _as_confusion(sums: np.ndarray) -> np.ndarray:
    """Columns of first errors and of the called-wrong ones to tp, fp, fn, tn of whole solutions (correct positive)."""
    erroneous, correct, kept, caught = sums[..., 0], sums[..., 2], sums[..., 3], sums[..., 4]
    return np.stack([kept, erroneous - caught, correct - kept, caught], axis=-1)


def medec(given: ProtocolInput) -> Numbers:
    """Flag and sentence accuracy of notes, at a threshold on the lowest score chosen on validation."""
    threshold = _flag_threshold(given.validation) if given.validation else given.threshold
    numbers: Numbers = {}
    for name, part in parts_of(given.test).items():
        truth, lowest, place = _notes(part)
        flagged = lowest < threshold
        clusters = given.resampling.clusters([one.group_id for one in part])
        has_error, last = truth != NO_ERROR, np.array([len(one.labels) - 1 for one in part])
        named = np.where(flagged, place, NO_ERROR)
        correct = {
            "flag_accuracy": flagged == has_error,
            "sentence_accuracy": named == truth,
            "flag_accuracy_of_calling_none": ~has_error,
            "flag_accuracy_of_calling_all": has_error,
            # Wrong sentences stand mostly at the end of MEDEC's notes: what looking at nothing but the place reaches.
            "sentence_accuracy_of_naming_the_last": truth == last,
        }
        weights = given.resampling.weights
        numbers[name] = {key: estimate_mean(values, clusters, weights) for key, values in correct.items()}
        found = np.stack([(has_error & (place == truth)).astype(float), has_error.astype(float)], axis=1)
        groups = [one.group_id for one in part]
        # Which sentence is lowest, threshold or not: how far the ranking alone gets.
        numbers[name]["lowest_is_the_wrong_one"] = given.estimate(ratio, found, groups)
        at_end = np.stack([(has_error & (truth == last)).astype(float), has_error.astype(float)], axis=1)
        numbers[name]["last_is_the_wrong_one"] = given.estimate(ratio, at_end, groups)
        blind = np.stack([has_error / np.array([len(one.labels) for one in part]), has_error.astype(float)], axis=1)
        numbers[name]["lowest_by_chance"] = given.estimate(ratio, blind, groups)
    return numbers


def _notes(solutions: Sequence[ScoredSolution]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each note the place of its wrong sentence (-1: none), its lowest score, and the place of that."""
    for one in solutions:
        if "unknown" in one.labels or one.labels.count("incorrect") > 1:
            raise ScoredError(
                f"case {one.case_id}: MEDEC's notes have every sentence labelled, at most one as incorrect"
            )
    truth = [one.labels.index("incorrect") if "incorrect" in one.labels else NO_ERROR for one in solutions]
    place = [int(np.argmin(one.step_scores)) for one in solutions]
    return np.array(truth), np.array([min(one.step_scores) for one in solutions]), np.array(place)


def _flag_threshold(validation: Sequence[ScoredSolution]) -> float:
    """The cut on a note's lowest score of highest flag accuracy on validation; of equals the lowest."""
    truth, lowest, _ = _notes(validation)
    distinct = np.unique(lowest)
    cuts = np.r_[distinct, np.nextafter(distinct[-1], np.inf)]
    accuracy = [float(np.mean((lowest < cut) == (truth != NO_ERROR))) for cut in cuts]
    return float(cuts[int(np.argmax(accuracy))])
