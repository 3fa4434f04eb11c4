"""Clinical notes with names, dates and numbers planted in them: text and where each stands.

Names and cities come from Faker in seven locales; sentences and spellings are written here. `HELD_OUT` sentences were
written beside the others and looked at only to measure.
"""

import random
import re
from typing import NamedTuple

from faker import Faker

from medprm.cases.deidentify_text import NameLists, bare_word

LOCALES = ("en_US", "en_GB", "en_IN", "de_DE", "es_MX", "pl_PL", "it_IT")

# What stands in braces is planted; the rest is ordinary text that must stay.
SENTENCES = (
    "Mr. {last} is a 62-year-old man who presents with chest pain radiating to the left arm.",
    "Patient: {full}, DOB {date}, MRN {id}.",
    "{full} was admitted on {date} with shortness of breath and a temperature of 38.9.",
    "The film of {date} shows a right lower lobe consolidation; compared with {date}, it is new.",
    "Dr. {last} was informed by phone at {phone}.",
    "Her daughter {first} reports that she takes 40 mg of furosemide twice a day.",
    "Accession {id}: PA and lateral chest, no pneumothorax.",
    "Referred by {full}, seen again {date}.",
    "{lastfirst} is known to us from an earlier stay ({date}).",
    "On examination {last} looked pale; blood pressure 120/80, pulse 92, oxygen saturation 94% on 2 l.",
    "Discussed with {first} {last} and his wife {first}.",
    "Dictated by {full} on {date}.",
)
HELD_OUT = (
    "This is a follow-up visit for {full}, who had a lobectomy on {date}.",
    "Name: {lastfirst}   Born: {date}   Record number: {id}",
    "I saw Mrs. {last} in clinic today together with her son {first}.",
    "According to {first}, the cough began three weeks ago and is worse at night.",
    "Study {id} was compared with the examination of {date}.",
    "{last} denies fever, weight loss and night sweats; white cell count 11.2, CRP 84 mg/l.",
    "Transferred from the ward of Prof. {last} after a fall on {date}.",
    "Please call {full} ({phone}) with the result.",
    "His neighbour, {full}, found him on the floor on {date}.",
    "Signed electronically: {full}, MD, {date}",
    "The patient, {first} {last}, consented; his policy number is {id}.",
    "Bronchoscopy by {last} showed no lesion in segment 6.",
)
_DATES = ("%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y", "%m/%d/%y", "%d %b %y")


class Planted(NamedTuple):
    """Characters start to end hold an identifier: name, date, id or phone."""

    start: int
    end: int
    kind: str


class Note(NamedTuple):
    """A text and what was planted in it."""

    text: str
    planted: list[Planted]


def is_listed(name: str, lists: NameLists) -> bool:
    """Whether the detector's lists hold every word of a name: Faker and they draw on the same peoples."""
    words = [bare_word(word) for word in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", name)]
    return all(word in lists.first or word in lists.last for word in words)


def write_note(seed: int, sentences: tuple[str, ...], num_sentences: int = 4) -> Note:
    """A note of that many sentences, names of one locale."""
    rng = random.Random(seed)
    fake = Faker(rng.choice(LOCALES))
    fake.seed_instance(seed)
    text, planted = "", []
    for sentence in rng.sample(sentences, num_sentences):
        text += " " if text else ""
        for piece in sentence.replace("{", "\0{").replace("}", "}\0").split("\0"):
            if piece.startswith("{"):
                for kind, value in _values(piece[1:-1], rng, fake):
                    if kind:
                        planted.append(Planted(len(text), len(text) + len(value), kind))
                    text += value
            else:
                text += piece
    return Note(text, planted)


def _values(what: str, rng: random.Random, fake: Faker) -> list[tuple[str, str]]:
    """Kind and text of each piece; no kind for what only joins."""
    if what == "full":
        return [("name", fake.first_name()), ("", " "), ("name", fake.last_name())]
    if what == "lastfirst":
        return [("name", fake.last_name()), ("", ", "), ("name", fake.first_name())]
    if what in ("first", "last"):
        return [("name", fake.first_name() if what == "first" else fake.last_name())]
    if what == "date":
        return [("date", fake.date_between("-90y", "today").strftime(rng.choice(_DATES)))]
    if what == "phone":
        return [
            (
                "phone",
                rng.choice(("({:03d}) {:03d}-{:04d}", "{:03d}-{:03d}-{:04d}", "+44 {:03d} {:03d} {:04d}")).format(
                    rng.randrange(200, 999), rng.randrange(200, 999), rng.randrange(10000)
                ),
            )
        ]
    forms = ("{:07d}", "{:08d}", "A{:06d}", "MR-{:06d}", "{:02d}-{:05d}", "S{:03d}/{:04d}")
    form = rng.choice(forms)
    return [
        ("id", form.format(*(rng.randrange(10**6) for _ in range(2))) if form.count("{") == 1 else _pair(form, rng))
    ]


def _pair(form: str, rng: random.Random) -> str:
    return form.format(rng.randrange(10, 99), rng.randrange(1000, 9999))
