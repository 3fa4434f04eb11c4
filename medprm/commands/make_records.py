"""Make a data folder from a public set: `python -m medprm.commands.make_records SET --from FOLDER --to FOLDER`.

In: the set as it is published, or the folder that holds it under its usual name; for sets of step labels also one file.
Out: train.jsonl, validation.jsonl and test.jsonl by the official split where there is one, else by patient (or case),
and dataset.json with the folder that image paths start from, and `split`, which says which of the two it was. No image
is copied; those inside a table or volume are written out. Prints what was read, kept and refused, and the labels of
each split. `list` as SET shows all sets.
"""

import argparse
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medprm.annotation.consensus import label_steps
from medprm.annotation.settings import ConsensusSettings
from medprm.cases.atomic import replaced_file
from medprm.cases.folder import DESCRIPTION, DRAWN, OFFICIAL, SPLITS, SUFFIXES
from medprm.cases.formats.table import FORMATS, READ_FORMATS, load_format
from medprm.cases.jsonl import write_cases
from medprm.cases.reading import Reading
from medprm.cases.schema import CaseSolutions, Solution, Sources
from medprm.cases.sets.origin import Origin
from medprm.cases.sets.table import REFUSED, SETS, load_set
from medprm.cases.splits import SHARES, SplitError, check_leakage, split_by_patient
from medprm.errors import InputError

LABELS = ("correct", "incorrect", "neutral", "unknown")
# Usual names of the folders of step-labelled sets, where they differ from the format's name.
FORMAT_FOLDERS = {"mrben": "mrben_medicine", "medec": "prm_medec"}
LIST = "list"


class Found(NamedTuple):
    """What was read, where image paths start, what dataset.json says beside, and who drew the splits in the reading."""

    reading: Reading
    image_root: Path
    about: dict[str, Any]
    is_split_drawn: bool = False


