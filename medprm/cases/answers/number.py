"""Numbers as answers: one number or one range, with its unit.

In: text. Out: the words that give the quantity, and `Quantity`. Read: thousands separators (1,200), scientific notation
(1.2e3, 1.2 × 10^3), percent, units, ranges (7-10, between 7 and 10), bounds (< 5, at least 5), small numbers in words.
Unclear, so unread: a decimal comma (3,5), 120/80, 1.5 x 1.8 cm, 5 ± 2, two numbers, a number inside a word (T5, 7th).
"""

import math
import re
from typing import NamedTuple

from medprm.cases.answers.units import Unit, convert, in_base_units, joined, read_unit
from medprm.cases.settings import AnswerSettings

FLOAT_NOISE = 1e-9  # conversions by pint are exact to about 1e-15; two written numbers are hardly ever this close
PERCENT = Unit("percent", True)
ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
IN_WORDS = {word: number for number, word in enumerate((*ONES, *TEENS))}
IN_WORDS |= {word: 10 * number for number, word in enumerate(TENS, start=2)}
IN_WORDS |= {f"{ten}-{one}": IN_WORDS[ten] + IN_WORDS[one] for ten in TENS for one in ONES[1:10]}
ANY_WORD = "|".join(sorted(IN_WORDS, key=len, reverse=True))
WORD = re.compile(rf"(?:{ANY_WORD})\b(?!-)", re.IGNORECASE)
DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
POWER_OF_TEN = r"10\s*(?:\^|\*\*)\s*[({]?(?P<%s>[-+]?\d{1,3})[)}]?"
NUMBER = re.compile(
    rf"(?P<sign>[-+])?(?:{POWER_OF_TEN % 'bare'}|(?P<digits>{DIGITS})"
    rf"(?:[eE](?P<e>[-+]?\d{{1,3}})(?!\w)|\s*[x×*·]\s*{POWER_OF_TEN % 'ten'})?)"
)
BOUNDS = {"at_most": "<=", "at_least": ">=", "below": "<", "above": ">"}
LEADING_WORDS = (
    r"(?:[\s=~≈∼(*_`\"']"
    r"|\b(?:about|approximately|approx\.?|around|roughly|nearly|almost|some|circa|ca\.|close to|exactly|"
    r"equal to|equals|from|a total of)(?!\w)"
    r"|(?P<between>\bbetween\b)"
    r"|(?P<at_most><=|≤|\bat most\b|\b(?:no|not) more than\b|\bup to\b|\ba maximum of\b)"
    r"|(?P<at_least>>=|≥|\bat least\b|\b(?:no|not) less than\b|\ba minimum of\b)"
    r"|(?P<below><|\bless than\b|\bfewer than\b|\bunder\b|\bbelow\b)"
    r"|(?P<above>>|\bmore than\b|\bgreater than\b|\bover\b|\babove\b))*"
)
LEADING = re.compile(LEADING_WORDS, re.IGNORECASE)
LEADING_TO_END = re.compile(LEADING_WORDS + "$", re.IGNORECASE)
TO = re.compile(r"\s*(?:-|to\b)\s*(?=[\d.])", re.IGNORECASE)
AND = re.compile(r"\s*and\s*(?=[\d.])", re.IGNORECASE)
# A part of the number, or another number.
GOES_ON = re.compile(
    r"(?:\s*(?:or|and|to|in|of|out of|vs\.?|versus|[,/:x×±-]|\+/-|\+-)\s*(?:about |approximately )?"
    rf"(?:[-+]?\.?\d|(?:{ANY_WORD})\b)|\.\d|\s+\d)",
    re.IGNORECASE,
)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")


class Quantity(NamedTuple):
    """A number (`low` = `high`) or a range; `bound` is <, <=, > or >= where only that is said of it."""

    bound: str
    low: float
    high: float
    unit: Unit | None


def parse_number(tail: str, is_cued: bool) -> str | None:
    """The words that give the quantity. Without a cue they must be all of the text; with one, its only number."""
    text = plain_digits(tail)
    found = _read(text, 0)
    if found is not None:
        end = found[1]
        is_all = not text[end:].strip(" .!*_`\"')")
        return text[:end].strip(" *_`\"'(=~≈") if is_cued or is_all else None
    starts = [one.start() for one in NUMBER.finditer(text) if _begins(text, one.start()) and _ends(text, one.end())]
    if not is_cued or len(starts) != 1:
        return None
    begin = LEADING_TO_END.search(text[: starts[0]]).start()  # type: ignore[union-attr]  # it matches nothing, too
    found = _read(text, begin)
    return None if found is None else text[begin : found[1]].strip()


def read_quantity(text: str) -> Quantity | None:
    """The quantity of an answer; None where the text gives none, or several."""
    written = parse_number(text, is_cued=True)
    found = None if written is None else _read(written, 0)
    return None if found is None else found[0]


