"""Yes, no and maybe as answers.

In: text. Out: "yes", "no", "maybe" or None. "Likely yes" is read as yes; "possibly yes", "yes and no", "yes or no" and
"not sure" are unclear: a model that cannot tell has not answered maybe.
"""

import re

WORDS = ("yes", "no", "maybe")
# "No effusion" is no answer to a question for yes or no, "no, there is none" is one.
ANSWER = re.compile(
    r"\W*(yes|no|maybe)\b(?=\W*$|\s*[.,;:!*()\]\n\"'`—–-]|\s+(?:because|since|as|there|it|this|the)\b)", re.I
)
OTHER = re.compile(r"\W*(?:(?:and|or|but|maybe|perhaps)\W+)*(yes|no|maybe)\b(?!\s+\w)", re.I)


def parse_yes_no(tail: str) -> str | None:
    """The word that a text opens with, unless the other one follows at once (`yes/no`, `yes, or no`)."""
    found = ANSWER.match(tail)
    if found is None:
        return None
    answer, rest = found.group(1).lower(), tail[found.end() :]
    other = OTHER.match(rest)
    return None if other and other.group(1).lower() != answer else answer


def canonical_yes_no(text: str) -> str | None:
    """The word itself, in small letters."""
    return parse_yes_no(text)
