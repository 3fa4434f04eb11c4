"""Free findings text: token F1, the overlap of words of two texts.

In: texts. Out: precision, recall and F1 in [0, 1]. Words are those of the normal form (wording.py), each counted as
often as it stands there; the order has no say. It does not know negation ("no effusion" and "effusion" share a word):
the metrics of radiology do (findings_process.py).
Source: SQuAD (Rajpurkar et al. 2016), section 6.1.
"""

from collections import Counter
from typing import NamedTuple

from medprm.cases.answers.wording import normalise


class TokenOverlap(NamedTuple):
    """Shares of the answer's words that the reference has, and the other way round, and their harmonic mean."""

    precision: float
    recall: float
    f1: float


def token_overlap(answer: str, reference: str) -> TokenOverlap:
    """0 throughout where the texts share no word."""
    one, other = Counter(normalise(answer).split()), Counter(normalise(reference).split())
    shared = (one & other).total()
    if shared == 0:
        return TokenOverlap(0.0, 0.0, 0.0)
    return TokenOverlap(shared / one.total(), shared / other.total(), 2 * shared / (one.total() + other.total()))
