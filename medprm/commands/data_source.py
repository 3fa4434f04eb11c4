"""Where the cases of a verb come from: the built-in phantom set, or the user's folder.

In: data settings. Out: an opened data folder; its splits, checked for leaks, the train split with the labels of an
annotation run where one is named, and what is kept of them in run.json.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.fingerprints import check_images_apart
from medprm.cases.folder import SPLITS, DataFolder, open_data
from medprm.cases.jsonl import read_cases
from medprm.cases.overlay import overlay
from medprm.cases.schema import CaseSolutions
from medprm.cases.splits import check_leakage
from medprm.cases.stored import scan_cases
from medprm.commands.phantom import ensure_phantom
from medprm.config import DataSettings, LabelledSettings
from medprm.errors import InputError
from medprm.training.settings import MixSettings

logger = logging.getLogger(__name__)

PHANTOM_NOTE = "Phantom data: drawn by a program, with made-up findings and rules. It is not clinical data."

Splits = Mapping[str, Sequence[CaseSolutions]]


def open_source(settings: DataSettings, outputs: Path) -> DataFolder:
    """The user's data folder, or the phantom set, drawn below `outputs` where it is not there yet."""
    if settings.path is None:
        return open_data(ensure_phantom(outputs, settings.phantom, settings.annotators))
    return open_data(settings.path)


def read_splits(data: DataFolder, is_train_stored: bool = False) -> dict[str, Sequence[CaseSolutions]]:
    """Every split that has a file; raises where a patient, a case or an image lies in two.

    `is_train_stored`: the train split stays in its file.
    """
    splits: dict[str, Sequence[CaseSolutions]] = {
        name: scan_cases(data.file(name)) if is_train_stored and name == "train" else data.split(name)
        for name in SPLITS
        if data.has(name)
    }
    check_leakage(splits)
    return splits


class TrainingSet(NamedTuple):
    """One set that is trained on: its name, its cases, and where their images start."""

    name: str
    cases: Sequence[CaseSolutions]
    image_root: Path
    source: dict[str, Any]


def further_sets(settings: MixSettings, held_out: Splits, image_root: Path) -> list[TrainingSet]:
    """The train splits of `mix.sets`; raises where an image file of one is one of `held_out`, validation and test."""
    found = []
    for name, path in settings.sets.items():
        data = open_data(path)
        splits = read_splits(data, settings.streaming)
        if "train" not in splits:
            raise InputError(f"mix.sets.{name}={path}: no train split; expected train.jsonl or train.parquet in it")
        train = {"train": splits["train"]}
        held = [item.case for split in ("validation", "test") for item in held_out.get(split, ())]
        check_images_apart(
            (item.case for item in splits["train"]), data.image_root, held, image_root, f"mix.sets.{name}"
        )
        found.append(TrainingSet(name, splits["train"], data.image_root, describe_source(data, train)))
    return found


def with_labels(
    splits: dict[str, Sequence[CaseSolutions]], settings: LabelledSettings
) -> dict[str, Sequence[CaseSolutions]]:
    """The splits with the labels of an annotation run on the train split, where one is named."""
    if settings.path is None:
        return splits
    done = overlay(splits.get("train", []), read_cases(settings.path), settings.only, f"labelled.path={settings.path}")
    logger.info(
        "%d solutions have the labels of %s, %d keep their own, %d are left out",
        done.num_labelled,
        settings.path,
        done.num_kept,
        done.num_left_out,
    )
    return splits | {"train": done.cases}


def describe_source(data: DataFolder, splits: Splits, labelled: str | None = None) -> dict[str, Any]:
    """The data as run.json keeps it; `labelled` is the file of labels that took the place of the split's."""
    content_hash = data.content_hash()
    if labelled is not None:
        content_hash = hashlib.sha256(content_hash.encode() + Path(labelled).read_bytes()).hexdigest()
    return {
        "path": str(data.path),
        **({"labelled": labelled} if labelled else {}),
        "hash": content_hash,
        "read": {
            name: {
                "patients": len({item.case.group_id for item in cases}),
                "cases": len(cases),
                "solutions": sum(len(item.solutions) for item in cases),
                "steps": sum(len(one.solution_steps) for item in cases for one in item.solutions),
            }
            for name, cases in splits.items()
        },
    }


def describe_mix(source: dict[str, Any], sets: Sequence[TrainingSet]) -> dict[str, Any]:
    """The same with the sets that are mixed in."""
    if not sets:
        return source
    together = "".join([source["hash"], *(f"{one.name} {one.source['hash']}" for one in sets)])
    digest = hashlib.sha256(together.encode()).hexdigest()
    return source | {"hash": digest, "mixed_in": {one.name: one.source for one in sets}}
