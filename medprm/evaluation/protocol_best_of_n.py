"""Published protocols that choose among candidates: Med-PRM's seven sets, VisualPRM's seven, PRM-Clinic's notes.

In: `ProtocolInput`, `source` of each solution naming its set. Out: estimates by set and name. Which cases count is in
protocol_sets.py, definitions are in protocols.py.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medprm.evaluation.candidates import Candidates, collect_candidates
from medprm.evaluation.protocol_input import ProtocolInput, parts_of
from medprm.evaluation.protocol_sets import SetCases, set_cases, unit_of
from medprm.evaluation.scored import ScoredError, ScoredSolution
from medprm.evaluation.selection import Curves, selector_curves
from medprm.evaluation.steps import count_estimates, judged_steps
from medprm.statistics.bootstrap import Estimate, ratio

Numbers = dict[str, dict[str, Estimate]]
MEAN_OF_SETS = "mean of sets"


def med_prm(given: ProtocolInput) -> Numbers:
    """Best-of-N by min, self-consistency, and SC + RM by min and by last."""
    cases = set_cases("med_prm", given.test)
    columns = {"pass@1": "random", "best_of_n_min": "min", "self_consistency": "majority"}
    numbers = _by_set(given, cases, columns, "min")
    for aggregation in ("min", "last"):
        votes = _by_set(given, cases, {f"weighted_vote_{aggregation}": "weighted_vote"}, aggregation)
        for name, found in votes.items():
            numbers[name] |= found
    return numbers


def visualprm(given: ProtocolInput) -> Numbers:
    """Pass@1 and the pick of the highest mean score of 8."""
    cases = set_cases("visualprm", given.test)
    return _by_set(given, cases, {"pass@1": "random", "best_of_8": "mean"}, "mean")


def _by_set(given: ProtocolInput, cases: SetCases, columns: dict[str, str], aggregation: str) -> Numbers:
    """`columns`: number -> selector; pass@1 is at N = 1, all others at the N of `cases`."""
    candidates = collect_candidates(cases.solutions)
    size = cases.num_candidates
    curves = selector_curves(candidates, aggregation, replace(given.settings, max_candidates=[1, size]))
    by_case = {one.case_id: one for one in cases.solutions}
    owners = [by_case[case.case_id] for case in candidates.cases]
    numbers: Numbers = {}
    for name, selector in columns.items():
        if selector not in curves.values:
            continue
        rows, groups, parts = _rows(curves, selector, 1 if name == "pass@1" else size, owners)
        for source in sorted(set(parts)):
            kept = [i for i, part in enumerate(parts) if part == source]
            numbers.setdefault(source, {})[name] = given.estimate(ratio, rows[kept], [groups[i] for i in kept])
        if not cases.absent:
            numbers.setdefault(MEAN_OF_SETS, {})[name] = given.mean_over_parts(ratio, rows, parts, groups)
    return numbers


def _rows(
    curves: Curves, selector: str, size: int, owners: Sequence[ScoredSolution]
) -> tuple[np.ndarray, list[str], list[str]]:
    """Expected correctness and a 1 for every unit, (n, 2); a unit is a case, or in DynaMath a question's variants."""
    values = curves.at(selector, size)
    units: dict[tuple[str, str], list[int]] = {}
    for i, owner in enumerate(owners):
        units.setdefault(unit_of(owner), []).append(i)
    rows = np.array([[float(np.prod(values[members])), 1.0] for members in units.values()])
    groups = [owners[members[0]].group_id for members in units.values()]
    return rows, groups, [source for source, _ in units]


def note_selection(given: ProtocolInput) -> Numbers:
    """Whether the gold note of a dialogue has the highest score among all its notes; step metrics beside."""
    numbers: Numbers = {}
    for name, part in parts_of(given.test).items():
        found = _selected_notes(given, part)
        steps = judged_steps(part)
        if len(steps.scores):
            counts = count_estimates(steps, given.threshold, given.resampling)
            found |= {one: counts[one] for one in ("macro_f1", "f1_correct", "f1_incorrect")}
        if found:
            numbers[name] = found
    if not numbers:
        raise ScoredError(
            "evaluation.protocol=prm_clinic: no dialogue has a gold note among several, and no step a label"
        )
    return numbers


def _selected_notes(given: ProtocolInput, solutions: Sequence[ScoredSolution]) -> dict[str, Estimate]:
    """By the product of step scores (the authors' rule), by the chosen aggregation, and two that read nothing."""
    candidates = collect_candidates(solutions)
    usable = [case for case in candidates.cases if len(case.is_correct) > 1 and case.is_correct.any()]
    if not usable:
        return {}
    groups = [case.group_id for case in usable]

    def share(values: Sequence[float]) -> Estimate:
        return given.estimate(ratio, np.c_[values, np.ones(len(values))], groups)

    rules = {
        "note_selection": "product",
        "note_selection_by_chosen_aggregation": given.aggregation,
        "note_selection_by_length": "longest",
    }
    found = {name: share([_picks_right(case, rule) for case in usable]) for name, rule in rules.items()}
    found["note_selection_by_chance"] = share([float(case.is_correct.mean()) for case in usable])
    return found


def _picks_right(case: Candidates, rule: str) -> float:
    """The chance that the top scorer is right; ties share the pick evenly."""
    scores = case.scores[rule]
    return float(case.is_correct[scores == scores.max()].mean())
