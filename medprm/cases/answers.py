"""Answers: read the final answer out of a solution's last step, and compare two answers.

An answer is the text of an option where the question has options, else free text. What cannot be read for certain
is None (unparsed), which is not the same as wrong.
"""

import re
import string
from collections.abc import Sequence

CUE = re.compile(
    r"(?:\b(?:final |correct |best |right )?(?:answer|solution|choice|option)(?: is| would be)?\b\s*[:=]"
    r"|\b(?:answer|solution|choice|option)\s+(?:is|would be)\b\s*:?)\s*",
    re.IGNORECASE,
)
# `Choice_A`, `option (B)`; the letter is a capital, so that "choice a" in running text is no answer.
NAMED_LETTER = re.compile(r"\b(?i:option|choice|answer)[\s_]+\(?([A-Z])(?![A-Za-z])")
OPENING_LETTER = re.compile(r"\W*(?:(?i:option|choice|answer)[\s_]*)?(?:\(([A-Za-z])\)|([A-Z])(?=[\s).:,;*/\-]|$))")
YES_NO = re.compile(r"\W*(yes|no)\b(?=\s*(?:[.,;:!*]|$))", re.IGNORECASE)
# Within a text only in small letters: hepatitis A is not hepatitis.
ARTICLES = re.compile(r"^\s*(?i:an?|the)\s+(?=\w)|\b(?:an?|the)\s+(?=\w)")


def parse_answer(text: str, options: Sequence[str] = ()) -> str | None:
    """The answer that a final step gives, as the option's own text where there are options; None if unclear.

    Understood: `The answer is (B)`, `Answer: pneumonia`, `(B) pneumonia`, `Choice_B`, the text of one option alone,
    yes and no. Two different options named as the answer, or a negated one, are unclear.
    """
    cues = list(CUE.finditer(text))
    tail = text[cues[-1].end() :] if cues else text
    if options:
        return _parse_option(tail, options, is_cued=bool(cues))
    yes_no = YES_NO.match(tail)
    if yes_no:
        return yes_no.group(1).lower()
    if not cues:
        return None
    answer = re.split(r"\n|\.(?=\s|$)", tail.strip(), maxsplit=1)[0].strip(" *`\"'.")
    return answer or None


def answers_match(answer: str | None, gold: str | None, options: Sequence[str] = ()) -> bool:
    """Whether two answers mean the same option, or the same text after normalising. None never matches."""
    if answer is None or gold is None:
        return False
    return canonical_answer(answer, options) == canonical_answer(gold, options)


def canonical_answer(answer: str, options: Sequence[str] = ()) -> str:
    """What equal answers have in common: the option's normalised text (for a letter, too), else the normalised text."""
    normal = _normalise(answer)
    if normal in {_normalise(option) for option in options}:
        return normal
    letter = re.fullmatch(r"\W*(?:(?i:option|choice|answer)[\s_]*)?\(?([A-Za-z])\)?\W*", answer)
    option = _option_of(letter.group(1), options) if letter else None
    return normal if option is None else _normalise(option)


def _parse_option(tail: str, options: Sequence[str], is_cued: bool) -> str | None:
    if re.match(r"\W*(?:not|neither|unclear|unknown)\b", tail, re.IGNORECASE):
        return None
    exact = [option for option in options if _normalise(option) == _normalise(tail)]
    if len(exact) == 1:
        return exact[0]
    opening = OPENING_LETTER.match(tail)
    # Without a cue, "A large effusion ..." opens with an article, not with an option.
    if opening and (is_cued or opening.group(1) or re.match(r"[):.]|\s*$", tail[opening.end() :])):
        return _lettered(tail[opening.end() :], opening.group(1) or opening.group(2), options)
    named = set(NAMED_LETTER.findall(tail))
    if named:
        return _option_of(named.pop(), options) if len(named) == 1 else None
    return _mentioned(tail, options) if is_cued else None


def _lettered(rest: str, letter: str, options: Sequence[str]) -> str | None:
    """The option of the opening letter, unless `rest` goes on with another letter (`A or C`) or another's text."""
    option = _option_of(letter, options)
    if option is None or re.match(r"\W*(?:or|and|/|&|,)\W*[A-Z]\b", rest) or re.match(r"/[A-Z]\b", rest):
        return None
    opening_words = f"{_normalise(rest)} "
    others = [other for other in options if other != option and opening_words.startswith(f"{_normalise(other)} ")]
    return option if not others or opening_words.startswith(f"{_normalise(option)} ") else None


def _mentioned(text: str, options: Sequence[str]) -> str | None:
    """The one option whose text stands in `text`; of options that contain each other, the longest."""
    spaced = f" {_normalise(text)} "
    found = [option for option in options if f" {_normalise(option)} " in spaced]
    shorter = {a for a in found for b in found if a != b and _normalise(a) in _normalise(b)}
    longest = [option for option in found if option not in shorter]
    return longest[0] if len(longest) == 1 else None


def _option_of(letter: str, options: Sequence[str]) -> str | None:
    place = string.ascii_uppercase.index(letter.upper())
    return options[place] if place < len(options) else None


def _normalise(text: str) -> str:
    words = re.sub(r"[^\w%+\-./<>=]+", " ", ARTICLES.sub("", text).casefold()).split()
    kept = [word.strip("._-/") for word in words]
    return " ".join(word for word in kept if word) or text.strip().casefold()
