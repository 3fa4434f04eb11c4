"""Records from a folder of DICOM: `python -m medprm.commands.ingest FOLDER --questions FILE --to FOLDER`.

In: a folder, searched through all its levels (DICOM, also PNG and JPEG), and a CSV of questions (columns:
docs/dicom.md) or one question for all files. Out, in the target: records.jsonl (with --split also train, validation
and test), dataset.json, files.csv with every file and what its header says, refused.csv with every file and question
that was refused and why, ingest.json with the counts; with --images png the pictures. Beside it `TARGET.journal`, what
a killed run needs to go on: --resume gives the same bytes as a run that was not killed.
Every file is opened in a worker process with a limit of memory and time.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.cases.deidentify_text import clean_text, find_identifying
from medprm.cases.questions import Question, read_questions
from medprm.cases.schema import Modality
from medprm.commands.ingest_file import FileTask, examine_file
from medprm.commands.ingest_journal import Entry, Journal, walk
from medprm.commands.ingest_records import default_questions, frames_by_file, group_rows
from medprm.commands.ingest_settings import IMAGES, IngestSettings
from medprm.commands.ingest_tables import OUTPUTS, print_table, write_outputs
from medprm.errors import InputError
from medprm.images.isolation import IsolationSettings, Item, Outcome, run_isolated

INTERRUPTED = 130


def ingest(settings: IngestSettings) -> dict[str, Any]:
    """Read all files, then make the records and tables. Returns the counts of ingest.json."""
    if settings.deidentify is not None:
        _check_deidentify(settings.deidentify)
        clean_text("", settings.text)  # raises where the lists of names are not installed
    rows = read_questions(settings.questions) if settings.questions else None
    if rows is not None:
        _check_rows(rows, settings)
        group_rows(rows)
    journal = _open_journal(settings)
    _read_files(journal, rows, settings)
    if rows is None:
        assert settings.question is not None
        rows = list(default_questions(journal, settings.question))
    return write_outputs(journal, rows, settings)


def _check_deidentify(given: Mapping[str, Any]) -> None:
    """Settings, library and secret, once and before a file is opened."""
    try:
        deidentify = import_module("medprm.images.deidentify")  # heavy (OCR), and of use to this option alone
    except ImportError as error:
        raise InputError(f"deidentify: not available here ({error}); leave --deidentify out") from error
    try:
        settings = deidentify.DeidentifySettings(**given)
    except TypeError as error:
        raise InputError(f"deidentify: {error}; expected settings of DeidentifySettings") from error
    deidentify.read_secret(settings)


def _check_rows(rows: Sequence[Question], settings: IngestSettings) -> None:
    if settings.deidentify is None:
        return
    for row in rows:
        if row.age is not None and row.age > 89:
            raise InputError(f"{row.where}: age {row.age} with deidentify; leave it empty, and the header's is capped")
        if find_identifying(row.case_id, TextDeidentifySettings("patterns")):
            raise InputError(
                f"{row.where}: case_id {row.case_id!r} looks like an identifier, and stays as it is with deidentify; "
                "count the cases instead"
            )
        if row.patient_id or (row.file and row.study_id):
            raise InputError(
                f"{row.where}: patient_id or study_id of your own with deidentify, which replaces those of the header; "
                "leave the column out"
            )


def _open_journal(settings: IngestSettings) -> Journal:
    existing = [path for name in OUTPUTS if (path := settings.target / name).exists()]
    if settings.working.exists():
        existing.append(settings.working)
    if settings.overwrite:
        for path in existing:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif existing and not settings.resume:
        raise InputError(f"{existing[0]} exists; give --resume to go on, --overwrite to replace it, or another --to")
    if settings.pictures and settings.pictures.is_dir():
        # What was being written when an earlier run was killed.
        for draft in settings.pictures.glob(".*.tmp"):
            draft.unlink()
    settings.target.mkdir(parents=True, exist_ok=True)
    return Journal(settings.working / "journal.jsonl", settings.asked(), settings.resume)


def _read_files(journal: Journal, rows: Sequence[Question] | None, settings: IngestSettings) -> None:
    """Every file that the journal does not know yet, in workers; the lines come in the order of the walk."""
    num_files = sum(1 for _entry in walk(settings.source))
    entries = walk(settings.source)
    journal.check_known(entries)
    waiting: list[Entry] = []
    with (
        open(journal.path, "ab") as file,
        tqdm(total=num_files, initial=journal.num_known, unit="file", disable=None, desc="ingest") as bar,
    ):
        for outcome in run_isolated(
            examine_file, _items(entries, journal, rows, settings, waiting), settings.isolation
        ):
            journal.append(file, waiting.pop(0), _line(outcome))
            bar.update()


def _items(
    entries: Iterator[Entry],
    journal: Journal,
    rows: Sequence[Question] | None,
    settings: IngestSettings,
    waiting: list[Entry],
) -> Iterator[Item]:
    asked = frames_by_file(rows) if rows is not None else {}
    # A study's files are known only once they are read.
    asks_all = rows is None or any(row.file is None for row in rows)
    for number, entry in enumerate(entries, start=journal.num_known + 1):
        waiting.append(entry)
        task = FileTask(
            root=str(settings.source),
            path=entry.path,
            frames=asked.get(entry.path, (None,) if asks_all else ()),
            windows=settings.windows,
            pictures=str(settings.pictures) if settings.pictures else None,
            stem=f"{number:06d}",
            deidentify=dict(settings.deidentify) if settings.deidentify is not None else None,
            refusal=entry.refusal,
        )
        yield Item(entry.path, task.value)


def _line(outcome: Outcome) -> dict[str, Any]:
    if outcome.refusal is not None:
        return {"status": "refused", "reason": outcome.refusal, "notes": outcome.notes}
    return {"status": "read", **outcome.result, "notes": outcome.notes}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, 2 with one line on stderr for a mistake of the user, 130."""
    given = _parser().parse_args(arguments)
    begin = time.monotonic()
    try:
        settings = _settings(given)
        counts = ingest(settings)
    except (InputError, OSError) as error:
        print(f"ingest: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ingest: interrupted; --resume goes on", file=sys.stderr)
        return INTERRUPTED
    print_table(counts, settings.target, time.monotonic() - begin)
    return 0


