"""Units behind numbers: which words are units in medicine, and how many of one are one of the other.

In: the words behind a number. Out: `Unit`, and numbers converted by pint. Only the spellings listed here are units:
pint alone would take moles, stones and points for amounts, weights and lengths.
"""

import re
from functools import cache
from typing import Any, NamedTuple

# Dimensions that pint has not, or mixes up: a sievert is no gray, an equivalent no mole.
DEFINITIONS = (
    "international_unit = [international_unit]",
    "chemical_equivalent = [chemical_equivalent]",
    "osmole = [osmole]",
    "hounsfield_unit = [hounsfield_unit]",
    "effective_sievert = [effective_dose]",
    "standard_body_surface = [standard_body_surface]",
    "microscope_field = [microscope_field]",
)
PREFIXES = {"": "", "k": "kilo", "d": "deci", "c": "centi", "m": "milli", "µ": "micro", "u": "micro", "mc": "micro"}
PREFIXES |= {"n": "nano", "p": "pico", "f": "femto", "M": "mega"}
# Symbol, the prefixes it comes with, pint's name.
SYMBOLS = (
    ("g", ("", "k", "m", "µ", "u", "mc", "n", "p"), "gram"),
    ("L", ("", "d", "m", "µ", "u", "mc", "n", "f"), "liter"),
    ("l", ("", "d", "m", "µ", "u", "mc", "n", "f"), "liter"),
    ("m", ("", "k", "c", "m", "µ", "u", "n"), "meter"),
    ("mol", ("", "m", "µ", "u", "n", "p"), "mole"),
    ("M", ("m", "µ", "u", "n"), "molar"),
    ("Eq", ("", "m"), "chemical_equivalent"),
    ("Osm", ("", "m"), "osmole"),
    ("osmol", ("", "m"), "osmole"),
    ("IU", ("", "k", "m"), "international_unit"),
    ("U", ("", "k", "m", "µ"), "international_unit"),
    ("s", ("", "m"), "second"),
    ("Pa", ("", "k"), "pascal"),
    ("Hz", ("", "k", "M"), "hertz"),
    ("V", ("m", "k"), "volt"),
    ("cal", ("", "k"), "calorie"),
    ("J", ("", "k"), "joule"),
    ("Gy", ("", "c", "m"), "gray"),
    ("Sv", ("", "m", "µ"), "effective_sievert"),
    ("Bq", ("", "k", "M"), "becquerel"),
    ("HU", ("",), "hounsfield_unit"),
)
IN_FULL = (
    *("gram", "kilogram", "milligram", "microgram", "nanogram", "liter", "deciliter", "milliliter", "microliter"),
    *("meter", "centimeter", "millimeter", "micrometer", "millimole", "pound", "torr", "percent"),
    *("second", "minute", "hour", "day", "week", "month", "year"),
)
WORDS = {
    **{"litre": "liter", "millilitre": "milliliter", "metre": "meter", "centimetre": "centimeter"},
    **{"millimetre": "millimeter", "cc": "milliliter", "micron": "micrometer", "inch": "inch", "inches": "inch"},
    **{"ft": "foot", "feet": "foot", "lb": "pound", "sec": "second", "min": "minute", "h": "hour", "hr": "hour"},
    **{"d": "day", "wk": "week", "mo": "month", "y": "year", "yr": "year", "unit": "international_unit"},
    **{"mmhg": "mmHg", "cmh2o": "cmH2O", "bpm": "(1)/(minute)", "beat": "1"},
    **{"breath": "1", "cell": "1", "hpf": "microscope_field", "%": "percent"},
    **{"°c": "degC", "℃": "degC", "C": "degC", "celsius": "degC", "°f": "degF", "℉": "degF", "F": "degF"},
    **{"fahrenheit": "degF", "1.73m^2": "standard_body_surface"},
}
# A count alone is no unit (12 cells), below or above a slash it is part of one (12 cells/µL).
ONLY_IN_QUOTIENTS = ("1", "microscope_field")
# Degrees have an offset: they cannot be multiplied.
ALONE = ("degC", "degF")
JOINED = (
    (re.compile(r"\s*(?:\bdeg(?:rees?|\.)?|°)\s*(C|F)(?:elsius|ahrenheit)?\b", re.I), r" °\1"),
    (re.compile(r"\bmm\s+hg\b", re.I), "mmHg"),
    (re.compile(r"\bcm\s*h\s*2\s*o\b", re.I), "cmH2O"),
    (re.compile(r"\bper cent\b", re.I), "percent"),
    (re.compile(r"[\s-]+years?[\s-]old\b", re.I), " years"),
    (re.compile(r"\s*/\s*1\.73\s*m(?:\^2|2)", re.I), "/1.73m^2"),
    (re.compile(r"(?<=[\w%])\s+per\s+(?=[^\W\d])", re.I), "/"),
)
LONGEST = 32  # characters of a unit
BEHIND = re.compile(r"\s*-?\s*(?P<word>(?:\^-\d|(?!-\d)[^\s,;()\[\]{}\"'`|=<>~±])+)")
FACTOR = re.compile(r"(?P<name>[^\W\d_]+|[%°℃℉][A-Za-z]?|1\.73m\^2|cmh2o)(?:\^?(?P<power>-?[1-3]))?", re.I)
# Words behind a number that are no counted things.
NO_NOUN = re.compile(
    r"a|about|above|after|along|and|are|as|at|because|before|below|but|by|due|during|for|from|given|if|in|is|it|of|on|"
    r"or|since|so|than|that|the|then|there|this|to|total|under|until|was|were|when|where|which|while|with|within",
    re.IGNORECASE,
)


