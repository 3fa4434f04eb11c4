"""De-identification: identifiers left in headers, burned-in text found, free text found and false alarms.

python benchmarks/deidentification.py [--part headers|burned_in|text] [--num 200] [--json FILE]
Made-up identifiers (Faker; places and spellings in tests/planted.py), other ones than any rule was written on. Shares
have 95 % Wilson intervals. `burned_in` takes some ten minutes on one core.
"""

import argparse
import io
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import planted
import planted_notes

from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.cases.deidentify_text import find_identifying, name_lists
from medprm.cases.phantom.dicom import write_film
from medprm.images.deidentify import HeldBack, deidentify_file
from medprm.images.deidentify_settings import DeidentifySettings

PER_FILE = 10
FIRST_SEED = 10_000  # the tests use lower ones


def interval(num: int, total: int) -> list[float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.959964, num / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return [round(float(middle - half), 4), round(float(middle + half), 4)]


def headers(num: int) -> dict[str, Any]:
    """Identifiers planted, ten a file; how many are in the bytes or the name of what is written."""
    settings, left, places, num_held = DeidentifySettings(burned_in="off"), [], Counter(), Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + -(-num // PER_FILE)):
        made = planted.plant_headers(seed, PER_FILE)
        places.update(place for place, _ in made.planted)
        try:
            dataset, report = deidentify_file(as_read(made.dataset), settings)
        except HeldBack as held:
            num_held[held.report.held_back.split(", ")[0]] += 1
            continue
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        written = buffer.getvalue() + f"{report.patient}/{report.sop_instance}.dcm {report.to_json()}".encode()
        left += [place for place, one in made.planted if planted.is_in(one, written)]
    return {"planted": sum(places.values()), "places": len(places), "left": left, "held_back": dict(num_held)}


def as_read(dataset: Any) -> Any:
    """As it comes from a file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return dcmread(io.BytesIO(buffer.getvalue()))


def burned_in(num: int) -> dict[str, Any]:
    """Films with text and without; found means that every line has 90 % of its ink covered."""
    lines, missed, alarmed = [], [], []
    for index in range(num):
        seed, clean_seed = FIRST_SEED + index, FIRST_SEED + num + index
        covered = _covered(planted.burn_text(seed, has_text=True), seed)
        lines += covered
        missed += [seed] if min(covered) < 0.9 else []
        alarmed += [clean_seed] if _redact(planted.burn_text(clean_seed, has_text=False).film, clean_seed).any() else []
        if index % 10 == 9:
            print(
                f"{index + 1} of {num}: {len(missed)} missed, {len(alarmed)} false alarms", file=sys.stderr, flush=True
            )
    num_found = num - len(missed)
    return {
        "images_found": [num_found, num, *interval(num_found, num)],
        "lines_covered": [sum(one >= 0.9 for one in lines), len(lines)],
        "false_alarms": [len(alarmed), num, *interval(len(alarmed), num)],
        "missed_seeds": missed,
        "false_alarm_seeds": alarmed,
    }


def _covered(burned: planted.Burned, seed: int) -> list[float]:
    """Share of each line's ink that was covered."""
    covered = _redact(burned.film, seed)
    return [float(covered[ink].mean()) for ink in burned.ink]


def _redact(film: np.ndarray, seed: int) -> np.ndarray:
    """Which pixels were covered; that they are black now is checked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.dcm"
        write_film(path, film, patient_id=f"P{seed}", seed_text=str(seed), rng=np.random.default_rng(seed))
        before = dcmread(path)
        after, report = deidentify_file(before, DeidentifySettings())
    covered = np.zeros(film.shape, dtype=bool)
    for _, left, top, right, bottom in report.redacted:
        covered[top:bottom, left:right] = True
    assert len(np.unique(after.pixel_array[covered])) <= 1
    return covered


def text(num: int) -> dict[str, Any]:
    """Notes with names, dates and numbers, of sentences that no rule was written on; and PubMedQA, which has few."""
    return {names: _text(num, TextDeidentifySettings(names=names)) for names in ("patterns", "lists")}


def _text(num: int, settings: TextDeidentifySettings) -> dict[str, Any]:
    num_all, num_found, num_needless = Counter(), Counter(), 0
    for seed in range(FIRST_SEED, FIRST_SEED + num):
        note = planted_notes.write_note(seed, planted_notes.HELD_OUT)
        spans = find_identifying(note.text, settings)
        covered = {place for span in spans for place in range(span.start, span.end)}
        for one in note.planted:
            letters = {place for place in range(one.start, one.end) if note.text[place].isalnum()}
            for kind in _kinds(one.kind, note.text[one.start : one.end]):
                num_all[kind] += 1
                num_found[kind] += letters <= covered
        planted_places = {place for one in note.planted for place in range(one.start, one.end)}
        num_needless += sum(not planted_places & set(range(span.start, span.end)) for span in spans)
    found = {kind: [num_found[kind], num_all[kind], *interval(num_found[kind], num_all[kind])] for kind in num_all}
    return {"found": found, "false_alarms_in_notes": num_needless} | _pubmedqa(settings)


def _kinds(kind: str, value: str) -> tuple[str, ...]:
    """A name counts once more by whether the detector's lists hold it."""
    if kind != "name":
        return (kind,)
    return (kind, "name in the lists" if planted_notes.is_listed(value, name_lists()) else "name not in the lists")


def _pubmedqa(settings: TextDeidentifySettings) -> dict[str, Any]:
    """Abstracts 250 to 500 of the real set, where it is at hand; the first 250 were looked at."""
    file = Path(os.environ.get("MEDPRM_REAL_DATA", "")) / "splits" / "pubmedqa_pack.json"
    if not file.is_file():
        return {"pubmedqa": "MEDPRM_REAL_DATA does not hold it"}
    cases = list(json.loads(file.read_text()).values())[250:]
    texts = [" ".join((case["QUESTION"], *case["CONTEXTS"])) for case in cases]
    kinds = [Counter(span.kind for span in find_identifying(one, settings)) for one in texts]
    num_words = sum(len(one.split()) for one in texts)
    total = sum(kinds, Counter())
    return {
        "pubmedqa_words": num_words,
        "pubmedqa_alarms": dict(total),
        "pubmedqa_alarms_per_1000_words": round(1000 * total.total() / num_words, 2),
        "pubmedqa_abstracts_with_any": [
            sum(map(bool, kinds)),
            len(kinds),
            *interval(sum(map(bool, kinds)), len(kinds)),
        ],
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=sorted(PARTS), help="only this one")
    parser.add_argument("--num", type=int, default=200, help="identifiers, films with and without text, notes")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    os.environ["MEDPRM_DEIDENTIFY_SECRET"] = "a secret of the benchmark only"
    figures = {name: PARTS[name](given.num) for name in PARTS if given.part in (None, name)}
    print(json.dumps(figures, indent=2))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


PARTS = {"headers": headers, "text": text, "burned_in": burned_in}

if __name__ == "__main__":
    main()