def is_plain_quantity(text: str) -> bool:
    """Whether a text is a quantity and nothing else: `12`, `3.5 mmol/L`; not `12 ribs`."""
    text = plain_digits(text)
    found = _read(text, 0)
    if found is None or text[found[1] :].strip(" ."):
        return False
    return found[0].unit is None or found[0].unit.is_known


def quantities_match(one: Quantity, reference: Quantity, settings: AnswerSettings) -> bool:
    """Whether both are the same within the tolerance. A range equals a range alone, a bound the same bound."""
    if one.bound != reference.bound or (one.low == one.high) != (reference.low == reference.high):
        return False
    return any(
        _is_close(low, reference.low, settings) and _is_close(high, reference.high, settings)
        for low, high in _comparable(one, reference, settings)
    )


def canonical_quantity(quantity: Quantity) -> str:
    """One text for all writings of a quantity, in base units; a counted noun is no part of it."""
    unit = quantity.unit
    ends = [quantity.low] if quantity.low == quantity.high else [quantity.low, quantity.high]
    name = "" if unit is None or unit.is_noun else unit.name
    if unit is not None and unit.is_known:
        ends, (name, *_) = zip(*(in_base_units(end, unit) for end in ends), strict=True)
    # Ten digits: floats of the same quantity differ in the sixteenth.
    return f"{quantity.bound}{' to '.join(f'{end:.10g}' for end in ends)} {name}".strip()


def plain_digits(text: str) -> str:
    """Superscripts as powers, one sign for minus, no spaces inside numbers, units in one piece."""
    text = re.sub(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: "^" + found.group().translate(SUPERSCRIPTS), text)
    text = re.sub(r"(?<=\d)[\u2009\u202f](?=\d{3})", "", text)  # thin spaces; plain ones may part two numbers
    return joined(re.sub(r"[−‐‑–—]", "-", text).replace("\u00a0", " "))


def _comparable(one: Quantity, reference: Quantity, settings: AnswerSettings) -> list[tuple[float, float]]:
    """The ends of `one` in the unit of the reference, in each way that is allowed; none where the units disagree."""
    as_written = (one.low, one.high)
    given, wanted = one.unit, reference.unit
    if given == wanted or all(unit is None or unit.is_noun for unit in (given, wanted)):
        return [as_written]
    if given is not None and wanted is not None:
        if not (given.is_known and wanted.is_known):
            return []
        low, high = (convert(end, given, wanted) for end in as_written)
        return [] if low is None or high is None else [(low, high)]
    ways = [as_written] if settings.missing_unit == "accept" else []
    factor = {given: 0.01, wanted: 100.0}.get(PERCENT)  # 12 % is 0.12
    return ways if factor is None else [*ways, (one.low * factor, one.high * factor)]


def _is_close(value: float, reference: float, settings: AnswerSettings) -> bool:
    relative = max(settings.relative_tolerance, FLOAT_NOISE)
    return math.isclose(value, reference, rel_tol=relative, abs_tol=settings.absolute_tolerance)


def _read(text: str, begin: int) -> tuple[Quantity, int] | None:
    """The quantity that stands at `begin`, and where it ends; None where none does, or where it goes on unclearly."""
    leading = LEADING.match(text, begin)
    assert leading is not None, "it matches nothing, too"
    bounds = [sign for name, sign in BOUNDS.items() if leading.group(name)]
    first = _number(text, leading.end())
    if first is None or not _begins(text, leading.end()) or len(bounds) > 1:
        return None
    low, end = first
    high = low
    # `7 to 10 mm`: the first number may have its unit behind the second.
    unit, end = (None, end) if TO.match(text, end) else read_unit(text, end)
    joint = (AND if leading.group("between") else TO).match(text, end)
    if joint is not None:
        second = _number(text, joint.end())
        if second is None or second[0] <= low or bounds:
            return None
        high = second[0]
        first_unit = unit
        unit, end = read_unit(text, second[1])
        if first_unit not in (None, unit):
            return None
    if (leading.group("between") and joint is None) or GOES_ON.match(text, end):
        return None
    return Quantity("".join(bounds), low, high, unit), end


def _number(text: str, place: int) -> tuple[float, int] | None:
    word = WORD.match(text, place)
    if word is not None:
        return float(IN_WORDS[word.group().lower()]), word.end()
    found = NUMBER.match(text, place)
    if found is None or not _ends(text, found.end()):
        return None
    if found.group("bare"):
        value = float(f"1e{found.group('bare')}")
    else:
        value = float(f"{found.group('digits').replace(',', '')}e{found.group('e') or found.group('ten') or 0}")
    return (-value if found.group("sign") == "-" else value, found.end()) if math.isfinite(value) else None


def _begins(text: str, place: int) -> bool:
    """Whether what stands before a number is no part of it (T5, COVID-19, 3:5)."""
    return re.search(r"(?:[\w.,/-]|\d:)$", text[:place]) is None


def _ends(text: str, place: int) -> bool:
    """Whether what stands behind a number is no part of it (7th, 3,5)."""
    return re.match(r"(?:st|nd|rd|th)\b|[,.]\d", text[place:]) is None
