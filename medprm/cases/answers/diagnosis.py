"""Diagnoses in free text, and other open answers in a few words.

In: what stands behind a cue. Out: the words of the answer; for diagnoses, what its synonyms have in common.
"""

import re

from medprm.cases.answers.icd10 import CODE
from medprm.cases.answers.synonyms import Synonyms
from medprm.cases.answers.wording import normalise

# A full stop that ends no sentence: C. difficile, St. Louis. "Vitamin B. It ..." is two sentences all the same.
SENTENCE_END = re.compile(
    r"\n|(?<!\bSt)(?<!\bDr)(?<!\bvs)(?<!\bca)(?<!\bapprox)(?<!\bi\.e)(?<!\be\.g)\.(?!(?<=\b[A-Za-z]\.)\s+[a-z])(?=\s|$)"
)
REASON = re.compile(
    r"[\s,;:(—–-]+\b(?:because|given (?:the|that|his|her)|based on|supported by|which (?:is|explains|fits|accounts)|"
    r"as (?:the|there|this|it|he|she|evidenced|seen|indicated|suggested))\b.*"
    r"|,\s*(?:since|consistent with|not)\b.*"
    r"|[\s,(]+\b(?:although|though|but|however|rather than|instead of|while|whereas)\b.*|;.*",
    re.IGNORECASE | re.DOTALL,
)
OPENING = re.compile(
    r"(?:\W*\b(?:most likely|likely|most probable|probable|most probably|probably|consistent with|that of|a case of|"
    r"(?:a |the )?diagnosis of|that (?:this|it|the patient) (?:is|has)|(?:this|the) patient (?:has|is suffering from)|"
    r"suffering from)\b)+\s*(?=\w)",
    re.IGNORECASE,
)
DOUBTED = re.compile(
    r"\W*(?:(?:not|neither|either|possibly|possible|perhaps|maybe|cannot|can't|unable|suspicion of|suspected)\b|"
    r"(?:may|might|could|can) (?:also )?be\b|(?:none|any) of\b|none$|n/a\b|[^?]*\?$|[\W\d_]*$|"
    r"(?:unclear|unknown|uncertain|unsure|undetermined|inconclusive|indeterminate)\b\W*(?:$|\b(?:at|from|without)\b))",
    re.IGNORECASE,
)
ALTERNATIVES = re.compile(r"\b(?:or|versus|vs)\b| / ", re.IGNORECASE)
PARENTHESIS = re.compile(r"(?P<outer>.*\S)\s*[(\[](?P<inner>[^()\[\]]+)[)\]]\W*")
LONGEST_ANSWER = 1000  # characters
SMALL_WORDS = ("of", "the", "and", "in", "with", "due", "to")
EDGES = " \t*_`\"'“”.,;:$"


def parse_words(tail: str) -> str | None:
    """The first sentence of the answer, without the reason given for it; None where it is empty or has no end."""
    sentence = SENTENCE_END.split(tail.strip(EDGES + "\n"), maxsplit=1)[0]
    if len(sentence) > LONGEST_ANSWER:
        return None
    return REASON.sub("", sentence).strip(EDGES) or None


def parse_diagnosis(tail: str) -> str | None:
    """One diagnosis; None where it is negated, doubted, or one of several (`A or B`)."""
    words = parse_words(tail)
    if words is None or DOUBTED.match(words) or ALTERNATIVES.search(words):
        return None
    return OPENING.sub("", words, count=1) if OPENING.match(words) else words


def canonical_diagnosis(text: str, synonyms: Synonyms) -> str:
    """What the names of one diagnosis have in common; a parenthesis that repeats the name, or a code, is left out."""
    found = PARENTHESIS.fullmatch(text)
    if found is not None:
        outer, inner = (synonyms.canonical(normalise(found.group(name))) for name in ("outer", "inner"))
        if CODE.fullmatch(found.group("inner").strip()):
            return outer
        if outer == inner or _is_short_for(inner, outer) or _is_short_for(outer, inner):
            return max(outer, inner, key=len)
    return synonyms.canonical(normalise(text))


def _is_short_for(short: str, name: str) -> bool:
    """Whether one is made of the first letters of the other: bppv, benign paroxysmal positional vertigo."""
    words = name.split()
    initials = ["".join(word[0] for word in words if word not in left_out) for left_out in ((), SMALL_WORDS)]
    return len(short) > 1 and short.replace(" ", "") in initials
