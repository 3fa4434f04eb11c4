"""The normal form of a text: what two writings of the same words have in common.

In: text. Out: small letters, single spaces, no articles, no possessive, American spelling, Arabic numerals behind
"type", "grade" and the like. Each change is one of writing, never of meaning: no word is dropped that could qualify.
"""

import re
import unicodedata
from functools import lru_cache

POSSESSIVE = re.compile(r"(?<=\w)['’`´]s\b")
# Between words a hyphen is a matter of taste; between digits it is a range, before one a sign.
HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=\w)|(?<=\w)-(?=[^\W\d_])")
NO_WORD = re.compile(r"[^\w%+\-./<>=]+")
SIGNS = str.maketrans(
    {"−": "-", "‐": "-", "‑": "-", "–": "-", "—": " - ", "≥": ">=", "≤": "<="}
    | {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "æ": "ae", "œ": "oe"}
)
SPELLINGS = tuple(
    (re.compile(british), american)
    for british, american in (
        ("aemi", "emi"),  # anaemia, leukaemia, ischaemia
        ("haem", "hem"),
        ("oed(?=ema)", "ed"),
        ("oea", "ea"),  # diarrhoea, dyspnoea, apnoea
        ("^coeliac", "celiac"),
        ("oesoph", "esoph"),
        ("^oest", "est"),
        ("^foet", "fet"),
        ("paed", "ped"),
        ("faec", "fec"),
        ("caec", "cec"),
        ("gynaec", "gynec"),
        ("anaesth", "anesth"),
        ("aetiol", "etiol"),
        ("^naev", "nev"),
        ("(?<=tum)our", "or"),
        ("(?<=col)our", "or"),
        ("(?<=behavi)our", "or"),
        ("(?<=fib)re\\b", "er"),
        ("(?<=cent)re\\b", "er"),
        ("(?<=lit)re(?=s?\\b)", "er"),
        ("(?<=met)re(?=s?\\b)", "er"),
        ("^grey", "gray"),
        ("(?<=[a-z]{4})is(?=ed\\b|ation)", "iz"),
    )
)
NUMERALS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii")
# A small "a" is an article at the beginning and behind these; "hepatitis a infection" is not "hepatitis infection".
BEFORE_ARTICLE = re.compile(
    r"and|as|but|by|for|from|has|in|into|is|like|of|on|or|over|shows|than|to|was|with", re.IGNORECASE
)
COUNTED = ("type", "types", "grade", "stage", "class", "factor", "phase", "nerve", "category")


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """The normal form; the text itself in small letters where nothing else would be left of it (`+`, `?`)."""
    written = POSSESSIVE.sub("", _without_accents(_without_articles(text)).casefold().translate(SIGNS))
    words = [word.strip("._-/") for word in NO_WORD.sub(" ", HYPHEN.sub(" ", written)).split()]
    kept = [_american(word) for word in words if word]
    for place, word in enumerate(kept[:-1]):
        if word in COUNTED:
            kept[place + 1] = _arabic(kept[place + 1])
    return " ".join(kept) or text.strip().casefold()


def holds(text: str, phrase: str) -> bool:
    """Whether the words of `phrase` stand next to each other in `text`; both in normal form."""
    return f" {phrase} " in f" {text} "


def _without_articles(text: str) -> str:
    words = text.split()
    kept = []
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        is_article = word in ("the", "an") or (not before and word.casefold() in ("a", "an", "the"))
        is_article = is_article or (word == "a" and BEFORE_ARTICLE.fullmatch(before) is not None)
        kept += [] if is_article and after[:1].isalnum() else [word]
    return " ".join(kept)


def _without_accents(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))


def _american(word: str) -> str:
    for british, american in SPELLINGS:
        word = british.sub(american, word)
    return word


def _arabic(word: str) -> str:
    """`iv` to `4`, `iiib` to `3b`."""
    found = re.fullmatch(r"([ivx]+)([a-c]?)", word)
    if found is None or found.group(1) not in NUMERALS:
        return word
    return f"{NUMERALS.index(found.group(1)) + 1}{found.group(2)}"
