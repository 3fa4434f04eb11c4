"""ICD-10 codes: normal form, levels, and every code of ICD-10-CM against a library's table."""

import pytest
import simple_icd_10_cm

from medprm.cases.answers import AnswerSettings, answers_match, canonical_answer, parse_answer
from medprm.cases.answers.icd10 import at_level, canonical_code, is_plain_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("J18.9", "J18.9"),
        ("j18.9.", "J18.9"),
        ("J189", "J18.9"),
        ("ICD-10: I21.4", "I21.4"),
        ("**ICD-10-CM code:** I21.4", "I21.4"),
        ("ICD-10 code is J18.9", "J18.9"),
        ("The ICD-10 code for this patient is J18.9.", "J18.9"),
        ("ICD10 J18", "J18"),
        ("The answer is (I21.4).", "I21.4"),
        ("The answer is NSTEMI (I21.4).", "I21.4"),
        ("The answer is T12.", "T12"),
        ("Answer: S72.001A", "S72.001A"),
        ("Answer: s72001a", "S72.001A"),
        ("Answer: C7A.00", "C7A.00"),
        ("Answer: U07.1", "U07.1"),
        ("Answer: G01*", "G01"),
        ("Answer: A17.0†", "A17.0"),
        ("Answer: S72.0-", "S72.0"),
        ("The answer is I21, more precisely I21.4.", "I21.4"),
        ("J18.9 - Pneumonia, unspecified organism", "J18.9"),
        (r"\boxed{J18.9}", "J18.9"),
        ("The answer is most likely J18.9.", "J18.9"),
        ("The answer is I21.4 or I21.9.", None),
        ("The answer is I20-I25.", None),
        ("The answer is I20–I25.", None),
        ("The answer is not J18.9.", None),
        ("The fracture is at T12", None),
        ("We first thought of J18.9", None),
        ("The answer is pneumonia.", None),
        ("The answer is T5.", None),
        ("The answer is ICD-10.", None),
        ("The answer is HbA1c.", None),
        ("", None),
    ],
)
def test_what_is_read(text: str, code: str | None) -> None:
    parsed = parse_answer(text, kind="icd10")
    assert (None if parsed is None else canonical_code(parsed)) == code


@pytest.mark.parametrize(
    ("one", "other", "level", "matches"),
    [
        ("J18.9", "j189", "full", True),
        ("J18.9", "J18", "full", False),
        ("J18.9", "J18.1", "full", False),
        ("J18.9", "J18.1", "category", True),
        ("J18.9", "J18", "category", True),
        ("J18.9", "J15.9", "category", False),
        ("J18.9", "J45.0", "chapter", True),
        ("J18.9", "I21.4", "chapter", False),
        ("C34.1", "D12.6", "chapter", True),
        ("D12.6", "D50.0", "chapter", False),
        ("H25.9", "H66.9", "chapter", False),
        ("S72.0", "T14.9", "chapter", True),
        ("pneumonia", "pneumonia", "full", False),
    ],
)
def test_levels(one: str, other: str, level: str, matches: bool) -> None:
    settings = AnswerSettings(kind="icd10", icd10_level=level)
    assert answers_match(one, other, kind="icd10", settings=settings) == matches
    assert answers_match(other, one, kind="icd10", settings=settings) == matches


def test_every_code_of_icd10_cm_is_read_and_stands_where_the_table_has_it() -> None:
    codes = [code for code in simple_icd_10_cm.get_all_codes() if simple_icd_10_cm.is_category_or_subcategory(code)]
    assert len(codes) > 95_000
    for code in codes:
        assert canonical_code(code) == code
        assert canonical_answer(code.replace(".", "").lower(), kind="icd10") == code
        ancestors = simple_icd_10_cm.get_ancestors(code)
        assert at_level(code, "category") in [code, *ancestors]
        assert at_level(code, "chapter") == f"chapter {ancestors[-1]}"


@pytest.mark.parametrize(("text", "is_plain"), [("J18.9", True), ("T12", False), ("B12", False), ("J18.9 x", False)])
def test_a_reference_is_a_code_beyond_doubt_with_its_dot(text: str, is_plain: bool) -> None:
    assert is_plain_code(text) == is_plain
