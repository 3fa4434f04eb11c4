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
    found, lines, alarms, missed = 0, [], 0, []
    for seed in range(FIRST_SEED, FIRST_SEED + num):
        covered = _covered(planted.burn_text(seed, has_text=True), seed)
        lines += covered
        found += min(covered) >= 0.9
        missed += [seed] if min(covered) < 0.9 else []
    for seed in range(FIRST_SEED + num, FIRST_SEED + 2 * num):
        alarms += bool(_redact(planted.burn_text(seed, has_text=False).film, seed).any())
    return {
        "images_found": [found, num, *interval(found, num)],
        "lines_covered": [sum(one >= 0.9 for one in lines), len(lines)],
        "false_alarms": [alarms, num, *interval(alarms, num)],
        "missed_seeds": missed,
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


PARTS = {"headers": headers, "burned_in": burned_in}

if __name__ == "__main__":
    main()
