"""Files of records: JSON Lines (UTF-8, one object a line), or Parquet where the name ends in `.parquet`.

Reading is strict and says where: `cases.jsonl:17 case cxr_0042 step 3: label 'maybe'; expected correct, ...`.
Writing is atomic, and a record that was read is written back with exactly its fields.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from medprm.cases import parquet
from medprm.cases.atomic import replaced_file
from medprm.cases.parsing import RecordError, parse_record, record_text
from medprm.cases.schema import (
    CASE_FIELDS,
    SOLUTION_FIELDS,
    Case,
    CaseSolutions,
    Record,
    Solution,
    join,
)

__all__ = [
    "RecordError",
    "read_cases",
    "read_records",
    "records_of",
    "write_cases",
    "write_records",
]


class Located(NamedTuple):
    """A record and its place, `cases.jsonl:17`; `offset` [bytes] of its line, 0 in a file without lines."""

    where: str
    record: Record
    offset: int = 0


def read_records(path: str | Path) -> Iterator[Record]:
    """The records of a file in order, read lazily. RecordError for anything that is not as it should be."""
    for located in _read_located(Path(path)):
        yield located.record


def write_records(path: str | Path, records: Iterable[Record]) -> int:
    """Write all records, or leave the file as it was. Returns how many; none at all is a RecordError."""
    path = Path(path)
    with replaced_file(path) as draft:
        if path.suffix == ".parquet":
            num_records = parquet.write_table(draft, records, str(path))
        else:
            num_records = _write_lines(draft, records, str(path))
        if num_records == 0:
            raise RecordError(f"{path}: no records to write; expected at least one")
    return num_records


def read_cases(path: str | Path, require_steps: bool = False) -> list[CaseSolutions]:
    """Cases in the order of their first lines, each with its solutions in file order; lines may be interleaved.

    Lines of one `case_id` must agree on the case's fields and differ in `solution_id`. A line without any field of
    a solution is a case alone; with `require_steps` it is refused, as is a solution without steps.
    """
    cases: dict[str, CaseSolutions] = {}
    first_places: dict[str, str] = {}
    solution_places: dict[tuple[str, str], str] = {}
    for where, record, _ in _read_located(Path(path)):
        if require_steps:
            check_steps(record, where)
        known = cases.get(record.case_id)
        if known is None:
            cases[record.case_id] = known = CaseSolutions(record.case(), [])
            first_places[record.case_id] = where
        else:
            check_agreement(known.case, record, first_places[record.case_id], where)
        if not record.model_fields_set & SOLUTION_FIELDS:
            continue
        if record.solution_id is not None:
            check_first_use(record, where, solution_places.setdefault((record.case_id, record.solution_id), where))
        known.solutions.append(record.solution())
    return list(cases.values())


def write_cases(path: str | Path, cases: Iterable[CaseSolutions]) -> int:
    """Write cases as records, one line a solution. Returns the number of lines."""
    return write_records(path, records_of(cases))


def records_of(cases: Iterable[CaseSolutions]) -> Iterator[Record]:
    """One record a solution; a case without solutions gives one record with the case alone."""
    for case, solutions in cases:
        if not solutions:
            yield join(case, Solution())
        for solution in solutions:
            yield join(case, solution)


def located_lines(path: Path) -> Iterator[Located]:
    """The records of a JSON Lines file with their places; as strict as `read_records`."""
    assert path.suffix != ".parquet", path
    return _read_located(path)


def _read_located(path: Path) -> Iterator[Located]:
    if not path.is_file():
        raise RecordError(f"{path}: no such file; expected a file of records (.jsonl or .parquet)")
    located = _read_parquet(path) if path.suffix == ".parquet" else _read_lines(path)
    empty = True
    for item in located:
        empty = False
        yield item
    if empty:
        raise RecordError(f"{path}: the file is empty; expected at least one record")


def _read_lines(path: Path) -> Iterator[Located]:
    # Bytes are split at \n only: str.splitlines would also split at U+2028 inside a text.
    begin = 0
    with open(path, "rb") as lines:
        for number, raw in enumerate(lines, start=1):
            where, offset, begin = f"{path}:{number}", begin, begin + len(raw)
            if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
                raise RecordError(f"{where}: the file opens with a byte order mark; save it as UTF-8 without one")
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise RecordError(f"{where}: byte {error.start + 1} of the line is not UTF-8; save as UTF-8") from None
            if not text.strip():
                raise RecordError(f"{where}: the line is blank; expected one JSON object a line")
            yield Located(where, parse_record(text, where), offset)


def _read_parquet(path: Path) -> Iterator[Located]:
    for number, text in enumerate(parquet.read_table(path), start=1):
        where = f"{path} row {number}"
        yield Located(where, parse_record(text, where))


def _write_lines(path: Path, records: Iterable[Record], shown: str) -> int:
    num_records = 0
    with open(path, "w", encoding="utf-8", newline="\n") as lines:
        for num_records, record in enumerate(records, start=1):
            lines.write(record_text(record, f"{shown}:{num_records}") + "\n")
    return num_records


def check_steps(record: Record, where: str) -> None:
    """RecordError where the record has no steps."""
    if not record.solution_steps:
        raise RecordError(f"{where} case {record.case_id}: no solution_steps; expected at least one step")


def check_first_use(record: Record, where: str, first: str) -> None:
    """RecordError where the record's `solution_id` was first used elsewhere in its case, at `first`."""
    if first != where:
        raise RecordError(
            f"{where} case {record.case_id}: solution_id {record.solution_id!r} was already used at {first}; "
            "expected another one for each solution of a case"
        )


def check_agreement(case: Case, record: Record, first: str, where: str) -> None:
    """RecordError where the record's case differs from `case`, which stands at `first`."""
    for name in Case.model_fields:
        if getattr(case, name) != getattr(record, name):
            raise RecordError(
                f"{where} case {case.case_id}: {name} differs from that at {first}; "
                "lines with the same case_id must agree on the case's fields"
            )


assert not CASE_FIELDS & SOLUTION_FIELDS, "a field of a record belongs to the case or to the solution"
