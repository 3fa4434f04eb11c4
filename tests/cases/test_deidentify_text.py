"""Free text: what must go, what must stay, and how much is found in notes of sentences that no rule was written on."""

import importlib.util
from collections import Counter
from itertools import pairwise

import planted_notes
import pytest

from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.cases.deidentify_text import clean_text, find_identifying, name_lists
from medprm.errors import InputError

PATTERNS = TextDeidentifySettings("patterns")
needs_lists = pytest.mark.skipif(importlib.util.find_spec("philter_lite") is None, reason="philter-lite: medprm[names]")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Seen on 2021-03-04 and 4.3.2021.", "Seen on [DATE] and [DATE]."),
        ("Born 12 May 1961, MRN: 00-12345.", "Born [DATE], MRN: [ID]."),
        ("Dr. Anna Zwingli, tel. (030) 555-0134", "Dr. [NAME], tel. [CONTACT]"),
        ("a.b@example.org lives at 12 Rose Street", "[CONTACT] lives at [PLACE]"),
        ("A 94-year-old woman, her daughter Ludmilla", "A [AGE]-year-old woman, her daughter [NAME]"),
    ],
)
def test_what_identifies_goes(text: str, cleaned: str) -> None:
    assert clean_text(text, PATTERNS)[0] == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "A 62-year-old man, blood pressure 120/80, pain 7/10, since 2015.",
        "White cells 11,200/mm3, CRP 84 mg/l, 100-550 ml, 1997-2007, NCT01234567.",
        "Crohn's disease, Gleason score 7, Kaplan-Meier curves, Child-Pugh B, Glasgow Coma Scale 15.",
        "The right lower lobe shows a consolidation; in May the patient may travel.",
        "In Germany and North Carolina, African American women were asked.",
    ],
)
@pytest.mark.parametrize("names", ["patterns", pytest.param("lists", marks=needs_lists)])
def test_what_medicine_needs_stays(text: str, names: str) -> None:
    assert clean_text(text, TextDeidentifySettings(names)) == (text, {})


@pytest.mark.parametrize(("names", "least"), [("patterns", 0.2), pytest.param("lists", 0.92, marks=needs_lists)])
def test_notes_that_no_rule_was_written_on(names: str, least: float) -> None:
    """60 notes; names 0.944 of 1,782 by lists and 0.282 by patterns were measured on 300, dates and ids 1.0."""
    settings, num_all, num_found = TextDeidentifySettings(names), dict[str, int](), dict[str, int]()
    for seed in range(60):
        note = planted_notes.write_note(seed, planted_notes.HELD_OUT)
        spans = find_identifying(note.text, settings)
        covered = {place for span in spans for place in range(span.start, span.end)}
        for one in note.planted:
            letters = {place for place in range(one.start, one.end) if note.text[place].isalnum()}
            num_all[one.kind] = num_all.get(one.kind, 0) + 1
            num_found[one.kind] = num_found.get(one.kind, 0) + (letters <= covered)
    assert num_found["name"] / num_all["name"] >= least
    assert all(num_found[kind] / num_all[kind] >= 0.98 for kind in ("date", "id", "phone"))


@needs_lists
def test_names_that_no_list_holds_are_found_less_often() -> None:
    """By their neighbours alone; 0.749 of 195 against 0.980 of 1,009 were measured on 200 notes of other seeds."""
    num_all, num_found = Counter[bool](), Counter[bool]()
    for seed in range(60):
        note = planted_notes.write_note(seed, planted_notes.HELD_OUT)
        covered = {
            place
            for span in find_identifying(note.text, TextDeidentifySettings("lists"))
            for place in range(span.start, span.end)
        }
        for one in (one for one in note.planted if one.kind == "name"):
            is_listed = planted_notes.is_listed(note.text[one.start : one.end], name_lists())
            letters = {place for place in range(one.start, one.end) if note.text[place].isalnum()}
            num_all[is_listed] += 1
            num_found[is_listed] += letters <= covered
    assert num_all[False] >= 40, "the lists do not hold every name of the generator"
    assert num_found[True] / num_all[True] >= 0.95
    assert 0.6 <= num_found[False] / num_all[False] <= num_found[True] / num_all[True]


def test_spans_are_in_order_and_apart() -> None:
    for seed in range(20):
        spans = find_identifying(planted_notes.write_note(seed, planted_notes.SENTENCES, 8).text, PATTERNS)
        assert all(one.end <= two.start for one, two in pairwise(spans))


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="names is 'all'; expected one of lists, patterns"):
        TextDeidentifySettings("all")
