"""Which test solutions a protocol over several sets is measured on: its sets, and the cases with enough candidates.

In: scored test solutions. Out: `SetCases`: the solutions that count, N, and counts of all that is left out.
An unparsed answer is wrong here, as the publications have it, in cases whose reference answer is known; a case none of
whose candidates is known to be right or wrong is left out. DynaMath's unit is the question with all its variants.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median_low
from typing import NamedTuple

from medprm.evaluation.candidates import unparsed_as_wrong
from medprm.evaluation.scored import ScoredError, ScoredSolution

SETS = {
    "med_prm": ("MedQA-4", "MedQA-5", "MedMCQA", "MMLU-Med", "DDXPlus", "AgentClinic-MedQA", "AgentClinic-NEJM"),
    "visualprm": ("MMMU", "MathVista", "MathVision", "MathVerse-VO", "DynaMath", "WeMath", "LogicVista"),
}
NUM_CANDIDATES = {"med_prm": 64, "visualprm": 8}
# Med-PRM's numbers at another N are still of its kind; VisualPRM's are Best-of-8.
FIXED_N = ("visualprm",)
WORST_CASE = "DynaMath"


class SetCases(NamedTuple):
    """What is measured, and what is not, in cases (of DynaMath in questions).

    `left_out`: by set, units with fewer than `num_candidates` candidates of known correctness, of how many.
    `other_sources`: by source that is no set of the protocol, its cases. `absent`: sets with no unit left.
    """

    num_candidates: int
    wanted: int
    solutions: list[ScoredSolution]
    left_out: dict[str, tuple[int, int]]
    other_sources: dict[str, int]
    absent: list[str]

    def notes(self) -> list[str]:
        """The same as sentences for the table and the report."""
        size, fewer = self.num_candidates, [f"{name} {num} of {of}" for name, (num, of) in self.left_out.items() if num]
        others = [f"{name} ({num} cases)" for name, num in self.other_sources.items()]
        why = "" if size == self.wanted else f", not {self.wanted}: most cases have no more"
        return [
            f"N = {size} candidates a case{why}.",
            f"Left out, fewer than {size} candidates known to be right or wrong: {', '.join(fewer) or 'none'}.",
            *([f"Left out, no sets of this protocol: {', '.join(others)}."] if others else []),
            *([f"Absent, so that there is no mean of sets: {', '.join(self.absent)}."] if self.absent else []),
        ]


def set_cases(protocol: str, test: Sequence[ScoredSolution]) -> SetCases:
    """ScoredError where no solution is of the protocol's sets, or no case has enough candidates."""
    names = SETS[protocol]
    mine = unparsed_as_wrong([one for one in test if one.source in names])
    if not mine:
        found = sorted({repr(one.source) for one in test})
        raise ScoredError(
            f"evaluation.protocol={protocol}: sources {', '.join(found)}; expected one of {', '.join(names)} "
            "(metadata.source of the record, or metadata.extra.data_source)"
        )
    known = Counter(one.case_id for one in mine if one.is_correct is not None)
    size = _num_candidates(protocol, known)
    fewest: dict[tuple[str, str], int] = {}
    for one in mine:
        unit = unit_of(one)
        fewest[unit] = min(known[one.case_id], fewest.get(unit, size))
    kept = {unit for unit, num in fewest.items() if num >= size}
    return SetCases(
        size,
        NUM_CANDIDATES[protocol],
        [one for one in mine if unit_of(one) in kept],
        _left_out(fewest, kept),
        _cases_by_source(one for one in test if one.source not in names),
        [name for name in names if not any(source == name for source, _ in kept)],
    )


def unit_of(solution: ScoredSolution) -> tuple[str, str]:
    """The set, and what one answer counts for in it: a case, or in DynaMath a question with its variants."""
    if solution.source != WORST_CASE:
        return str(solution.source), solution.case_id
    if solution.variant_of is None:
        raise ScoredError(
            f"case {solution.case_id}: DynaMath is scored by its worst case, and the case does not say which question "
            "it varies; expected extra.variant_of in its record"
        )
    return WORST_CASE, solution.variant_of


def _num_candidates(protocol: str, known: Mapping[str, int]) -> int:
    """The protocol's N; where fewer than half of the cases have as many, what half of them have."""
    wanted = NUM_CANDIDATES[protocol]
    if not known:
        raise ScoredError(f"evaluation.protocol={protocol}: no candidate answer is known to be right or wrong")
    if protocol not in FIXED_N:
        return min(wanted, median_low(known.values()))
    if max(known.values()) < wanted:
        raise ScoredError(
            f"evaluation.protocol={protocol}: no case has more than {max(known.values())} candidates of known "
            f"correctness; expected {wanted}"
        )
    return wanted


def _left_out(fewest: Mapping[tuple[str, str], int], kept: set[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    total, left = Counter(source for source, _ in fewest), Counter(source for source, _ in fewest.keys() - kept)
    return {name: (left[name], total[name]) for name in sorted(total)}


def _cases_by_source(solutions: Iterable[ScoredSolution]) -> dict[str, int]:
    cases: dict[str, set[str]] = {}
    for one in solutions:
        cases.setdefault(one.source or "none stated", set()).add(one.case_id)
    return {name: len(found) for name, found in sorted(cases.items())}
