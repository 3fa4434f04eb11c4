"""Free text without names, dates, numbers, addresses: found by pattern, and names by lists as well.

In: a text. Out: spans with their kind; the text with `[NAME]`, `[DATE]`, `[ID]`, `[CONTACT]`, `[PLACE]`, `[AGE]` in
their stead. Years alone stay, as do ages up to 89 (HIPAA's safe harbour, 45 CFR 164.514(b)(2)). The risk becomes
smaller, not nothing: docs/deidentification.md has what was found and what was not. Names are taken from the lists of
philter-lite (BSD-3-Clause, UCSF), less its list of words that are no names.
"""

import functools
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from typing import NamedTuple

from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.errors import InputError

MONTHS = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    "Nov(?:ember)?|Dec(?:ember)?"
)
_DAY, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:19|20)\d{2}"
_ORDINAL = rf"{_DAY}(?:st|nd|rd|th)?"
_WORD = r"[A-ZÀ-ÖØ-ÞĄĆČĎĘĚĞİŁŃŇŐŘŚŞŠŤŮŰŹŻŽ][\w'’-]+"
_TITLES = r"Dr|Drs|Mr|Mrs|Ms|Miss|Mx|Prof|Professor|Doctor|Nurse|Sister|Sir|Dame|Rev|Sgt|Frau|Herr"
_ROLES = (
    r"patient(?:'s)?(?: name)?|pt|name|physician|provider|attending|resident|surgeon|radiologist|consultant|cardiologist|"  # noqa: E501
    r"mother|father|son|daughter|wife|husband|partner|brother|sister|contact|carer|guardian|nurse|GP|PCP|"
    r"(?:dictated|signed|seen|reviewed|read|referred|reported|verified|transcribed|examined|operated|consented) by"
)
_RELATIONS = r"(?<!of )(?:mother|father|son|daughter|wife|husband|brother|sister|niece|nephew|aunt|uncle|fianc[ée]e?)"
_STREETS = (
    r"Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Place|Square|Terrace|Close|Parkway"
)
_HOSPITALS = r"Hospitals?|Clinic|Infirmary|Hospice|Medical Cent(?:er|re)|Health Cent(?:er|re)|Nursing Home"
_ID_LABELS = (
    r"MRN|MR#|medical record|record|accession|acc|patient id|pat id|ID|case|visit|encounter|account|acct|chart|file|"
    r"hospital|NHS|SSN|insurance|policy|member|licen[cs]e|serial|specimen|order|study|exam|admission|episode|passport|DEA|NPI"
)

# Kind, pattern, and which group is covered. Order matters not: overlapping spans are joined.
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("DATE", re.compile(rf"\b{_YEAR}([-/.])(?:0?[1-9]|1[0-2])\1{_DAY}(?:T[\d:.]+)?\b")),
    ("DATE", re.compile(rf"\b{_DAY}([-/.])(?:0?[1-9]|1[0-2])\1(?:{_YEAR}|\d{{2}})\b")),
    ("DATE", re.compile(rf"\b(?:0?[1-9]|1[0-2])([-/.]){_DAY}\1(?:{_YEAR}|\d{{2}})\b")),
    ("DATE", re.compile(r"\b(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\b")),
    ("DATE", re.compile(rf"\b(?:{MONTHS})\.? {_ORDINAL}(?:,? {_YEAR})?\b(?!\s*(?:%|mg|years|patients))")),
    ("DATE", re.compile(rf"\b{_ORDINAL}[ -](?:of )?(?:{MONTHS})\.?(?:,?[ -](?:{_YEAR}|\d{{2}}))?\b")),
    (
        "DATE",
        re.compile(
            r"(?i:\b(?:on|dated|since|until|till|from|before|after|seen|dob|born)) ((?:0?[1-9]|1[0-2])/\d{1,2})\b(?!/)"
        ),
    ),
    ("ID", re.compile(r"\b\d{3}-\d{2}-\d{4}\b")),
    (
        "ID",
        re.compile(
            rf"(?i:\b(?:{_ID_LABELS})\b)(?i:\s*(?:no\.?|number|num|nr\.?|#|id))?\s*[:#.]?\s*(#?(?=[\w/-]*\d)[A-Za-z0-9][\w/-]{{2,}}\d[\w/-]*)"
        ),
    ),
    (
        "ID",
        re.compile(
            r"(?<![\w.,/-])(?!NCT|ISRCTN|PMID|NM|NP)(?:[A-Z]{1,4}[-/]?\d{4,}|\d{6,}|\d{2}-\d{5,}|[A-Z]\d{2,}[-/]\d{3,})\b(?![.,]?\d|[-–/])"
        ),
    ),
    ("CONTACT", re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")),
    ("CONTACT", re.compile(r"\b(?:https?://|www\.)[^\s)>\]]+")),
    (
        "CONTACT",
        re.compile(
            r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(0?\d{2,4}\)[ .-]?|\d{3}[ .-])\d{3,4}[ .-]\d{3,4}(?: ?(?:x|ext\.?) ?\d+)?\b"  # noqa: E501
        ),
    ),
    (
        "CONTACT",
        re.compile(
            r"(?i:\b(?:tel|phone|fax|cell|mobile|pager|call(?:ed)?|ext)\b)\.?:?\s*(?:at |on )?(\+?\(?\d[\d ().-]{4,}\d)"
        ),
    ),
    ("CONTACT", re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b(?!\.\d)")),
    ("PLACE", re.compile(rf"\b\d{{1,5}}[A-Za-z]?,? (?:{_WORD} ){{1,3}}(?:{_STREETS})\b\.?")),
    ("PLACE", re.compile(r"\b[A-Z]{2},? \d{5}(?:-\d{4})?\b")),
    ("PLACE", re.compile(rf"\b((?:{_WORD} (?:of |the )?){{1,4}}(?:{_HOSPITALS}))\b")),
    ("AGE", re.compile(r"\b((?:9\d|1[0-3]\d))[ -]?(?:years?|yrs?|y/?o)\b[ -]?(?:old)?")),
    ("AGE", re.compile(r"(?i:\b(?:aged?|age of|age:)) ((?:9\d|1[0-3]\d))\b(?! ?(?:days|weeks|months|min))")),
    (
        "NAME",
        re.compile(
            rf"\b(?:{_TITLES})\.? ((?:[A-Z]\.? )?{_WORD}(?: [A-Z]\.)?(?: (?:van |von |de |der |la |bin |al-)*{_WORD})?)"
        ),
    ),
    ("NAME", re.compile(rf"(?i:\b(?:{_ROLES}))\s*[:=]\s*({_WORD}(?:,? (?:{_WORD}|[A-Z]\b\.?)){{0,2}})")),
    ("NAME", re.compile(rf"(?i:\b(?:{_RELATIONS})),? ({_WORD}(?: {_WORD})?)")),
    ("NAME", re.compile(rf"(?i:\b(?:named|called|Name is|known as|by)) ({_WORD} (?:[A-Z]\. )?{_WORD})(?=[,.; ])")),
)

