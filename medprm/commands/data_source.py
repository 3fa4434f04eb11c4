"""Where the cases of a verb come from: the built-in phantom set, or the user's folder.

In: data settings. Out: an opened data folder; its splits, checked for leaks, and what is kept of them in run.json.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medprm.cases.folder import SPLITS, DataFolder, open_data
from medprm.cases.schema import CaseSolutions
from medprm.cases.splits import check_leakage
from medprm.commands.phantom import ensure_phantom
from medprm.config import DataSettings

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


def describe_source(data: DataFolder, splits: Splits) -> dict[str, Any]:
    """The data as run.json keeps it."""
    return {
        "path": str(data.path),
        "hash": data.content_hash(),
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
