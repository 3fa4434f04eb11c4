"""An option of a multiple-choice question as the answer.

In: text, options. Out: the option's own text, or None: two options named as the answer, a negated or a doubted one.
"""

import re
import string
from collections.abc import Sequence

from medprm.cases.answers.wording import holds, normalise
from medprm.cases.answers.yes_no import WORDS, parse_yes_no

# `Choice_A`, `option (B)`; the letter is a capital, so that "choice a" in running text is no answer.
NAMED_LETTER = re.compile(r"\b(?i:option|choice|answer)[\s_]+\(?([A-Z])(?![A-Za-z])")
OPENING_LETTER = re.compile(
    r"\W*(?:(?i:option|choice|answer)[\s_]*)?(?:\(([A-Za-z])\)|([A-Z])(?=[\s).:,;*/\-\"'`\]}]|$))"
)
# What stands behind the letter of an answer without a cue: nothing, or `is correct`.
ALONE = re.compile(r"[):.]|[\s*_\"'`\]]*$|\W*\bis (?:the )?(?:correct|right|best|final|most likely)\b")
LONE_LETTER = re.compile(r"\W*(?:(?i:option|choice|answer)[\s_]*)?\(?([A-Za-z])\)?\W*")
ANOTHER_LETTER = re.compile(
    r"\W*(?:\b(?:or|and)\b|[/&,])\W*(?:(?:possibly|maybe|perhaps|also|even|option|choice)\W+)*([A-Z])\b|/([A-Z])\b"
)
NEGATED = re.compile(r"\W*(?:not|neither|either|unclear|unknown|possibly|perhaps|cannot)\b", re.IGNORECASE)
DOUBTED = re.compile(
    r"\b(?:not?|nor|neither|non|without|isn't|cannot|never|unlikely|incorrect|wrong|exclud\w+|ruled? out|eliminat\w+|"
    r"absen\w+|free of|negative for|instead of|rather than|possibly|perhaps|maybe|(?:may|might|could) be)\b",
    re.IGNORECASE,
)

RULED_OUT = re.compile(rf"[\s)]*(?:(?:is|was|can be|should be)\s+)?{DOUBTED.pattern}", re.IGNORECASE)


def parse_choice(tail: str, options: Sequence[str], is_cued: bool) -> str | None:
    """The option that a text gives: by letter, by its text, or by yes and no where these are the options."""
    exact = [option for option in options if normalise(option) == normalise(tail)]
    if len(exact) == 1:
        return exact[0]
    if NEGATED.match(tail):
        return None
    opening = OPENING_LETTER.match(tail)
    # Without a cue, "A large effusion ..." opens with an article, not with an option.
    if opening and (is_cued or opening.group(1) or ALONE.match(tail[opening.end() :])):
        return _lettered(tail[opening.end() :], opening.group(1) or opening.group(2), options)
    named = list(NAMED_LETTER.finditer(tail))
    if named:
        return _named(tail, named, options)
    if {normalise(option) for option in options} <= set(WORDS):
        said = parse_yes_no(tail)
        return next((option for option in options if normalise(option) == said), None)
    return _mentioned(tail, options) if is_cued else None


def canonical_choice(answer: str, options: Sequence[str]) -> str:
    """The option's normal form, for its letter too; that of the text where it is none of the options."""
    normal = normalise(answer)
    if normal in {normalise(option) for option in options}:
        return normal
    letter = LONE_LETTER.fullmatch(answer)
    option = option_of(letter.group(1), options) if letter else None
    return normal if option is None else normalise(option)


def option_of(letter: str, options: Sequence[str]) -> str | None:
    """The option of a letter, None where there are fewer."""
    place = string.ascii_uppercase.index(letter.upper())
    return options[place] if place < len(options) else None


def _lettered(rest: str, letter: str, options: Sequence[str]) -> str | None:
    """The option of the opening letter, unless `rest` goes on with another letter (`A or C`) or another's text."""
    option = option_of(letter, options)
    if option is None:
        return None
    behind = re.sub(rf"^\W*{re.escape(option)}", "", rest, count=1, flags=re.IGNORECASE)
    for text in (rest, behind):
        another = ANOTHER_LETTER.match(text)
        if another and option_of(another.group(1) or another.group(2), options):
            return None
    opening = [other for other in options if f"{normalise(rest)} ".startswith(f"{normalise(other)} ")]
    joined = [other for other in options if re.match(rf"(?:or|and) {re.escape(normalise(other))}\b", normalise(behind))]
    return None if joined or (opening and max(opening, key=len) != option) else option


def _named(text: str, named: Sequence[re.Match[str]], options: Sequence[str]) -> str | None:
    """The option of the one letter that is named, unless a sentence that names it doubts it."""
    if len({one.group(1) for one in named}) > 1:
        return None
    for one in named:
        begin = max(text.rfind(end, 0, one.start()) for end in (". ", "\n"))
        rest = re.split(r"\.\s|\n", text[one.end() :], maxsplit=1)[0]
        if DOUBTED.search(text[begin + 1 : one.start()]) or RULED_OUT.match(rest):
            return None
    return option_of(named[0].group(1), options)


def _mentioned(text: str, options: Sequence[str]) -> str | None:
    """The one option whose text stands in `text`, undoubted; of options that contain each other, the longest."""
    normal = normalise(text)
    found = [option for option in options if holds(normal, normalise(option))]
    shorter = {a for a in found for b in found if a != b and normalise(a) in normalise(b)}
    longest = [option for option in found if option not in shorter]
    if len(longest) != 1:
        return None
    before = f" {normal} ".partition(f" {normalise(longest[0])} ")[0]
    return None if DOUBTED.search(before) else longest[0]