# What follows an eponym; the word before it names a disease, a test or a method, not the patient.
_THINGS = re.compile(
    r"(?:['’]s)?[\s-]+(?:\w+[\s-]+)?(?:diseases?|syndromes?|tests?|signs?|scores?|scales?|classification|procedures?|criteria|"
    r"analys[ei]s|regression|method|model|index|cells?|lymphomas?|sarcoma|tumou?rs?|carcinoma|fractures?|catheters?|"
    r"oesophagus|esophagus|palsy|reflex|phenomenon|operation|technique|repair|curves?|survival|stain(?:ing)?|ulcers?|"
    r"stage|staging|grad(?:e|ing)|hernias?|thyroiditis|chorea|triad|ring|nodes?|bod(?:y|ies)|sphincter|gland|ducts?|"
    r"ultrasound|imaging|needle|tube|suture|system|questionnaire|inventory|coefficient|correction|effects?|trial|study|"
    r"group|University|virus|contracture|neuroma|nephropathy|granulomatosis|cyst|U|H|rank)\b"
)


_LETTERS = str.maketrans({"ł": "l", "ß": "ss", "ø": "o", "đ": "d", "æ": "ae"})

# Months, peoples, countries and states (larger than HIPAA asks to remove), makers, and people whom methods are named by.  # noqa: E501
_NO_PERSON = frozenset(
    """
    january february march april may june july august september october november december monday tuesday
    wednesday thursday friday saturday sunday african american asian british caucasian chinese danish dutch
    english european finnish french german greek hispanic indian iranian irish israeli italian japanese jewish
    korean latino malay maori norwegian pakistani polish scottish spanish swedish swiss turkish welsh sami
    america africa asia australia austria brazil britain canada china denmark egypt england europe finland
    france germany greece india iran iraq ireland israel italy japan jordan kenya korea lebanon malaysia
    malawi mali mexico netherlands nigeria norway pakistan peru poland portugal romania russia scotland
    singapore spain sudan sweden switzerland taiwan tanzania thailand turkey uganda ukraine vietnam wales
    zambia northern southern eastern western north south east west central carolina dakota alabama alaska
    arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois indiana
    iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri
    montana nebraska nevada hampshire jersey york ohio oklahoma oregon pennsylvania rhode tennessee texas utah
    vermont virginia washington wisconsin wyoming siemens philips toshiba pfizer roche novartis olympus stata
    medline cochrane kaplan meier cox fisher wilcoxon mann whitney spearman pearson kruskal wallis bland
    altman cronbach bonferroni likert bayes markov gleason child pugh barrett crohn hodgkin parkinson
    alzheimer doppler apgar glasgow charlson fournier maillard barthel beck hamilton montgomery asberg
    karnofsky ranson bishop tanner sokal kellgren lawrence salter harris cobb schirmer goldmann swan ganz
    foley hickman nissen whipple billroth roux lichtenstein gram giemsa nation gay urban god apple google
    excel windows
    """.split()  # noqa: SIM905
)


