"""Where the cases of a verb come from: the built-in phantom set, or the user's folder.

In: data settings. Out: an opened data folder; its splits, checked for leaks, the train split with the labels of an
annotation run where one is named, and what is kept of them in run.json.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medprm.cases.folder import SPLITS, DataFolder, open_data
from medprm.cases.jsonl import read_cases
from medprm.cases.overlay import overlay
from medprm.cases.schema import CaseSolutions
from medprm.cases.splits import check_leakage
from medprm.commands.phantom import ensure_phantom
from medprm.config import DataSettings, LabelledSettings

logger = logging.getLogger(__name__)

PHANTOM_NOTE = "Phantom data: drawn by a program, with made-up findings and rules. It is not clinical data."

Splits = Mapping[str, Sequence[CaseSolutions]]


def open_source(settings: DataSettings, outputs: Path) -> DataFolder:
    """The user's data folder, or the phantom set, drawn below `outputs` where it is not there yet."""
    if settings.path is None:
        return open_data(ensure_phantom(outputs, settings.phantom, settings.annotators))
    return open_data(settings.path)


def read_splits(data: DataFolder) -> dict[str, list[CaseSolutions]]:
    """Every split that has a file; raises where a patient, a case or an image lies in two."""
    splits = {name: data.split(name) for name in SPLITS if data.has(name)}
    check_leakage(splits)
    return splits


def with_labels(splits: dict[str, list[CaseSolutions]], settings: LabelledSettings) -> dict[str, list[CaseSolutions]]:
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
