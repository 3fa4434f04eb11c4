"""Splits keep patients whole, meet the shares, and leakage raises."""

import logging
import random

import pytest

from medprm.cases.schema import Case, CaseSolutions, Image
from medprm.cases.splits import SHARES, SplitError, check_leakage, split_by_patient


def _case(case_id: str, patient_id: str | None = None, image: str | None = None) -> CaseSolutions:
    images = (Image(path=image),) if image else ()
    return CaseSolutions(Case(case_id=case_id, patient_id=patient_id, modality="text", question="q", images=images), [])


def _cases(num_patients: int, seed: int) -> list[CaseSolutions]:
    rng = random.Random(seed)
    return [_case(f"c{p}_{i}", f"p{p}") for p in range(num_patients) for i in range(rng.randint(1, 6))]


@pytest.mark.parametrize("seed", range(5))
def test_every_case_once_no_patient_twice_shares_met(seed: int) -> None:
    cases = _cases(200, seed)
    splits = split_by_patient(cases, SHARES, seed)
    check_leakage(splits)
    assert sorted(c.case.case_id for part in splits.values() for c in part) == sorted(c.case.case_id for c in cases)
    for name, share in SHARES.items():
        assert len(splits[name]) / len(cases) == pytest.approx(share, abs=0.02)


def test_seed_decides_and_the_order_of_cases_does_not() -> None:
    cases = _cases(50, 0)
    names = [{c.case.case_id for c in part} for part in split_by_patient(cases, SHARES, 1).values()]
    shuffled = random.Random(9).sample(cases, len(cases))
    assert [{c.case.case_id for c in part} for part in split_by_patient(shuffled, SHARES, 1).values()] == names
    assert [{c.case.case_id for c in part} for part in split_by_patient(cases, SHARES, 2).values()] != names


def test_cases_keep_their_order() -> None:
    cases = _cases(50, 0)
    place = {item.case.case_id: index for index, item in enumerate(cases)}
    for part in split_by_patient(cases, SHARES, 0).values():
        assert [place[c.case.case_id] for c in part] == sorted(place[c.case.case_id] for c in part)


def test_few_patients_leave_no_split_empty() -> None:
    cases = [_case(f"c{i}", "big") for i in range(50)] + [_case("x", "a"), _case("y", "b")]
    assert all(split_by_patient(cases, SHARES, 0).values())
    with pytest.raises(SplitError, match="2 patients for 3 splits"):
        split_by_patient(cases[:-1], SHARES, 0)


def test_cases_without_patient_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    cases = [_case(f"c{i}", "p" if i == 0 else None) for i in range(10)]
    with caplog.at_level(logging.WARNING):
        split_by_patient(cases, SHARES, 0)
    assert "9 of 10 cases have no patient_id" in caplog.text


@pytest.mark.parametrize("shares", [{}, {"train": 1.0, "test": 0.5}, {"train": 1.2, "test": -0.2}])
def test_wrong_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(SplitError, match="shares are"):
        split_by_patient(_cases(10, 0), shares, 0)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (_case("a", "p7"), _case("b", "p7"), "patient 'p7' lies in two splits, train and test"),
        (_case("a"), _case("a"), "case 'a' lies in two splits, train and test"),
        (_case("a", "p", "i.png"), _case("b", "q", "i.png"), "image 'i.png' lies in two splits"),
    ],
)
def test_leakage_names_what_leaks_and_both_splits(one: CaseSolutions, other: CaseSolutions, expected: str) -> None:
    check_leakage({"train": [one], "test": [_case("z", "z")]})
    with pytest.raises(SplitError, match=expected):
        check_leakage({"train": [one], "validation": [_case("z", "z")], "test": [other]})
