"""Cases that stay in their file: for sets larger than memory.

In: a JSON Lines file of records. Out: `StoredCases`, a sequence of cases with their solutions, each parsed when asked
for. It is read through once at the start, as strictly as `jsonl.read_cases`; kept are places in the file, about a
hundred bytes a solution. Several processes may read one at a time; nothing is copied and no file is written.
"""

import hashlib
import os
from abc import abstractmethod
from array import array
from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

from medprm.cases.jsonl import check_agreement, check_first_use, check_steps, located_lines
from medprm.cases.parsing import RecordError, parse_record
from medprm.cases.schema import SOLUTION_FIELDS, Case, CaseSolutions, Record


class _Known(NamedTuple):
    """What the scan remembers of a case: its number, its first line, the sum of its fields, its solutions' ids."""

    number: int
    where: str
    offset: int
    digest: bytes
    solution_ids: dict[str, str]


class _Cases(Sequence[CaseSolutions]):
    """A sequence by `__len__`, `_one`, the case at an index, and `_some`, those of a slice."""

    @overload
    def __getitem__(self, index: int) -> CaseSolutions: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[CaseSolutions]: ...
    def __getitem__(self, index: int | slice) -> CaseSolutions | Sequence[CaseSolutions]:
        if isinstance(index, slice):
            return self._some(range(*index.indices(len(self))))
        return self._one(index)

    def _some(self, numbers: range) -> Sequence[CaseSolutions]:
        return [self[number] for number in numbers]

    @abstractmethod
    def _one(self, index: int) -> CaseSolutions: ...


class StoredCases(_Cases):
    """Cases in the order of their first lines; `lines[i]` are the byte offsets of the lines of case i."""

    def __init__(self, path: Path, lines: Sequence[Sequence[int]]) -> None:
        self.path = path
        self.lines = lines
        self._state = _state(path)
        self._file: int | None = None

    def __len__(self) -> int:
        return len(self.lines)

    def _one(self, index: int) -> CaseSolutions:
        records = [self._record(offset) for offset in self.lines[index]]
        solutions = [one.solution() for one in records if one.model_fields_set & SOLUTION_FIELDS]
        return CaseSolutions(records[0].case(), solutions)

    def _some(self, numbers: range) -> "StoredCases":
        return StoredCases(self.path, [self.lines[number] for number in numbers])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}  # a process of its own opens the file for itself

    def _record(self, offset: int) -> Record:
        if self._file is None:
            if _state(self.path) != self._state:
                raise RecordError(f"{self.path}: the file changed while it was in use; start again")
            self._file = os.open(self.path, os.O_RDONLY)
        return parse_record(_line_at(self._file, offset).decode("utf-8"), f"{self.path} byte {offset}")


@dataclass(frozen=True)
class ChosenCases(_Cases):
    """Some solutions of some cases of another sequence: `places` has the case's number and those of its solutions."""

    cases: Sequence[CaseSolutions]
    places: Sequence[tuple[int, Sequence[int]]]

    def __len__(self) -> int:
        return len(self.places)

    def _one(self, index: int) -> CaseSolutions:
        number, chosen = self.places[index]
        item = self.cases[number]
        return CaseSolutions(item.case, [item.solutions[one] for one in chosen])


@dataclass(frozen=True)
class ChainedCases(_Cases):
    """Several sequences of cases, one after the other, none of them read."""

    parts: Sequence[Sequence[CaseSolutions]]

    def __len__(self) -> int:
        return sum(len(one) for one in self.parts)

    def __iter__(self) -> Iterator[CaseSolutions]:
        for one in self.parts:
            yield from one

    def _one(self, index: int) -> CaseSolutions:
        place = range(len(self))[index]
        for one in self.parts:
            if place < len(one):
                return one[place]
            place -= len(one)
        raise IndexError(index)


def scan_cases(path: Path, require_steps: bool = True) -> StoredCases:
    """Read the file through once. RecordError as in `jsonl.read_cases(path, require_steps)`."""
    if path.suffix == ".parquet":
        raise RecordError(
            f"{path}: cases are taken from their file by line, which Parquet has not; write it as .jsonl "
            "(write_records of medprm.cases.jsonl), or read it as a whole: mix.streaming=false"
        )
    known: dict[str, _Known] = {}
    lines: list[MutableSequence[int]] = []
    for where, record, offset in located_lines(path):
        if require_steps:
            check_steps(record, where)
        case = record.case()
        digest = _digest(case)
        first = known.setdefault(record.case_id, _Known(len(lines), where, offset, digest, {}))
        if first.number == len(lines):
            lines.append(array("q"))
        elif first.digest != digest:
            with open(path, "rb") as opened:
                line = _line_at(opened.fileno(), first.offset)
            check_agreement(parse_record(line.decode("utf-8"), first.where).case(), record, first.where, where)
        if record.solution_id is not None:
            check_first_use(record, where, first.solution_ids.setdefault(record.solution_id, where))
        lines[first.number].append(offset)
    return StoredCases(path, lines)


def _digest(case: Case) -> bytes:
    """Cases that agree on every field have the same, whether or not a field was given."""
    return hashlib.blake2b(case.model_dump_json(exclude_defaults=True).encode(), digest_size=16).digest()


def _line_at(file: int, offset: int, block: int = 1 << 16) -> bytes:
    """The line that begins at `offset`; the place in the file that others read from does not move."""
    parts: list[bytes] = []
    while part := os.pread(file, block, offset):
        end = part.find(b"\n")
        if end >= 0:
            return b"".join([*parts, part[:end]])
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
