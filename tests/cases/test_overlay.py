"""Labels of an annotation run in the place of a split's: nothing is lost, and what does not fit is refused."""

from pathlib import Path

import pytest
from tiny import make_cases

from medprm.cases.overlay import overlay
from medprm.cases.schema import CaseSolutions, Solution
from medprm.errors import InputError


@pytest.fixture
def cases(tmp_path: Path) -> list[CaseSolutions]:
    return make_cases(tmp_path, 4, num_solutions=3)


def relabelled(one: Solution, label: str = "neutral") -> Solution:
    steps = tuple(step.model_copy(update={"label": label}) for step in one.solution_steps)
    return one.model_copy(update={"solution_steps": steps})


def test_annotated_solutions_have_new_labels_and_the_rest_their_own(cases: list[CaseSolutions]) -> None:
    chosen = [CaseSolutions(cases[i].case, [relabelled(one) for one in cases[i].solutions[::2]]) for i in (2, 0)]
    done = overlay(cases, chosen, only=False, where="file")
    assert [item.case for item in done.cases] == [item.case for item in cases]
    assert (done.num_labelled, done.num_kept, done.num_left_out) == (4, 8, 0)
    for number, (before, after) in enumerate(zip(cases, done.cases, strict=True)):
        assert [one.solution_id for one in after.solutions] == [one.solution_id for one in before.solutions]
        for place, (old, new) in enumerate(zip(before.solutions, after.solutions, strict=True)):
            is_new = number in (0, 2) and place != 1
            assert new == (relabelled(old) if is_new else old)


def test_only_the_annotated_ones_on_request(cases: list[CaseSolutions]) -> None:
    chosen = [CaseSolutions(cases[1].case, [relabelled(cases[1].solutions[2])])]
    done = overlay(cases, chosen, only=True, where="file")
    assert done.cases == chosen and (done.num_labelled, done.num_kept, done.num_left_out) == (1, 0, 11)


def test_solutions_without_an_id_are_told_by_their_place(cases: list[CaseSolutions]) -> None:
    case, solutions = cases[0]
    bare = [one.model_copy(update={"solution_id": None}) for one in solutions]
    named = [relabelled(bare[1]).model_copy(update={"solution_id": f"{case.case_id}-1"})]
    done = overlay([CaseSolutions(case, bare)], [CaseSolutions(case, named)], only=False, where="file")
    assert done.cases[0].solutions == [bare[0], named[0], bare[2]]


def test_what_does_not_fit_is_refused(cases: list[CaseSolutions]) -> None:
    case, solutions = cases[0]
    stranger = relabelled(solutions[0]).model_copy(update={"solution_id": "other"})
    with pytest.raises(InputError, match=r"file: 1 of its solutions are not in the train split .*solution other"):
        overlay(cases, [CaseSolutions(case, [stranger])], only=False, where="file")
    changed = solutions[0].model_copy(
        update={"solution_steps": tuple(s.model_copy(update={"content": "x"}) for s in solutions[0].solution_steps)}
    )
    with pytest.raises(InputError, match=f"file case {case.case_id} solution s0: its steps are not those"):
        overlay(cases, [CaseSolutions(case, [changed])], only=False, where="file")
