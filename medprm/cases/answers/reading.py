"""Where an answer stands in the words of a model, and which one it is.

In: the last step of a solution, the options, the kind of answer. Out: the answer as text, None where it cannot be read
for certain: that is unparsed, which is not wrong.
"""

import re
from collections.abc import Sequence

from medprm.cases.answers.choice import parse_choice
from medprm.cases.answers.diagnosis import LONGEST_ANSWER, parse_diagnosis, parse_words
from medprm.cases.answers.icd10 import parse_code
from medprm.cases.answers.number import parse_number
from medprm.cases.answers.yes_no import parse_yes_no
from medprm.cases.settings import Kind

SUBJECT = (
    r"(?:final |correct |best |right |most likely )*(?:answer|solution|choice|option)(?: to (?:the|this) question)?"
)
IS = r"(?:is|would be|should be|must be)"
CUE = re.compile(
    rf"(?:\b{SUBJECT}(?: {IS})?[\"'*_`]*\s*[:=]|\b{SUBJECT}[\"'*_`]*\s+{IS}\b\s*:?"
    r"|^[#*_ ]*(?:the )?(?:(?:final|correct|best) )?(?:answer|solution)[#*_ ]*\n|^####(?=\s*[-+]?\d))[\s*_]*",
    re.IGNORECASE | re.MULTILINE,
)
HEADING = re.compile(
    r"[\W_]*(?:the )?(?:(?:final|correct|best|most likely) )*"
    r"(?:answer|solution|diagnosis|ICD-10 code|result)(?: is)?[\W_]*",
    re.IGNORECASE,
)
# "Another possible answer is B" does not name the answer.
NOT_THE_ANSWER = re.compile(r"\b(?:another|other|alternative|possible|incorrect|wrong)\s+(?:\w+\s+)?$", re.IGNORECASE)
# What else introduces an answer of a kind, where nothing calls it the answer.
CUES_OF_KIND = {
    "diagnosis": re.compile(
        r"\b(?:diagnosis|impression)\b[\"'*_`]*(?:\s*[:=]|\s+(?:is|would be)\b\s*:?)", re.IGNORECASE
    ),
    "icd10": re.compile(
        r"\b(?:ICD(?:-?\s?10)?(?:-?CM)?(?:\s+code)?|code|diagnosis)\b[\"'*_`]*"
        r"(?:\s*[:=]|(?:\s+[\w-]+){0,5}?\s+is\b\s*:?|\s+(?=[A-Z]\d))",
        re.IGNORECASE,
    ),
    "number": re.compile(r"\b(?:result|total|value)\b[\"'*_`]*(?:\s*[:=]|\s+(?:is|would be)\b\s*:?)", re.IGNORECASE),
}
# Words between a cue or the beginning and the answer that change nothing.
FILLER = re.compile(
    r"\W*\b(?:so|therefore|thus|hence|then|overall|in (?:conclusion|summary)|clearly|definitely|indeed|simply|"
    r"(?:most )?(?:likely|probably))\b\s*,?\s+(?=\W*\w)",
    re.IGNORECASE,
)
NEGATED = re.compile(
    r"\W*(?:not|neither|either|none of|unclear|unknown|cannot|possibly|perhaps|unsure)\b", re.IGNORECASE
)
# Characters of a last step, counted from its end. A server may send megabytes.
LONGEST_STEP = 4000
TEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textit)\s*\{([^{}]*)\}")
BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}|<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
TEX_SIGNS = {
    r"\times": "×",
    r"\cdot": "·",
    r"\%": "%",
    r"\,": " ",
    r"\;": " ",
    r"\ ": " ",
    r"\approx": "≈",
    r"\mu": "µ",
}
TEX_SIGNS |= {r"^{\circ}": "°", r"^\circ": "°", r"\leq": "<=", r"\geq": ">=", "$": ""}


def parse_answer(text: str, options: Sequence[str] = (), kind: Kind | None = None) -> str | None:
    """The answer that a final step gives, as the option's own text where there are options; None if unclear.

    Without a kind: a choice where there are options, else an open answer. Understood: `The answer is (B)`, `**Final
    answer:** 3.5 mmol/L`, `\\boxed{B}`, `(B) pneumonia`, `Choice_B`, the text of one option alone, yes and no.
    """
    kind = kind or ("choice" if options else "open")
    tail, is_cued = _behind_cue("\n".join(_lines(text)), kind)
    if kind == "choice":
        return parse_choice(_without_filler(tail), options, is_cued)
    if kind == "findings":  # the report's own words, behind the cue where there is one
        return tail.strip() or None
    tail = tail[: LONGEST_ANSWER + 1]
    if kind == "open":
        return parse_yes_no(tail) or (parse_words(tail) if is_cued else None)
    tail = _without_filler(tail)
    if kind == "diagnosis":
        return parse_diagnosis(tail) if is_cued else None
    if kind == "yes_no":
        return parse_yes_no(tail)
    if NEGATED.match(tail):
        return None
    return parse_number(tail, is_cued) if kind == "number" else parse_code(tail, is_cued)


def last_step(text: str) -> str:
    """The last line of a continuation that has words, with the line before it where that is its heading."""
    lines = [line for line in _lines(text) if re.search(r"\w", line)]
    num_lines = 2 if len(lines) > 1 and HEADING.fullmatch(lines[-2]) else 1
    return "\n".join(lines[-num_lines:])


def _without_filler(tail: str) -> str:
    filler = FILLER.match(tail)
    return tail[filler.end() :] if filler else tail


def _lines(text: str) -> list[str]:
    """The lines of a text that are not blank, without formulas and with single spaces, for patterns to run fast on."""
    # Plain spaces only: a thin one may stand inside a number.
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in _without_tex(text[-LONGEST_STEP:]).splitlines())
    return [line for line in lines if line]


def _without_tex(text: str) -> str:
    """Plain text: `\\boxed{B}` and `<answer>B</answer>` as a line `Answer: B`, the signs of formulas as signs."""
    if "\\" in text or "$" in text:
        text = TEX_TEXT.sub(r"\1", text)
    text = BOXED.sub(lambda found: f"\nAnswer: {(found.group(1) or found.group(2) or '').strip()}\n", text)
    if "\\" in text or "$" in text:
        for written, sign in TEX_SIGNS.items():
            text = text.replace(written, sign)
    return text


def _behind_cue(text: str, kind: Kind) -> tuple[str, bool]:
    """What stands behind the last cue, and whether there is one; the whole text where there is none."""
    found = [one for one in CUE.finditer(text) if not NOT_THE_ANSWER.search(text[: one.start()])]
    if not found and kind in CUES_OF_KIND:
        found = list(CUES_OF_KIND[kind].finditer(text))
    return (text[found[-1].end() :], True) if found else (text, False)