def _settings(given: argparse.Namespace) -> IngestSettings:
    return IngestSettings(
        source=given.source,
        target=given.target,
        questions=given.questions,
        question=given.question,
        images=given.images,
        windows=tuple(given.windows.split(",")) if given.windows else (),
        modality=given.modality,
        max_images=given.max_images,
        split=given.split,
        seed=given.seed,
        deidentify=_deidentify(given.deidentify),
        text=_text(given),
        isolation=IsolationSettings(given.workers, given.seconds_per_file, given.memory_mib),
        resume=given.resume,
        overwrite=given.overwrite,
    )


def _deidentify(pairs: Sequence[str] | None) -> dict[str, Any] | None:
    """`--deidentify secret_file=FILE burned_in=redact` -> the settings that are not as they come."""
    if pairs is None:
        return None
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"--deidentify {pair}; expected NAME=VALUE, such as secret_file=FILE")
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs}


def _text(given: argparse.Namespace) -> TextDeidentifySettings:
    if given.names is None:
        return TextDeidentifySettings()
    if given.deidentify is None:
        raise InputError("--names without --deidentify has no effect; leave it out")
    return TextDeidentifySettings(given.names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.ingest", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    limits = IsolationSettings()
    parser.add_argument("source", type=Path, help="folder of DICOM files")
    parser.add_argument("--to", dest="target", type=Path, required=True, help="folder to write")
    parser.add_argument("--questions", type=Path, help="CSV with columns question and file (or study_id), and more")
    parser.add_argument("--question", help="one question for every readable file, in the place of a CSV")
    parser.add_argument("--images", choices=IMAGES, default="keep", help="keep the files, or write 8-bit PNG")
    parser.add_argument("--windows", help="with --images png: CT windows, such as lung,mediastinum,bone or 40/400")
    parser.add_argument(
        "--modality",
        choices=[one for one in get_args(Modality) if one != "text"],
        help="of cases whose row does not say; else the header's",
    )
    parser.add_argument("--max-images", type=int, default=8, help="most images of one case (default 8)")
    parser.add_argument("--split", action="store_true", help="also write train, validation and test, by patient")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default 0)")
    parser.add_argument("--deidentify", nargs="*", metavar="NAME=VALUE", help="de-identify, with these settings")
    parser.add_argument(
        "--names", choices=("lists", "patterns"), help="with --deidentify: how names in texts are told (default lists)"
    )
    parser.add_argument("--workers", type=int, default=limits.num_workers, help="worker processes (default 2)")
    parser.add_argument("--seconds-per-file", type=float, default=limits.seconds_per_file, help="default 60")
    parser.add_argument("--memory-mib", type=int, default=1536, help="memory of a worker for one file (default 1536)")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was killed")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run has written")
    return parser


if __name__ == "__main__":
    sys.exit(main())
