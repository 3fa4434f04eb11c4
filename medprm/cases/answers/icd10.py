"""ICD-10 codes as answers: WHO's ICD-10 and the US ICD-10-CM.

In: text. Out: a code in normal form (capitals, a dot behind the third character). Category and chapter follow from the
characters, alike in both editions, so no table of codes is needed: a code that does not exist is wrong, not unread.
"""

import re

# The third character is a letter in a few categories of ICD-10-CM (C7A, M1A), the second in one (QA0).
CODE = re.compile(
    r"(?<![\w.-])(?P<category>[A-Z]\d[0-9AB]|QA\d)(?:\.(?P<dotted>[0-9A-Z]{1,4})|(?P<plain>[0-9A-LXZ][0-9A-Z]{0,3}))?"
    r"(?:\.?-)?[†*+]?(?![\w])(?!-[A-Z]?\d)",
    re.IGNORECASE,
)
CHAPTERS = {"A": 1, "B": 1, "C": 2, "E": 4, "F": 5, "G": 6, "I": 9, "J": 10, "K": 11, "L": 12, "M": 13, "N": 14}
CHAPTERS |= {"O": 15, "P": 16, "Q": 17, "R": 18, "S": 19, "T": 19, "V": 20, "W": 20, "X": 20, "Y": 20, "Z": 21, "U": 22}


def parse_code(tail: str, is_cued: bool) -> str | None:
    """The code that a text gives: of one line of descent (I21, I21.4) the longest, None where there are several.

    Without a cue the text must open with its only code: `T12` in running text may be a vertebra.
    """
    found = list(CODE.finditer(tail))
    if not found or (not is_cued and re.match(r"\W*", tail).end() != found[0].start()):  # type: ignore[union-attr]
        return None
    codes = {_code(one) for one in found}
    longest = max(codes, key=len)
    return longest if all(longest.startswith(code) for code in codes) else None


def canonical_code(text: str) -> str | None:
    """The normal form of a text that gives one code, None for any other text."""
    return parse_code(text, is_cued=True)


def at_level(code: str, level: str) -> str:
    """What two codes that are the same at `level` have in common: the code, its category or its chapter."""
    if level == "full":
        return code
    return code[:3] if level == "category" else f"chapter {_chapter(code[:3])}"


def is_plain_code(text: str) -> bool:
    """Whether a text is a code and nothing else, beyond doubt: with its dot (`T12` and `B12` may be other things)."""
    found = CODE.fullmatch(text.strip())
    return bool(found and found.group("dotted"))


def _code(found: re.Match[str]) -> str:
    rest = found.group("dotted") or found.group("plain")
    return (found.group("category") + (f".{rest}" if rest else "")).upper()


def _chapter(category: str) -> int:
    """Of a category of three characters; D and H belong to two chapters each."""
    if category[0] == "D":
        return 2 if category < "D50" else 3
    if category[0] == "H":
        return 7 if category < "H60" else 8
    return CHAPTERS[category[0]]
