"""Selection by informativeness: the formula, the share of each source, and that nothing goes missing uncounted."""

import random

import pytest

from medprm.cases.schema import CaseSolutions, Record, from_json
from medprm.encoding.settings import LabelSettings
from medprm.errors import InputError
from medprm.training.selection import balanced_information, num_of, select
from medprm.training.settings import SelectionSettings


def record(case: int, solution: int, source: str, scores: list[tuple[int, int]], **changes: object) -> Record:
    """Steps with (correct, wrong) rollouts."""
    steps = [
        {
            "step_id": place,
            "content": f"step {place} of {case}",
            "label": "correct" if right else "incorrect",
            "sources": {"monte_carlo": [{"num_correct": right, "num_wrong": wrong}]},
        }
        for place, (right, wrong) in enumerate(scores)
    ]
    value = {
        "case_id": f"{source}_{case}",
        "modality": "text",
        "metadata": {"source": source},
        "question": "Which?",
        "solution_id": f"s{solution}",
        "solution_steps": steps,
    }
    return from_json(value | changes)


def cases_of(records: list[Record]) -> list[CaseSolutions]:
    found: dict[str, CaseSolutions] = {}
    for one in records:
        found.setdefault(one.case_id, CaseSolutions(one.case(), [])).solutions.append(one.solution())
    return list(found.values())


def ids(cases: list[CaseSolutions]) -> list[tuple[str, str | None]]:
    return [(item.case.case_id, one.solution_id) for item in cases for one in item.solutions]


def test_the_score_is_that_of_the_paper() -> None:
    # Half of the steps positive, confirmed by 3/4 and 1/4 of the rollouts: (0.25 + 0.05) * 0.5.
    assert balanced_information([0.75, 0.25, 0.0, 0.0], [True, True, False, False]) == pytest.approx(0.15)
    assert balanced_information([1.0, 1.0], [True, True]) == pytest.approx(0.05)
    assert balanced_information([0.0, 0.0], [False, False]) == pytest.approx(0.05)
    # A step without a label counts on neither side; a positive one without rollouts is left out of the mean.
    assert balanced_information([0.5, None, 0.0], [True, None, False]) == pytest.approx(0.15)
    assert balanced_information([0.5, None, 0.0, 0.0], [True, True, False, False]) == pytest.approx(0.15)
    assert balanced_information([0.5], [None]) is None
    with pytest.raises(ValueError, match="none of its positive steps"):
        balanced_information([None], [True])


def test_mixed_and_reliable_solutions_come_first() -> None:
    mixed, weak, right = [(8, 0), (8, 0), (0, 8), (0, 8)], [(1, 7), (1, 7), (0, 8), (0, 8)], [(8, 0)] * 4
    records = [record(0, 0, "a", right), record(0, 1, "a", weak), record(1, 0, "a", mixed), record(1, 1, "a", right)]
    found = select(cases_of(records), SelectionSettings("bis", 0.25), LabelSettings("value"), seed=0)
    assert ids(found.cases) == [("a_1", "s0")]
    assert found.counts.num_read == {"a": 4} and found.counts.num_kept == {"a": 1}


def test_each_source_keeps_its_share_in_the_order_of_the_file() -> None:
    rng = random.Random(0)
    records = [
        record(case, solution, source, [(rng.randrange(1, 9), rng.randrange(0, 8)), (0, 8)])
        for source, num in (("a", 20), ("b", 5))
        for case in range(num)
        for solution in range(2)
    ]
    cases = cases_of(records)
    for kind in ("bis", "random"):
        found = select(cases, SelectionSettings(kind, 0.3), LabelSettings("value"), seed=1)
        assert found.counts.num_kept == {"a": 12, "b": 3}
        kept = ids(found.cases)
        assert kept == [one for one in ids(cases) if one in set(kept)] and len(set(kept)) == 15
        assert select(cases, SelectionSettings(kind, 0.3), LabelSettings("value"), seed=1) == found
    again = select(cases, SelectionSettings("random", 0.3), LabelSettings("value"), seed=2)
    assert ids(again.cases) != ids(select(cases, SelectionSettings("random", 0.3), LabelSettings("value"), 1).cases)


def test_the_draw_decides_between_equals() -> None:
    cases = cases_of([record(case, 0, "a", [(4, 4), (0, 8)]) for case in range(40)])
    kept = ids(select(cases, SelectionSettings("bis", 0.25), LabelSettings("value"), seed=0).cases)
    assert len(kept) == 10 and kept != ids(cases)[:10]


def test_solutions_without_a_label_are_counted() -> None:
    bare = record(1, 0, "a", [(4, 4)], solution_steps=[{"step_id": 0, "content": "nobody judged this"}])
    found = select(cases_of([record(0, 0, "a", [(4, 4)]), bare]), SelectionSettings("bis", 1.0), LabelSettings(), 0)
    assert ids(found.cases) == [("a_0", "s0")] and found.counts.num_without_label == {"a": 1}


def test_no_rollouts_is_an_error_and_the_answer_step_is_judged_by_the_answer() -> None:
    steps = [{"step_id": 0, "content": "so A", "label": "correct"}]
    answered = record(0, 0, "a", [], solution_steps=steps, is_correct=True)
    assert ids(select(cases_of([answered]), SelectionSettings("bis", 1.0), LabelSettings(), 0).cases)
    unknown = record(0, 0, "a", [], solution_steps=steps)
    with pytest.raises(InputError, match="case a_0 solution s0: none of its positive steps"):
        select(cases_of([unknown]), SelectionSettings("bis", 0.5), LabelSettings(), 0)


@pytest.mark.parametrize(("share", "num", "expected"), [(0.1, 6096, 610), (0.1, 3, 1), (1.0, 7, 7), (0.5, 5, 2)])
def test_a_share_is_rounded_and_at_least_one(share: float, num: int, expected: int) -> None:
    assert num_of(share, num) == expected


def test_a_share_without_a_kind_is_refused() -> None:
    with pytest.raises(InputError, match="selection.kind=none, which keeps all"):
        SelectionSettings(share=0.5)
    with pytest.raises(InputError, match="selection.share is 0.0"):
        SelectionSettings("bis", 0.0)
