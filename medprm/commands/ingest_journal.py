"""The journal of an ingest: one line a file, in the order of the walk, so that a killed run goes on where it stopped.

The first line says what the run was asked to do; a run that was asked something else does not go on with it. Every
other line is what became of one file. Since lines are in order, the tables are made by reading it from start to end,
and nothing needs to be held in memory but where each file's line begins.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from medprm.errors import InputError


class Entry(NamedTuple):
    """A file of the source: its path relative to it, size and time, and why it is refused without being opened."""

    path: str
    num_bytes: int
    mtime_ns: int
    refusal: str | None = None


def walk(root: Path, folder: str = "") -> Iterator[Entry]:
    """All files below `root`, sorted by name within each folder; links are never followed."""
    with os.scandir(root / folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_symlink():
            yield Entry(path, 0, 0, _why_no_link(root, path))
        elif entry.is_dir(follow_symlinks=False):
            yield from walk(root, path)
        else:
            status = entry.stat(follow_symlinks=False)
            yield Entry(path, status.st_size, status.st_mtime_ns, _why_not(path))


def _why_no_link(root: Path, path: str) -> str:
    target = (root / path).resolve()
    if target.is_relative_to(root.resolve()):
        return f"{shown(path)}: a link into the source; what it points to is read under its own name"
    return f"{shown(path)}: a link out of the source; copy what it points to into the source"


def _why_not(path: str) -> str | None:
    if "\\" in path or "://" in path or shown(path) != path:
        return f"{shown(path)}: a name that no record can hold (not UTF-8, or with a backslash or ://); rename the file"
    return None


def shown(path: str) -> str:
    """The path as text that any file can hold."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class Journal:
    """Appended to while the run goes, read when it is over."""

    def __init__(self, path: Path, asked: Mapping[str, Any], is_resumed: bool) -> None:
        self.path = path
        self.num_known = 0
        first = json.dumps(asked, sort_keys=True).encode() + b"\n"
        if is_resumed:
            self._check_and_cut(first)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(first)

    def _check_and_cut(self, first: bytes) -> None:
        """A line that was being written when the run was killed is cut off."""
        if not self.path.is_file():
            raise InputError(f"{self.path}: nothing to go on with; leave --resume out")
        with open(self.path, "rb+") as lines:
            if lines.readline() != first:
                raise InputError(f"{self.path}: another ingest was begun here; go on with its settings, or --overwrite")
            end = lines.tell()
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                self.num_known += 1
            lines.truncate(end)

    def check_known(self, entries: Iterator[Entry]) -> None:
        """The files that are known must still be the first of the source, unchanged."""
        for known in self.read():
            entry = next(entries, None)
            if entry is None or [*entry[:3]] != known["entry"][:3]:
                raise InputError(
                    f"{shown(known['entry'][0])}: the source has changed since this ingest was begun (a file was "
                    "added, removed or altered); begin again with --overwrite"
                )

    def append(self, file: BinaryIO, entry: Entry, outcome: Mapping[str, Any]) -> None:
        file.write(json.dumps({"entry": entry, **outcome}).encode() + b"\n")
        file.flush()

    def read(self) -> Iterator[dict[str, Any]]:
        """What became of the files, in order."""
        with open(self.path, "rb") as lines:
            lines.readline()
            for line in lines:
                yield json.loads(line)

    def places(self) -> dict[str, int]:
        """Path -> where its line begins."""
        found = {}
        with open(self.path, "rb") as lines:
            lines.readline()
            place = lines.tell()
            for line in lines:
                found[json.loads(line)["entry"][0]] = place
                place += len(line)
        return found

    def read_at(self, file: BinaryIO, place: int) -> dict[str, Any]:
        file.seek(place)
        return json.loads(file.readline())