def _fused(solution: Solution) -> Solution:
    """Every source kept, and the label that the brief's rule makes of them; `annotate` is not needed for it."""
    sources = [step.sources or Sources() for step in solution.solution_steps]
    steps = label_steps(solution.solution_steps, sources, ConsensusSettings())
    return solution.model_copy(update={"solution_steps": tuple(steps)})


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 with one line on stderr for a mistake of the user."""
    given = _parser().parse_args(arguments)
    # Not by import: a library sets up no logging. Refusals are in the table; the log keeps the other warnings.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if given.source == LIST:
        print(list_sets())
        return 0
    if given.origin is None or given.target is None:
        _parser().error("--from and --to are required")
    try:
        make_records(given.source, given.origin, given.target, given.seed, given.overwrite, given.limit, given.resplit)
    except (InputError, OSError) as error:
        print(f"make_records: {error}", file=sys.stderr)
        return 2
    return 0


def make_records(
    source: str,
    origin: Path,
    target: Path,
    seed: int = 0,
    overwrite: bool = False,
    limit: int | None = None,
    resplit: bool = False,
) -> None:
    """Read the set, split it, write the data folder, print the table.

    `limit`: at most so many cases of each official split, drawn by the seed (sets of questions and images only).
    `resplit`: leave the official split aside and split by patient.
    """
    existing = [path for name in SPLITS for suffix in SUFFIXES if (path := target / f"{name}{suffix}").exists()]
    if existing and not overwrite:
        raise InputError(f"{existing[0]} exists; give another --to, or --overwrite to replace the records there")
    found = _read_format(source, origin, limit) if source in FORMATS else _read_set(source, origin, target, seed, limit)
    splits = _split(found.reading, seed, resplit)
    _check_splits(splits)
    for path in existing:
        path.unlink()
    for name, cases in splits.items():
        write_cases(target / f"{name}.jsonl", cases)
    is_official = not found.is_split_drawn and all(
        item.case.metadata.split for part in splits.values() for item in part
    )
    found.about["split"] = OFFICIAL if is_official else DRAWN
    _describe(target, source, seed, found, splits)
    print(_table(source, target, found.reading, splits, found.about.get("published")))


def list_sets() -> str:
    """One line a set: name, kind, licence, who may have it."""
    sets = [f"{name:20} cases        {one.licence}; {one.access}" for name, one in SETS.items()]
    formats = [f"{name:20} step labels  {one.licence}" for name, one in FORMATS.items() if one.is_read]
    return "\n".join([*sets, *formats, *(f"{name:20} refused      {reason}" for name, reason in REFUSED.items())])


def _read_set(source: str, origin: Path, target: Path, seed: int, limit: int | None) -> Found:
    if source in REFUSED:
        raise InputError(f"{source}: {REFUSED[source]}")
    chosen = SETS[source]
    place = Origin(_find_folder(origin, chosen.folder_name), target, seed, limit)
    reading = load_set(source, place)
    if limit is not None and reading.unit != "cases":
        raise InputError(f"--limit {limit}: {source} comes with solutions and is read whole; leave --limit out")
    about: dict[str, Any] = {"licence": chosen.licence, "access": chosen.access, "zone": chosen.zone}
    if chosen.published and limit is None:
        about["published"] = chosen.num_published
    return Found(reading, target if place.has_written else place.folder, about, chosen.is_split_drawn)


def _read_format(source: str, origin: Path, limit: int | None) -> Found:
    if limit is not None:
        raise InputError(f"--limit {limit}: {source} is read whole; leave --limit out")
    folder = origin if origin.is_file() else _find_folder(origin, FORMAT_FOLDERS.get(source, source))
    reading = load_format(source, folder)
    if source == "med_prm":
        fused = [CaseSolutions(item.case, [_fused(one) for one in item.solutions]) for item in reading.cases]
        reading = reading._replace(cases=fused)
    root = folder.parent if folder.is_file() else folder
    return Found(reading, root, {"licence": FORMATS[source].licence})


def _find_folder(origin: Path, name: str) -> Path:
    if not origin.is_dir():
        raise InputError(f"--from {origin}: no such folder; expected the folder of the set, or one that holds {name}/")
    return origin / name if (origin / name).is_dir() else origin


def _split(reading: Reading, seed: int, resplit: bool) -> dict[str, list[CaseSolutions]]:
    """By the split that the reader gave every case, else by patient. Cases that lost all solutions stay out."""
    usable = [item for item in reading.cases if item.solutions or reading.unit == "cases"]
    if not usable:
        reasons = "; ".join(f"{count}: {reason}" for reason, count in reading.refused.items()) or "none was there"
        raise InputError(f"no {reading.unit[:-1]} was kept, so there is nothing to write ({reasons})")
    if all(item.case.metadata.split for item in usable) and not resplit:
        official = {name: [item for item in usable if item.case.metadata.split == name] for name in SPLITS}
        return {name: cases for name, cases in official.items() if cases}
    return split_by_patient([_without_split(item) for item in usable], SHARES, seed)


def _without_split(item: CaseSolutions) -> CaseSolutions:
    """The case without a split that was left aside, so that no file says `test` of a case in train.jsonl."""
    metadata = item.case.metadata.model_copy(update={"split": None})
    return item._replace(case=item.case.model_copy(update={"metadata": metadata})) if item.case.metadata.split else item


def _check_splits(splits: Mapping[str, Sequence[CaseSolutions]]) -> None:
    try:
        check_leakage(splits)
    except SplitError as error:
        if any(item.case.metadata.split for cases in splits.values() for item in cases):
            raise SplitError(f"{error}. The official split leaks: --resplit leaves it aside") from None
        raise


def _describe(
    target: Path, source: str, seed: int, found: Found, splits: Mapping[str, Sequence[CaseSolutions]]
) -> None:
    reading, folder = found.reading, found.image_root
    counts = {
        f"{reading.unit}_read": reading.num_read,
        f"{reading.unit}_kept": reading.num_kept,
        "refused": dict(reading.refused),
        "left_out": dict(reading.left_out),
        "splits": {name: _split_counts(cases) for name, cases in splits.items()},
    }
    description: dict[str, object] = {"source": source, **found.about, "seed": seed, "counts": counts}
    if folder != target and any(item.case.all_images for item in reading.cases):
        # A relative --from is relative to where the command ran; readers take it from the data folder.
        root = folder if folder.is_absolute() else Path(os.path.relpath(folder.resolve(), target.resolve()))
        description = {"image_root": str(root), **description}
    with replaced_file(target / DESCRIPTION) as draft:
        draft.write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _split_counts(cases: Sequence[CaseSolutions]) -> dict[str, int]:
    labels = Counter(label for item in cases for solution in item.solutions for label in solution.labels)
    return {
        "patients": len({item.case.group_id for item in cases}),
        "cases": len(cases),
        "solutions": sum(len(item.solutions) for item in cases),
        "steps": labels.total(),
        **{label: labels[label] for label in LABELS},
    }


def _table(
    source: str,
    target: Path,
    reading: Reading,
    splits: Mapping[str, Sequence[CaseSolutions]],
    published: int | None,
) -> str:
    counts = {name: _split_counts(cases) for name, cases in splits.items()}
    columns = list(next(iter(counts.values())))
    num_refused = reading.num_read - reading.num_kept
    lines = [f"{source}: {reading.num_read} {reading.unit} read, {reading.num_kept} kept, {num_refused} refused"]
    lines += [f"  refused {count}: {reason}" for reason, count in reading.refused.items()]
    lines += [f"  left out of {count} {reading.unit}: {what}" for what, count in reading.left_out.items()]
    if published is not None and published != reading.num_read:
        lines.append(f"  the set has {published:,} as published; this folder has {reading.num_read:,}")
    lines.append(f"{'':12}" + "".join(f"{column:>11}" for column in columns))
    lines += [f"{name:12}" + "".join(f"{row[column]:>11,}" for column in columns) for name, row in counts.items()]
    lines.append(f"written to {target}")
    return "\n".join(lines)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; expected 1 or more")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.make_records", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = sorted([*SETS, *READ_FORMATS, *REFUSED])
    parser.add_argument("source", metavar="SET", choices=[*names, LIST], help="the public set to read: %(choices)s")
    parser.add_argument("--from", dest="origin", type=Path, help="folder of the set, or one above it")
    parser.add_argument("--to", dest="target", type=Path, help="data folder to write")
    parser.add_argument(
        "--limit",
        type=_positive,
        help="at most so many cases of each split (of each file of several), drawn by the seed",
    )
    parser.add_argument("--resplit", action="store_true", help="leave the official split aside and split by patient")
    parser.add_argument("--seed", type=int, default=0, help="of the splits and of drawn solutions (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace records that the folder already holds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
