"""Published protocols that choose among candidates: Med-PRM's seven sets, VisualPRM's seven, PRM-Clinic's notes.

In: `ProtocolInput`, `source` of each solution naming its set. Out: estimates by set and name. Definitions are in
protocols.py.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medprm.evaluation.candidates import collect_candidates
from medprm.evaluation.protocol_input import ProtocolInput
from medprm.evaluation.scored import ScoredError, ScoredSolution
from medprm.evaluation.selection import Curves, selector_curves
from medprm.evaluation.steps import count_estimates, judged_steps
from medprm.statistics.bootstrap import Estimate, ratio

Numbers = dict[str, dict[str, Estimate]]
SETS = {
    "med_prm": ("MedQA-4", "MedQA-5", "MedMCQA", "MMLU-Med", "DDXPlus", "AgentClinic-MedQA", "AgentClinic-NEJM"),
    "visualprm": ("MMMU", "MathVista", "MathVision", "MathVerse-VO", "DynaMath", "WeMath", "LogicVista"),
}
WORST_CASE = "DynaMath"
MED_PRM_N, VISUALPRM_N = 64, 8


def absent_sets(protocol: str, solutions: Sequence[ScoredSolution]) -> list[str]:
    """Sets of the protocol that no solution is from. ScoredError for a source that is none of them."""
    if protocol not in SETS:
        return []
    present = {one.source for one in solutions}
    for source in sorted(present - set(SETS[protocol]), key=str):
        raise ScoredError(
            f"evaluation.protocol={protocol}: source {source!r}; expected one of {', '.join(SETS[protocol])} "
            "(metadata.source of the record, or metadata.extra.data_source)"
        )
    return [name for name in SETS[protocol] if name not in present]


def med_prm(given: ProtocolInput) -> Numbers:
    """Best-of-N by min, self-consistency, and SC + RM by min and by last, at N = 64 or the most that all cases have."""
    columns = {"pass@1": "random", "best_of_n_min": "min", "self_consistency": "majority"}
    numbers = _by_set(given, "med_prm", MED_PRM_N, columns, "min")
    for aggregation in ("min", "last"):
        votes = _by_set(given, "med_prm", MED_PRM_N, {f"weighted_vote_{aggregation}": "weighted_vote"}, aggregation)
        for name, found in votes.items():
            numbers[name] |= found
    return numbers


def visualprm(given: ProtocolInput) -> Numbers:
    """Pass@1 and the pick of the highest mean score of 8."""
    return _by_set(given, "visualprm", VISUALPRM_N, {"pass@1": "random", "best_of_8": "mean"}, "mean")


def _by_set(given: ProtocolInput, protocol: str, wanted: int, columns: dict[str, str], aggregation: str) -> Numbers:
    """`columns`: number -> selector; pass@1 is at N = 1, all others at `wanted` or the most that every case has."""
    candidates = collect_candidates(given.test)
    if not candidates.cases:
        raise ScoredError(f"evaluation.protocol={protocol}: no candidate answer is known to be right or wrong")
    size = min(wanted, *(len(case.is_correct) for case in candidates.cases))
    if size < wanted and protocol == "visualprm":
        raise ScoredError(
            f"evaluation.protocol={protocol}: a case has {size} candidates of known correctness; expected 8"
        )
    curves = selector_curves(candidates, aggregation, replace(given.settings, max_candidates=[1, size]))
    by_case = {one.case_id: one for one in given.test}
    owners = [by_case[case.case_id] for case in candidates.cases]
    sources = [one.source or "" for one in owners]
    numbers: Numbers = {}
    for name, selector in columns.items():
        if selector not in curves.values:
            continue
        rows, groups, parts = _rows(curves, selector, 1 if name == "pass@1" else size, owners, sources)
        for source in sorted(set(parts)):
            kept = [i for i, part in enumerate(parts) if part == source]
            numbers.setdefault(source, {})[name] = given.estimate(ratio, rows[kept], [groups[i] for i in kept])
        if not absent_sets(protocol, given.test):
            mean = given.mean_over_parts(ratio, rows, parts, groups)
            numbers.setdefault("mean of sets", {})[name] = mean
    return numbers


def _rows(
    curves: Curves, selector: str, size: int, owners: Sequence[ScoredSolution], sources: list[str]
) -> tuple[np.ndarray, list[str], list[str]]:
    """Expected correctness and a 1 for every unit, (n, 2); a unit is a case, or in DynaMath a question's variants."""
    values = curves.at(selector, size)
    units: dict[tuple[str, str], list[int]] = {}
    for i, (owner, source) in enumerate(zip(owners, sources, strict=True)):
        unit = owner.variant_of if source == WORST_CASE else owner.case_id
        if unit is None:
            raise ScoredError(
                f"case {owner.case_id}: DynaMath is scored by its worst case, and the case does not say which question "
                "it varies; expected extra.variant_of in its record"
            )
        units.setdefault((source, unit), []).append(i)
    rows = np.array([[float(np.prod(values[members])), 1.0] for members in units.values()])
    groups = [owners[members[0]].group_id for members in units.values()]
    return rows, groups, [source for source, _ in units]


def note_selection(given: ProtocolInput) -> Numbers:
    """Whether the gold note of a dialogue has the highest score among all its notes; step metrics beside."""
    candidates = collect_candidates(given.test)
    usable = [case for case in candidates.cases if len(case.is_correct) > 1 and case.is_correct.any()]
    numbers: Numbers = {"all": {}}
    if usable:
        picks = []
        for case in usable:
            scores = case.scores[given.aggregation]
            picks.append(float(case.is_correct[scores == scores.max()].mean()))
        chance = [float(case.is_correct.mean()) for case in usable]
        groups = [case.group_id for case in usable]
        for name, values in (("note_selection", picks), ("note_selection_by_chance", chance)):
            numbers["all"][name] = given.estimate(ratio, np.c_[values, np.ones(len(values))], groups)
    steps = judged_steps(given.test)
    if not usable and len(steps.scores) == 0:
        raise ScoredError(
            "evaluation.protocol=prm_clinic: no dialogue has a gold note among several, and no step a label"
        )
    if len(steps.scores):
        found = count_estimates(steps, given.threshold, given.resampling)
        numbers["all"] |= {name: found[name] for name in ("macro_f1", "f1_correct", "f1_incorrect")}
    return numbers
