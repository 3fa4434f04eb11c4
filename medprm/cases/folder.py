"""A data folder: `train`, `validation` and `test` as .jsonl or .parquet, and optionally `dataset.json`.

`dataset.json` is an object; its `image_root` says where image paths start (relative ones are taken from the data
folder; default: the data folder itself), its `split` whether the splits are the publisher's (`official`) or ours
(`drawn`). What else it holds is for the reader (where the data came from, counts).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medprm.cases.jsonl import RecordError, read_cases
from medprm.cases.parsing import parse_json
from medprm.cases.schema import CaseSolutions

SPLITS = ("train", "validation", "test")
SUFFIXES = (".jsonl", ".parquet")
DESCRIPTION = "dataset.json"
OFFICIAL, DRAWN, NOT_STATED = "official", "drawn", "not stated"


@dataclass(frozen=True)
class DataFolder:
    """An opened data folder; files are read when asked for."""

    path: Path
    image_root: Path

    def has(self, name: str) -> bool:
        """Whether the split `name` has a file."""
        return self._find(name) is not None

    def file(self, name: str) -> Path:
        """The file of the split `name`; RecordError where there is none."""
        found = self._find(name)
        if found is None:
            raise RecordError(f"{self.path}: no file {name}.jsonl or {name}.parquet; {_what_is_expected()}")
        return found

    def split(self, name: str, require_steps: bool = True) -> list[CaseSolutions]:
        """The cases of one split in file order; without `require_steps`, cases without solutions may be among them."""
        return read_cases(self.file(name), require_steps=require_steps)

    def split_origin(self) -> str:
        """Who made the splits, as dataset.json says: `official`, `drawn` or `not stated`."""
        given = _description(self.path).get("split", NOT_STATED)
        if given not in (OFFICIAL, DRAWN, NOT_STATED):
            raise RecordError(f"{self.path / DESCRIPTION}: split {given!r}; expected {OFFICIAL} or {DRAWN}")
        return given

    def content_hash(self) -> str:
        """sha256 over the split files, names and contents: the same hash, the same records. Images are not read."""
        digest = hashlib.sha256()
        for name in SPLITS:
            found = self._find(name)
            if found is None:
                continue
            with open(found, "rb") as content:
                file_hash = hashlib.file_digest(content, "sha256").hexdigest()
            digest.update(f"{found.name} {file_hash}\n".encode())
        return digest.hexdigest()

    def _find(self, name: str) -> Path | None:
        assert name in SPLITS, f"split {name!r}; expected one of {SPLITS}"
        found = [file for suffix in SUFFIXES if (file := self.path / f"{name}{suffix}").is_file()]
        if len(found) > 1:
            raise RecordError(f"{self.path}: both {found[0].name} and {found[1].name} exist; expected one of them")
        return found[0] if found else None


def open_data(path: str | Path) -> DataFolder:
    """The data folder at `path`. RecordError where it, all its splits or its image root are missing."""
    path = Path(path)
    if not path.is_dir():
        raise RecordError(f"{path}: no such data folder; {_what_is_expected()}")
    folder = DataFolder(path, _image_root(path))
    if not any(folder.has(name) for name in SPLITS):
        raise RecordError(f"{path}: no records in this folder; {_what_is_expected()}")
    return folder


def _description(path: Path) -> dict[str, Any]:
    """What dataset.json holds; nothing where there is none."""
    description = path / DESCRIPTION
    if not description.is_file():
        return {}
    try:
        text = description.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecordError(f"{description}: not UTF-8; save it as UTF-8") from None
    value = parse_json(text, str(description))
    if not isinstance(value, dict):
        raise RecordError(f"{description}: expected one JSON object")
    return value


def _image_root(path: Path) -> Path:
    description, given = path / DESCRIPTION, _description(path).get("image_root", ".")
    if not isinstance(given, str):
        raise RecordError(f"{description}: image_root {given!r}; expected the path of a folder")
    root = path / given
    if not root.is_dir():
        raise RecordError(f"{description}: image_root {given!r} is no folder; set it to where the images lie")
    return root


def _what_is_expected() -> str:
    return (
        "expected a folder with train.jsonl, validation.jsonl and test.jsonl "
        "(python -m medprm.commands.make_records makes one)"
    )