class Span(NamedTuple):
    """Characters start to end of a text, the end not included, and what they are."""

    start: int
    end: int
    kind: str


def clean_text(text: str, settings: TextDeidentifySettings) -> tuple[str, Counter[str]]:
    """The text with every span replaced by its kind in brackets, and how many there were of each."""
    spans = find_identifying(text, settings)
    parts, position = [], 0
    for span in spans:
        parts += [text[position : span.start], f"[{span.kind}]"]
        position = span.end
    return "".join((*parts, text[position:])), Counter(span.kind for span in spans)


def find_identifying(text: str, settings: TextDeidentifySettings) -> list[Span]:
    """Names, dates finer than a year, numbers, contacts, places, ages over 89; in order, without overlap."""
    spans = [span for kind, pattern in _PATTERNS for span in _spans(kind, pattern, text)]
    if settings.names == "lists":
        spans += _listed_names(text, name_lists())
    return _joined(spans)


class NameLists(NamedTuple):
    """Lower-cased first and last names, and words that are no names or mostly not."""

    first: frozenset[str]
    last: frozenset[str]
    words: frozenset[str]


@functools.cache
def name_lists() -> NameLists:
    """The lists inside philter-lite. Raises InputError where it is not installed."""
    try:
        # The package itself is not imported: it wants NLTK's data, which its own way of finding names needs.
        content = (files("philter_lite") / "filters" / "set.toml").read_text(encoding="utf-8")
    except ModuleNotFoundError as error:
        raise InputError(
            "names in free text are looked up in the lists of philter-lite, which is not installed: pip install "
            "'medprm[names]', or names=patterns"
        ) from error
    sets = tomllib.loads(content)
    return NameLists(*(frozenset(_words_of(sets[name])) for name in ("firstnames", "lastnames", "nonames")))


def _words_of(entry: object) -> Iterable[str]:
    words = entry.get("data", entry.get("words", ())) if isinstance(entry, dict) else entry
    return (str(word).lower() for word in words)  # type: ignore[union-attr]


def _spans(kind: str, pattern: re.Pattern[str], text: str) -> Iterable[Span]:
    for found in pattern.finditer(text):
        group = pattern.groups if pattern.groups and not _is_separator(pattern) else 0
        if found.start(group) >= 0:
            yield Span(found.start(group), found.end(group), kind)


def _is_separator(pattern: re.Pattern[str]) -> bool:
    return r"\1" in pattern.pattern


_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def _listed_names(text: str, lists: NameLists) -> list[Span]:
    """Capitalised words that only a list of names holds, and their neighbours that may be names as well."""
    tokens = [found for found in _TOKEN.finditer(text) if found[0][0].isupper() and len(found[0]) >= 2]
    is_name = [_is_sure(found, text, lists) for found in tokens]
    may_be = [_may_be(found[0], lists) for found in tokens]
    for step in (1, -1):
        order = range(len(tokens)) if step == 1 else range(len(tokens) - 1, -1, -1)
        for here in order:
            before = here - step
            if not is_name[here] and 0 <= before < len(tokens) and is_name[before] and may_be[here]:
                first, second = sorted((here, before))
                is_name[here] = (
                    re.fullmatch(r",? |-| [A-Z]\. ?", text[tokens[first].end() : tokens[second].start()]) is not None
                )
    return [Span(found.start(), found.end(), "NAME") for found, yes in zip(tokens, is_name, strict=True) if yes]


def _is_sure(found: re.Match[str], text: str, lists: NameLists) -> bool:
    word = found[0]
    # A single word in capitals is an abbreviation; a name in capitals has another one beside it.
    if len(word) < 3 or (word.isupper() and not _has_capitals_beside(found, text)) or _THINGS.match(text, found.end()):
        return False
    bare = bare_word(word)
    return bare not in lists.words and bare not in _NO_PERSON and (bare in lists.first or bare in lists.last)


def _has_capitals_beside(found: re.Match[str], text: str) -> bool:
    after, before = text[found.end() : found.end() + 5], text[max(0, found.start() - 5) : found.start()]
    return re.match(r",? [A-Z]{3}", after) is not None or re.search(r"[A-Z]{2},? $", before) is not None


def _may_be(word: str, lists: NameLists) -> bool:
    bare = bare_word(word)
    return bare in lists.first or bare in lists.last or bare not in lists.words


def bare_word(word: str) -> str:
    """The word as lists of names have it: small letters without accents, no genitive."""
    folded = unicodedata.normalize("NFKD", re.sub(r"['’]s$", "", word.lower()).translate(_LETTERS))
    return "".join(letter for letter in folded if not unicodedata.combining(letter))


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Overlapping spans, and names one space apart, as one; the earlier kind stays."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        last = joined[-1] if joined else None
        if last and span.start < last.end:
            joined[-1] = Span(last.start, max(last.end, span.end), last.kind)
        elif last and last.kind == span.kind == "NAME" and span.start - last.end <= 1:
            joined[-1] = Span(last.start, span.end, "NAME")
        else:
            joined.append(span)
    return joined
