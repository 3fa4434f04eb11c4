"""Numbers: one quantity, in whatever writing; what could be two, or part of a word, is None."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprm.cases.answers import AnswerSettings, answers_match, canonical_answer, parse_answer
from medprm.cases.answers.number import is_plain_quantity, read_quantity
from medprm.cases.answers.units import read_unit

EXACT = AnswerSettings(kind="number")
STRICT = AnswerSettings(kind="number", missing_unit="wrong")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("**Final answer:** 3.5 mmol/L", "3.5 mmol/L"),
        ("The answer is approximately 1,200 mL.", "1200 ml"),
        ("The answer is 1200.", "1200"),
        ("The answer is 1\u202f200\u00a0mL.", "1.2 L"),
        ("The answer is 1 200 mL", None),
        ("Answer: 1.2e3 mL", "1.2 L"),
        ("Answer: 1.2 x 10^3 mL", "1200 mL"),
        ("Answer: 1.2×10³ mL", "1200 mL"),
        (r"The answer is $1.2 \times 10^{3}$ mL", "1200 mL"),
        (r"\boxed{3.5 \text{ mmol/L}}", "3.5 mmol/L"),
        ("#### 42", "42"),
        ("3.5 mmol/L", "3.5 mmol/L"),
        ("The answer is −5 °C", "-5 degrees Celsius"),
        ("The answer is 12%.", "12 percent"),
        ("The answer is about 12 per cent of patients", "12%"),
        ("The answer is two.", "2"),
        ("Answer: Twenty-one", "21"),
        ("The answer is 12 ribs.", "12"),
        ("The answer is that the volume is 1,200 mL.", "1200 mL"),
        ("The answer is 7-10 mm", "7 to 10 mm"),
        ("The answer is between 7 and 10 mm.", "7–10 mm"),
        ("The answer is 7 mm to 10 mm.", "7-10 mm"),
        ("The answer is less than 5 mg.", "< 5 mg"),
        ("The answer is at least 3.", ">= 3"),
        ("The answer is 37.2 C", "37.2 °C"),
        ("The answer is 120 beats per minute", "120 bpm"),
        ("The answer is 90 mm Hg.", "90 mmHg"),
        ("The answer is 250 x 10^9/L.", "2.5 x 10^11/L"),
        ("The answer is 3.5 mmol/L (63 mg/dL).", "3.5 mmol/L"),
        ("The result is 3.5.", "3.5"),
        ("The answer is .5 mg", "0.5 mg"),
        ("Answer: 60 mL/min/1.73 m²", "60 mL/min/1.73m2"),
        ("The answer is 3,5 mmol/L", None),
        ("The answer is 120/80 mmHg", None),
        ("The answer is 1.5 x 1.8 cm", None),
        ("The answer is 5 ± 2 mm", None),
        ("The answer is 5 or 6.", None),
        ("The answer is 5, 6", None),
        ("The answer is T5.", None),
        ("The answer is the 7th rib.", None),
        ("The answer is COVID-19.", None),
        ("The answer is not 5.", None),
        ("The answer is unclear.", None),
        ("The answer is between 5 mg.", None),
        ("The answer is 10-7 mm", None),
        ("The potassium is 3.5 mmol/L", None),
        ("There are 12 ribs on 2 sides", None),
        ("The answer is 10:30", None),
        ("The answer is 1.200.000", None),
        ("one or two", None),
        ("The answer is 1e999", None),
        ("", None),
    ],
)
def test_what_is_read(text: str, answer: str | None) -> None:
    parsed = parse_answer(text, kind="number")
    if answer is None:
        assert parsed is None
    else:
        assert parsed is not None and answers_match(parsed, answer, kind="number", settings=STRICT), parsed


@pytest.mark.parametrize(
    ("answer", "gold", "matches"),
    [
        ("3.5 mmol/L", "3500 µmol/L", True),
        ("1 g/dL", "10 g/L", True),
        ("98.6 °F", "37 °C", True),
        ("5 cc", "5 mL", True),
        ("5 mcg", "5 μg", True),
        ("60 bpm", "1 Hz", True),
        ("3.5 MMOL/L", "3.5 mmol/L", True),
        ("12 months", "1 year", True),
        ("100 cells/µL", "100 /µL", True),
        ("10 IU", "10 units", True),
        ("12%", "0.12", True),
        ("two lesions", "2", True),
        ("12 ribs", "12 pairs", True),
        ("45-year-old", "45 years", True),
        ("7-10 mm", "0.7 to 1 cm", True),
        ("> 5 cm", "more than 50 mm", True),
        ("5 mg", "5 mL", False),
        ("5 mmol/L", "5 mEq/L", False),
        ("90 mg/dL", "5 mmol/L", False),  # depends on the substance, so it is none of ours
        ("5 mGy", "5 mSv", False),
        ("5 mM", "5 mm", False),
        ("5 stones", "5 lb", False),
        ("3 moles", "3 mol", False),
        ("5 tablets", "5 mg", False),
        ("5 foo/bar", "5 mg", False),
        ("5 foo/bar", "5 foo/bar", True),
        ("> 5", "5", False),
        ("< 5", "> 5", False),
        ("7-10", "8", False),
        ("7-10", "7-11", False),
        ("-5", "5", False),
        ("3.5", "3.6", False),
        ("1,200", "1.2", False),
        ("12", "1.2e1", True),
    ],
)
def test_units_agree_or_the_answer_is_wrong(answer: str, gold: str, matches: bool) -> None:
    assert answers_match(answer, gold, kind="number", settings=EXACT) == matches
    assert answers_match(gold, answer, kind="number", settings=EXACT) == matches
    if matches and not {answer, gold} & {"0.12"}:
        one, other = (canonical_answer(text, kind="number") for text in (answer, gold))
        assert one == other


def test_a_missing_unit_is_a_stated_choice() -> None:
    for one, other in (("3.5", "3.5 mmol/L"), ("12", "12 %")):
        assert answers_match(one, other, kind="number") and answers_match(other, one, kind="number")
        assert not answers_match(one, other, kind="number", settings=STRICT)
        assert not answers_match(other, one, kind="number", settings=STRICT)
    # A counted noun is no unit.
    assert answers_match("12 ribs", "12", kind="number", settings=STRICT)


def test_tolerances() -> None:
    relative = AnswerSettings(kind="number", relative_tolerance=0.05)
    assert answers_match("104", "100", kind="number", settings=relative)
    assert not answers_match("106", "100", kind="number", settings=relative)
    assert answers_match("10.4 dL", "1 L", kind="number", settings=relative)
    absolute = AnswerSettings(kind="number", absolute_tolerance=2)
    assert answers_match("102 mg", "100 mg", kind="number", settings=absolute)
    assert not answers_match("103 mg", "100 mg", kind="number", settings=absolute)
    # In the unit of the reference: two of its litres.
    assert answers_match("1500 mL", "3 L", kind="number", settings=absolute)
    assert not answers_match("3 L", "1500 mL", kind="number", settings=absolute)
    assert answers_match("7-10.3", "7-10", kind="number", settings=relative)


def writings(value: float) -> list[str]:
    """One number as people write it."""
    exponent = math.floor(math.log10(abs(value))) if value else 0
    mantissa = f"{value / 10**exponent:.12g}"
    plain = f"{value:.9f}".rstrip("0").rstrip(".")
    return [
        plain,
        f"{value:,.9f}".rstrip("0").rstrip("."),
        f"{value:.12e}",
        f"{mantissa} x 10^{exponent}",
        f"{mantissa}×10{str(exponent).translate(str.maketrans('0123456789-', '⁰¹²³⁴⁵⁶⁷⁸⁹⁻'))}",
        f"about {plain}",
        plain.replace("-", "−"),
    ]


NUMBERS = st.integers(-(10**9), 10**9).map(lambda n: n / 1000)
UNITS = st.sampled_from(["", " mg", " mmol/L", "%", " mL/min", " cm", " beats per minute", " mmHg"])


@settings(deadline=None)  # a busy machine is no error
@given(NUMBERS, UNITS)
def test_a_number_matches_itself_in_any_writing(value: float, unit: str) -> None:
    written = [f"{one}{unit}" for one in writings(value)]
    for one in written:
        parsed = parse_answer(f"The answer is {one}.", kind="number")
        assert answers_match(parsed, written[0], kind="number", settings=STRICT), (one, parsed)
        assert answers_match(written[0], one, kind="number", settings=STRICT)
        assert not answers_match(one, f"{value + 1:.9f}{unit}", kind="number", settings=STRICT)


@settings(deadline=None)  # a busy machine is no error
@given(NUMBERS, NUMBERS, UNITS, st.sampled_from([0.0, 0.01, 0.5]), st.sampled_from([0.0, 1.0, 1000.0]))
def test_a_match_is_symmetric(one: float, other: float, unit: str, relative: float, absolute: float) -> None:
    settings = AnswerSettings(kind="number", relative_tolerance=relative, absolute_tolerance=absolute)
    a, b = f"{one:.9f}{unit}", f"{other:.9f}{unit}"
    assert answers_match(a, b, kind="number", settings=settings) == answers_match(
        b, a, kind="number", settings=settings
    )


@settings(deadline=None)  # a busy machine is no error
@given(st.text(max_size=40))
def test_any_text_is_read_or_not_without_an_error(text: str) -> None:
    for kind in ("number", "icd10", "yes_no", "diagnosis", "open"):
        parsed = parse_answer(f"The answer is {text}", kind=kind)  # type: ignore[arg-type]
        if parsed is None:
            continue
        assert answers_match(parsed, parsed, kind=kind), (kind, parsed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("12", True),
        ("3.5 mmol/L", True),
        ("One", True),
        ("7-10 mm", True),
        ("40 %", True),
        ("12 ribs", False),
        ("T5", False),
        ("7th rib", False),
        ("left lobe mass 1.5 x 1.8 cm", False),
        ("120/80 mmHg", False),
        ("4th and 5th", False),
        ("None", False),
    ],
)
def test_plain_quantities(text: str, is_plain: bool) -> None:
    assert is_plain_quantity(text) == is_plain


def test_hostile_units_are_words() -> None:
    for text in ("5 " + "m*" * 5000, "5 m^999999999", "5 __import__('os')", "5 " + "(" * 5000, "5 10**10**10"):
        quantity = read_quantity(text)
        assert quantity is None or quantity.unit is None or not quantity.unit.is_known
    assert read_unit(" furlongs", 0)[0] == ("furlongs", False)