class Unit(NamedTuple):
    """Known: `name` is an expression of pint's. Else a counted noun (ribs), or what only looks like a unit (x/y)."""

    name: str
    is_known: bool

    @property
    def is_noun(self) -> bool:
        return not self.is_known and not re.search(r"[/^%°]", self.name)


def joined(text: str) -> str:
    """The text with each unit in one piece: mm Hg, beats per minute, degrees C."""
    for written, piece in JOINED:
        text = written.sub(piece, text)
    return text


def read_unit(text: str, begin: int) -> tuple[Unit | None, int]:
    """The unit or noun at `begin` of a `joined` text, and where it ends."""
    found = BEHIND.match(text, begin)
    if found is None:
        return None, begin
    word = found.group("word").rstrip("*_.:!?-")
    end = found.start("word") + len(word)
    expression = _expression(word)
    if expression is not None:
        return Unit(expression, True), end
    if not re.match(r"/?[^\W\d_]|[%°]", word) or NO_NOUN.fullmatch(word):
        return None, begin
    return Unit(word.casefold(), False), end


def convert(value: float, unit: Unit, other: Unit) -> float | None:
    """`value` of `unit` in `other`, both known; None where they measure different things."""
    import pint  # half a second, and only for numbers with units

    try:
        return float(_registry().Quantity(value, unit.name).to(other.name).magnitude)
    except (pint.DimensionalityError, OverflowError):
        return None


def in_base_units(value: float, unit: Unit) -> tuple[float, str]:
    """The same in base units: what 1 g/dL and 10 g/L have in common."""
    found = _registry().Quantity(value, unit.name).to_base_units()
    return float(found.magnitude), f"{found.units}"


@cache
def _registry() -> Any:
    import pint  # likewise

    registry = pint.UnitRegistry()
    for definition in DEFINITIONS:
        registry.define(definition)
    return registry


@cache
def _names() -> dict[str, str]:
    """Every spelling of a single unit -> pint's name."""
    words = {word: word for word in IN_FULL} | WORDS
    words |= {f"{word}s": name for word, name in words.items() if len(word) > 1}
    symbols = {prefix + symbol: PREFIXES[prefix] + name for symbol, given, name in SYMBOLS for prefix in given}
    # In other letters (MG/DL) only where no symbol is written so: mM is no mm.
    in_any_case = {spelled.casefold(): name for spelled, name in reversed(symbols.items()) if len(spelled) > 1}
    return in_any_case | words | symbols


def _expression(word: str) -> str | None:
    """pint's expression for a unit as it is written (`mmol/L`, `mL/min/1.73m^2`, `/min`), None where it is none."""
    if len(word) > LONGEST:
        return None
    over, *below = word.split("/")
    parts = [_factors(one) for one in ([over or "1"] + below)]
    if None in parts or (not below and parts[0] in ONLY_IN_QUOTIENTS):
        return None
    if len(parts) == 1:
        return parts[0]
    return None if set(parts) & set(ALONE) else "/".join(f"({one})" for one in parts)


def _factors(text: str) -> str | None:
    """`kg·m^2`: factors with small powers."""
    if text == "1":
        return "1"
    names = []
    for piece in re.split(r"[·⋅*]", text.replace("μ", "µ")):
        found = FACTOR.fullmatch(piece)
        if found is None:
            return None
        spelled, power = found.group("name", "power")
        name = _names().get(spelled) or (_names().get(spelled.casefold()) if len(spelled) > 1 else None)
        if name is None or (name in ALONE and (power or piece != text)):
            return None
        names.append(f"({name})**{power}" if power else name)
    return "*".join(names)
