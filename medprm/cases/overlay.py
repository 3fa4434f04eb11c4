"""Labels of an annotation run in the place of those of a split.

In: the cases of a split, the labelled cases of `annotate.py`. Out: the split's cases in its order, each solution that
was annotated with its new labels; the others keep theirs, or are left out. Solutions are told by case_id and
solution_id; one without an id by its place, as annotation numbers it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from medprm.cases.schema import CaseSolutions, Solution
from medprm.errors import InputError


class Overlaid(NamedTuple):
    """The cases, and how many solutions have new labels, keep theirs, or were left out."""

    cases: list[CaseSolutions]
    num_labelled: int
    num_kept: int
    num_left_out: int


def overlay(cases: Sequence[CaseSolutions], labelled: Sequence[CaseSolutions], only: bool, where: str) -> Overlaid:
    """`only`: solutions that were not annotated are left out. InputError where `labelled` is not of these cases."""
    new = {(item.case.case_id, one.solution_id): one for item in labelled for one in item.solutions}
    found: list[CaseSolutions] = []
    num_kept = num_left_out = num_labelled = 0
    for item in cases:
        kept: list[Solution] = []
        for number, one in enumerate(item.solutions):
            replaced = new.pop((item.case.case_id, solution_name(item.case.case_id, one, number)), None)
            if replaced is not None:
                _check_same_steps(one, replaced, f"{where} case {item.case.case_id} solution {replaced.solution_id}")
                kept.append(replaced)
                num_labelled += 1
            elif only:
                num_left_out += 1
            else:
                kept.append(one)
                num_kept += 1
        if kept:
            found.append(CaseSolutions(item.case, kept))
    if new:
        case_id, solution_id = next(iter(new))
        raise InputError(
            f"{where}: {len(new)} of its solutions are not in the train split (the first: case {case_id} solution "
            f"{solution_id}); give the file that annotate.py made of these cases"
        )
    return Overlaid(found, num_labelled, num_kept, num_left_out)


def solution_name(case_id: str, solution: Solution, number: int) -> str:
    """The solution's id, or the one that annotation gives it by its place."""
    return solution.solution_id or f"{case_id}-{number}"


def _check_same_steps(one: Solution, other: Solution, where: str) -> None:
    if one.step_texts != other.step_texts:
        raise InputError(f"{where}: its steps are not those of the train split; annotate the cases as they are now")
