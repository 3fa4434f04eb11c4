"""Rows of a published file: JSON, JSON Lines, CSV or Parquet, each row with its place for messages.

In: a path (`.gz` is unpacked while reading). Out: `Row`s; a field that is absent or of another kind is a RecordError
that names file, row, field and value. Nothing is guessed: a row that does not fit is the caller's to refuse or count.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from medprm.cases.parsing import RecordError, parse_json

SHOWN = 60


@dataclass(frozen=True)
class Row:
    """One row, `where` it stands, and its fields by name."""

    where: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A text that is not blank, as it stands."""
        found = self.fields.get(name)
        if not isinstance(found, str) or not found.strip():
            raise self.error(name, "a text that is not blank")
        return found

    def optional_text(self, name: str) -> str | None:
        """The text, or None where the field is absent, null or blank."""
        found = self.fields.get(name)
        if found is None or (isinstance(found, str) and not found.strip()):
            return None
        return self.text(name)

    def word(self, name: str) -> str:
        """A text or a number, as text."""
        found = self.fields.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float | str) or not str(found).strip():
            raise self.error(name, "a text or a number")
        return str(found).strip()

    def integer(self, name: str) -> int:
        """A whole number; digits written as text count, since CSV has no numbers."""
        found = self.fields.get(name)
        if isinstance(found, int) and not isinstance(found, bool):
            return found
        if isinstance(found, str) and found.strip().removeprefix("-").isdecimal():
            return int(found)
        raise self.error(name, "a whole number")

    def flag(self, name: str) -> bool:
        """true or false."""
        found = self.fields.get(name)
        if not isinstance(found, bool):
            raise self.error(name, "true or false")
        return found

    def values(self, name: str) -> list[Any]:
        """A list, of whatever kind."""
        found = self.fields.get(name)
        if not isinstance(found, list):
            raise self.error(name, "a list")
        return found

    def texts(self, name: str) -> list[str]:
        """A list of texts; blank ones stay, since places in the list are counted."""
        found = self.values(name)
        if not all(isinstance(one, str) for one in found):
            raise self.error(name, "a list of texts")
        return found

    def rows(self, name: str) -> list["Row"]:
        """A list of objects."""
        found = self.values(name)
        if not all(isinstance(one, dict) for one in found):
            raise self.error(name, "a list of objects")
        return [Row(f"{self.where} {name} {place}", one) for place, one in enumerate(found)]

    def row(self, name: str) -> "Row":
        """An object."""
        found = self.fields.get(name)
        if not isinstance(found, dict):
            raise self.error(name, "an object")
        return Row(f"{self.where} {name}", found)

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """A text that is one of the allowed."""
        found = self.text(name)
        if found not in allowed:
            raise self.error(name, f"one of {', '.join(allowed)}")
        return found

    def error(self, name: str, expected: str) -> RecordError:
        """The error to raise for a field: where, which, its value, what is allowed."""
        shown = f"is {json.dumps(self.fields[name], default=str)[:SHOWN]}" if name in self.fields else "is absent"
        return RecordError(f"{self.where}: {name} {shown}; expected {expected}")


def read_rows(path: Path) -> Iterator[Row]:
    """Every row of the file, by its ending: .json (a list, an object of objects, or lines), .jsonl, .csv, .parquet."""
    name = path.name.removesuffix(".gz")
    if not path.is_file():
        raise RecordError(f"{path}: no such file")
    if name.endswith(".parquet"):
        return _parquet_rows(path)
    if name.endswith(".csv"):
        return read_csv_rows(path)
    text = read_text(path)
    if name.endswith(".jsonl") or _is_lines(text):
        return _line_rows(path, text)
    return _json_rows(path, text)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, unpacked where it ends in .gz."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8; save it as UTF-8") from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise RecordError(f"{path}: not a whole gzip file ({error}); get it again") from error


def _is_lines(text: str) -> bool:
    """Whether an opening object ends with its line and another follows: lines under the name .json."""
    first, _, rest = text.lstrip().partition("\n")
    return first.startswith("{") and first.rstrip().endswith("}") and rest.lstrip().startswith("{")


def _line_rows(path: Path, text: str) -> Iterator[Row]:
    # Split at \n only: str.splitlines would also split at U+2028 inside a text.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _object(parse_json(line, f"{path}:{number}"), f"{path}:{number}")


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    value = parse_json(text, str(path))
    if isinstance(value, dict) and not all(isinstance(one, dict) for one in value.values()):
        yield Row(f"{path}", value)  # one object: a file of lines with a single line
        return
    if isinstance(value, dict):
        # Keyed by id: the key is kept under "key".
        for key, one in value.items():
            row = _object(one, f"{path} key {key}")
            yield Row(row.where, {"key": key, **row.fields})
        return
    if not isinstance(value, list):
        raise RecordError(f"{path}: expected a JSON list of objects, or one object of objects")
    for place, one in enumerate(value):
        yield _object(one, f"{path} row {place}")


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise RecordError(f"{where}: {json.dumps(value)[:SHOWN]}; expected an object")
    return Row(where, value)


def read_csv_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Rows of a CSV file; `columns` names them where the file has no header."""
    if not path.is_file():
        raise RecordError(f"{path}: no such file")
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), columns)
    for number, fields in enumerate(reader):
        if None in fields or None in fields.values():
            raise RecordError(f"{path} row {number}: not as many cells as the header; expected {reader.fieldnames}")
        yield Row(f"{path} row {number}", fields)


def _parquet_rows(path: Path) -> Iterator[Row]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64):
            for fields in batch.to_pylist():
                yield Row(f"{path} row {number}", fields)
                number += 1
