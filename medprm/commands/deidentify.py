"""De-identify DICOM files or records: `python -m medprm.commands.deidentify SOURCE TARGET`.

In: a folder of DICOM files (looked through to its depth, links not followed), or a `.jsonl` file of records. Out: a
folder with PATIENT/INSTANCE.dcm under pseudonyms and `report.jsonl`, one line a file, no removed value in it; or a file
of records whose texts, patient ids and case ids are cleaned. What cannot be cleaned is not written, and named here.
The secret comes from --secret-file or the environment variable MEDPRM_DEIDENTIFY_SECRET.
Exit code: 0, 1 where files were held back, 2 for a mistake of the user.
"""

import argparse
import io
import json
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from pydicom import dcmread
from tqdm import tqdm

from medprm.cases.atomic import replaced_file
from medprm.cases.deidentify_record import LEFT_IN_PATHS, clean_records
from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.errors import InputError
from medprm.images.deidentify import HeldBack, deidentify_file
from medprm.images.deidentify_pseudonyms import read_secret
from medprm.images.deidentify_settings import DeidentifySettings
from medprm.images.files import ImageError, read_image_bytes, sniff_format

REPORT = "report.jsonl"


class Outcome(NamedTuple):
    """What became of one file: `written`, `held back` or `not DICOM`; the reason; the report's line."""

    source: Path
    kind: str
    reason: str = ""
    report: dict[str, Any] | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        settings = DeidentifySettings(
            secret_file=given.secret_file,
            keep_age_and_sex=not given.remove_age_and_sex,
            dates=given.dates,
            burned_in=given.burned_in,
            identifiers_file=given.identifiers_file,
        )
        read_secret(settings)
        if given.source.suffix == ".jsonl":
            return _run_records(given.source, given.target, settings, TextDeidentifySettings(given.names))
        return _run_folder(given.source, given.target, settings, given.workers)
    except (InputError, OSError) as error:
        print(f"deidentify: {error}", file=sys.stderr)
        return 2


def _run_folder(source: Path, target: Path, settings: DeidentifySettings, num_workers: int) -> int:
    files = _find_files(source, target)
    outcomes = list(tqdm(_clean_all(files, target, settings, num_workers), total=len(files), unit="file"))
    with replaced_file(target / REPORT) as draft:
        lines = [json.dumps(outcome.report) for outcome in outcomes if outcome.report is not None]
        draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for outcome in outcomes:
        if outcome.kind != "written":
            reason = outcome.reason.removeprefix(f"{outcome.source}: ")
            print(f"{outcome.kind}: {outcome.source}: {reason}", file=sys.stderr)
    print(_table(outcomes, target))
    return int(any(outcome.kind == "held back" for outcome in outcomes))


def _find_files(source: Path, target: Path) -> list[Path]:
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; expected a folder of DICOM files, or a .jsonl file of records")
    if target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{target}: lies inside {source}; cleaned files must not lie among the others")
    if target.exists() and any(target.iterdir()):
        raise InputError(f"{target}: is not empty; give a new folder, so that no other file lies among the cleaned")
    files = sorted(path for path in source.rglob("*") if path.is_file() and not path.is_symlink())
    if not files:
        raise InputError(f"{source}: holds no file")
    return files


def _clean_all(
    files: Sequence[Path], target: Path, settings: DeidentifySettings, num_workers: int
) -> Iterator[Outcome]:
    if num_workers <= 1:
        yield from (_clean_one(path, target, settings) for path in files)
        return
    with ProcessPoolExecutor(num_workers) as pool:
        yield from pool.map(_clean_one, files, [target] * len(files), [settings] * len(files), chunksize=8)


def _clean_one(path: Path, target: Path, settings: DeidentifySettings) -> Outcome:
    """Read, clean and write one file. Mistakes in settings are not caught: they concern all files."""
    try:
        data = read_image_bytes(path)
        if sniff_format(data, path) != "dicom":
            return Outcome(path, "not DICOM", "not written; convert it, or take it out of the folder")
    except ImageError as error:
        return Outcome(path, "not DICOM", str(error))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom quotes values
            dataset, report = deidentify_file(dcmread(io.BytesIO(data), force=True), settings)
            with replaced_file(target / report.patient / f"{report.sop_instance}.dcm") as draft:
                dataset.save_as(draft, enforce_file_format=True)
    except HeldBack as held:
        return Outcome(path, "held back", held.report.held_back, held.report.to_json())
    except ImageError:
        raise
    # pydicom raises some twenty unrelated types on a damaged file, and their texts may quote it.
    except Exception as error:
        return Outcome(path, "held back", f"cannot be read or written ({type(error).__name__}); damaged")
    return Outcome(path, "written", report=report.to_json())


def _table(outcomes: Iterable[Outcome], target: Path) -> str:
    outcomes = list(outcomes)
    kinds = Counter(outcome.kind for outcome in outcomes)
    removed: Counter[str] = Counter()
    reports = [outcome.report for outcome in outcomes if outcome.kind == "written" and outcome.report]
    for report in reports:
        removed.update(report["removed"])
    lines = [f"{len(outcomes)} files: " + ", ".join(f"{num} {kind}" for kind, num in kinds.most_common())]
    lines += [f"  {num:>8,} elements removed: {reason}" for reason, num in removed.most_common()]
    lines.append(f"  {sum(len(report['redacted']) for report in reports):>8,} pieces of text covered in the pixels")
    lines.append(f"{len({report['patient'] for report in reports})} patients, written to {target}")
    lines.append("The risk is lower, not gone: look at a sample before anything leaves the site.")
    return "\n".join(lines)


def _run_records(source: Path, target: Path, settings: DeidentifySettings, text: TextDeidentifySettings) -> int:
    if target.exists():
        raise InputError(f"{target}: exists; give another name")
    counts = clean_records(source, target, settings, text)
    num_left = counts.found.pop(LEFT_IN_PATHS, 0)
    found = ", ".join(f"{num} {kind}" for kind, num in sorted(counts.found.items())) or "nothing"
    print(f"{counts.num_records} records written to {target}; replaced in their texts: {found}")
    print("searched for the record's own ids alone: names of annotators, passages of documents")
    print(f"not changed: image paths of {counts.num_image_paths} records")
    if num_left:
        print(
            f"{num_left} ids of patients or cases stand in image paths, which are left: rename the files and the paths"
        )
    print("The risk is lower, not gone: read a sample before anything leaves the site.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.deidentify", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", type=Path, help="folder of DICOM files, or a .jsonl file of records")
    parser.add_argument("target", type=Path, help="folder (new or empty) or .jsonl file to write")
    parser.add_argument(
        "--secret-file", default="", help="file with the secret, 16 bytes or more (default: environment)"
    )
    parser.add_argument("--burned-in", choices=("redact", "hold", "off"), default="redact", help="text in the pixels")
    parser.add_argument("--dates", choices=("shift", "remove"), default="shift", help="dates in the header")
    parser.add_argument("--remove-age-and-sex", action="store_true", help="do not keep PatientAge and PatientSex")
    parser.add_argument("--identifiers-file", default="", help="identifiers to look for in every file, one a line")
    parser.add_argument("--names", choices=("lists", "patterns"), default="lists", help="how names in records are told")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
