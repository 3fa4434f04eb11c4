"""Make a data folder from a public set: `python -m medprm.commands.make_records SOURCE --from FOLDER --to FOLDER`.

In: the set as it is published, or the folder that holds it under its usual name. Out: train.jsonl, validation.jsonl
and test.jsonl, split by patient (or case), and dataset.json with the folder that image paths start from. No image is
copied. Prints what was read, kept and refused, and the labels of each split.
"""

import argparse
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medprm.annotation.consensus import label_steps
from medprm.annotation.settings import ConsensusSettings
from medprm.cases.atomic import replaced_file
from medprm.cases.folder import DESCRIPTION, SPLITS, SUFFIXES
from medprm.cases.formats.med_prm import load_med_prm
from medprm.cases.formats.mrben import load_mrben
from medprm.cases.jsonl import write_cases
from medprm.cases.reading import Reading
from medprm.cases.schema import CaseSolutions, Solution, Sources
from medprm.cases.sets.nih import read_nih
from medprm.cases.sets.vqa_rad import load_vqa_rad
from medprm.cases.splits import SHARES, check_leakage, split_by_patient
from medprm.errors import InputError

LABELS = ("correct", "incorrect", "neutral", "unknown")


@dataclass(frozen=True)
class Source:
    """A public set: the usual name of its folder, and its reader (folder, seed) -> Reading."""

    folder_name: str
    read: Callable[[Path, int], Reading]


def _read_nih(folder: Path, seed: int) -> Reading:
    cases = read_nih(folder, seed)
    return Reading(cases, sum(len(item.solutions) for item in cases), {})


def _read_med_prm(folder: Path, _seed: int) -> Reading:
    """Every source kept, and the label that the brief's rule makes of them; `annotate` is not needed for it."""
    files = sorted(folder.glob("*.json"))
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        raise InputError(f"{folder}: expected one .json file of Med-PRM's training records; found {names}")
    reading = load_med_prm(files[0])
    cases = [CaseSolutions(item.case, [_fused(one) for one in item.solutions]) for item in reading.cases]
    return reading._replace(cases=cases)


def _fused(solution: Solution) -> Solution:
    sources = [step.sources or Sources() for step in solution.solution_steps]
    steps = label_steps(solution.solution_steps, sources, ConsensusSettings())
    return solution.model_copy(update={"solution_steps": tuple(steps)})


SOURCES: dict[str, Source] = {
    "nih": Source("cxr_nih64", _read_nih),
    "med_prm": Source("med_prm", _read_med_prm),
    "mrben": Source("mrben_medicine", lambda folder, _seed: load_mrben(folder)),
    "vqa_rad": Source("vqa_rad", lambda folder, _seed: load_vqa_rad(folder)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 with one line on stderr for a mistake of the user."""
    given = _parser().parse_args(arguments)
    # Not by import: a library sets up no logging. Refusals are in the table; the log keeps the other warnings.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        make_records(given.source, given.origin, given.target, given.seed, given.overwrite)
    except (InputError, OSError) as error:
        print(f"make_records: {error}", file=sys.stderr)
        return 2
    return 0


def make_records(source: str, origin: Path, target: Path, seed: int = 0, overwrite: bool = False) -> None:
    """Read the set, split it, write the data folder, print the table."""
    existing = [path for name in SPLITS for suffix in SUFFIXES if (path := target / f"{name}{suffix}").exists()]
    if existing and not overwrite:
        raise InputError(f"{existing[0]} exists; give another --to, or --overwrite to replace the records there")
    folder = _find_folder(origin, SOURCES[source].folder_name)
    reading = SOURCES[source].read(folder, seed)
    splits = _split(reading.cases, seed)
    check_leakage(splits)
    for path in existing:
        path.unlink()
    for name, cases in splits.items():
        write_cases(target / f"{name}.jsonl", cases)
    _describe(target, source, folder, seed, reading, splits)
    print(_table(source, target, reading, splits))


def _find_folder(origin: Path, name: str) -> Path:
    if not origin.is_dir():
        raise InputError(f"--from {origin}: no such folder; expected the folder of the set, or one that holds {name}/")
    return origin / name if (origin / name).is_dir() else origin


def _split(cases: list[CaseSolutions], seed: int) -> dict[str, list[CaseSolutions]]:
    """By the split that the reader gave every case, else by patient. Cases that lost all solutions stay out."""
    usable = [item for item in cases if item.solutions]
    if not usable:
        raise InputError("no solution was kept, so there is nothing to write; see the reasons in the log")
    if all(item.case.metadata.split for item in usable):
        return {name: [item for item in usable if item.case.metadata.split == name] for name in SPLITS}
    return split_by_patient(usable, SHARES, seed)


def _describe(
    target: Path,
    source: str,
    folder: Path,
    seed: int,
    reading: Reading,
    splits: Mapping[str, Sequence[CaseSolutions]],
) -> None:
    counts = {
        "solutions_read": reading.num_read,
        "solutions_kept": reading.num_kept,
        "refused": dict(reading.refused),
        "left_out": dict(reading.left_out),
        "splits": {name: _split_counts(cases) for name, cases in splits.items()},
    }
    description: dict[str, object] = {"source": source, "seed": seed, "counts": counts}
    if any(item.case.all_images for item in reading.cases):
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


def _table(source: str, target: Path, reading: Reading, splits: Mapping[str, Sequence[CaseSolutions]]) -> str:
    counts = {name: _split_counts(cases) for name, cases in splits.items()}
    columns = list(next(iter(counts.values())))
    num_refused = reading.num_read - reading.num_kept
    lines = [f"{source}: {reading.num_read} solutions read, {reading.num_kept} kept, {num_refused} refused"]
    lines += [f"  refused {count}: {reason}" for reason, count in reading.refused.items()]
    lines += [f"  left out of {count} solutions: {what}" for what, count in reading.left_out.items()]
    lines.append(f"{'':12}" + "".join(f"{column:>11}" for column in columns))
    lines += [f"{name:12}" + "".join(f"{row[column]:>11,}" for column in columns) for name, row in counts.items()]
    lines.append(f"written to {target}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.make_records", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", choices=sorted(SOURCES), help="the public set to read")
    parser.add_argument("--from", dest="origin", type=Path, required=True, help="folder of the set, or one above it")
    parser.add_argument("--to", dest="target", type=Path, required=True, help="data folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the splits and of drawn solutions (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace records that the folder already holds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
