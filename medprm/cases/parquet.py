"""Records as Parquet (pyarrow), with the same content as the JSON Lines file and readable by Hugging Face `datasets`.

Layout: one row a record, one column a top-level field. Texts, `is_correct` and `options` are native columns; the
nested fields are JSON text. A field that was not given is null in its column; one that was given as null is named
in the column `null_fields`. So a file goes through unchanged in both directions, which nested columns cannot do:
they give every step every field.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from medprm.cases.parsing import RecordError, parse_json
from medprm.cases.schema import Record, to_json
from medprm.errors import InputError

TEXT_COLUMNS = ("case_id", "patient_id", "modality", "question", "solution_id", "generator", "answer")
NATIVE_COLUMNS = (*TEXT_COLUMNS, "is_correct", "options")
NULL_FIELDS = "null_fields"
JSON_COLUMNS = tuple(name for name in Record.model_fields if name not in NATIVE_COLUMNS)
ROWS_PER_GROUP = 1000


def write_table(path: Path, records: Iterable[Record], shown: str) -> int:
    """Write the records to `path`; `shown` names the file in errors. Returns the number of rows."""
    pa, pq = _pyarrow()
    table_schema = _table_schema(pa)
    remaining = iter(records)
    num_records = 0
    with pq.ParquetWriter(path, table_schema) as writer:
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            rows = [_row(record, f"{shown} row {num_records + place}") for place, record in enumerate(group, start=1)]
            writer.write_table(pa.Table.from_pylist(rows, schema=table_schema))
            num_records += len(group)
    return num_records


def read_table(path: Path) -> Iterator[str]:
    """The JSON text of each row's record, in order."""
    pa, pq = _pyarrow()
    try:
        with pq.ParquetFile(path) as table:
            _check_columns(path, table.schema_arrow.names)
            number = 0
            for batch in table.iter_batches(batch_size=ROWS_PER_GROUP):
                for row in batch.to_pylist():
                    number += 1
                    yield _text(row, f"{path} row {number}")
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise RecordError(f"{path}: not a Parquet file that can be read: {reason}") from None


def _row(record: Record, where: str) -> dict[str, Any]:
    value = to_json(record)
    row: dict[str, Any] = {NULL_FIELDS: [name for name, given in value.items() if given is None]}
    for name, given in value.items():
        if given is None or name in NATIVE_COLUMNS:
            row[name] = given
            continue
        try:
            row[name] = json.dumps(given, ensure_ascii=False, allow_nan=False)
        except ValueError as error:
            raise RecordError(f"{where} case {record.case_id}: {name} cannot be written as JSON: {error}") from None
    return row


def _text(row: dict[str, Any], where: str) -> str:
    nulls = row.pop(NULL_FIELDS, None) or []
    value: dict[str, Any] = dict.fromkeys(nulls)
    for name, given in row.items():
        if given is None:
            continue
        if name in JSON_COLUMNS:
            if not isinstance(given, str):
                raise RecordError(f"{where}: column {name!r} holds {type(given).__name__}; expected JSON text")
            given = parse_json(given, f"{where} column {name}")
        value[name] = given
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{where}: {error}; expected text, true or false, or lists of text") from None


def _check_columns(path: Path, names: list[str]) -> None:
    known = {*NATIVE_COLUMNS, *JSON_COLUMNS, NULL_FIELDS}
    if len(set(names)) != len(names):
        raise RecordError(f"{path}: a column name stands twice among {', '.join(names)}; expected each once")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RecordError(f"{path}: unknown column {unknown[0]!r}; expected some of {', '.join(sorted(known))}")


def _table_schema(pa: Any) -> Any:
    fields = [(name, pa.string()) for name in TEXT_COLUMNS]
    fields += [("is_correct", pa.bool_()), ("options", pa.list_(pa.string()))]
    fields += [(name, pa.string()) for name in JSON_COLUMNS]
    return pa.schema([*fields, (NULL_FIELDS, pa.list_(pa.string()))])


def _pyarrow() -> tuple[Any, Any]:
    # Imported at call time: pyarrow takes a third of a second, and JSON Lines does not need it.
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"Parquet files need pyarrow ({error}); pip install pyarrow, or use .jsonl") from None
    return pyarrow, pyarrow.parquet
