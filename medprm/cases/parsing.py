"""Strict parsing: JSON text in, a valid record out, or one line that says what is wrong and where.

JSON as in RFC 8259, and stricter where Python is lax: duplicate keys, NaN, Infinity and numbers that overflow to
them are refused, because each of them loses something silently.
"""

import difflib
import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from medprm.cases import schema
from medprm.cases.schema import Record
from medprm.errors import InputError

SHOWN_CHARACTERS = 60
UNION_BRANCHES = ("str", "int", "float", "bool")


class RecordError(InputError):
    """A file of records, or a record in it, is not as it should be."""


class _StrictError(ValueError):
    """JSON that Python would accept and we do not."""


def parse_json(text: str, where: str) -> Any:
    """The value of one JSON text. `where` (`cases.jsonl:17`) opens the message of the RecordError."""
    try:
        return json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite_float
        )
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if "\n" in text.rstrip("\n") else ""
        raise RecordError(f"{where}: broken JSON at {line}column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise RecordError(f"{where}: JSON nested too deeply to be read") from None
    except ValueError as error:
        raise RecordError(f"{where}: {error}") from None


def parse_record(text: str, where: str) -> Record:
    """The record of one JSON object; RecordError names the place, the case, the step and the field."""
    value = parse_json(text, where)
    if not isinstance(value, dict):
        raise RecordError(f"{where}: {_kind(value)}; expected one JSON object with case_id, modality, question, ...")
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        raise RecordError(f"{where}{_describe(error, value)}") from None


def record_text(record: BaseModel, where: str) -> str:
    """One line of JSON with exactly the fields that were given, without the newline."""
    try:
        return json.dumps(schema.to_json(record), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        case_id = getattr(record, "case_id", "?")
        raise RecordError(f"{where}: case {case_id} cannot be written as JSON: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _StrictError(f"duplicate key {_show(twice)}; expected every key once in an object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _StrictError(f"{name} is not JSON; expected a finite number or null")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _StrictError(f"number {_cut(text)} is too large; expected a finite number")
    return value


def _describe(error: ValidationError, value: Mapping[str, Any]) -> str:
    """` case cxr_0042 step 3: label 'maybe'; expected ...`: the first problem, and how many more there are."""
    details = error.errors(include_url=False, include_context=True)
    first, location = details[0], _location(details[0])
    case_id = value.get("case_id")
    prefix = f" case {_printable(case_id)}" if isinstance(case_id, str) else ""
    if first["type"] == "value_error" and not location:
        problem = first["msg"].removeprefix("Value error, ")
        # The validator of the steps opens its message with `step 3: `.
        return f"{prefix}{' ' if problem.startswith('step ') else ': '}{problem}"
    if len(location) >= 2 and location[0] == "solution_steps":
        prefix += f" step {location[1]}"
        location = location[2:]
    num_more = len({tuple(_location(detail)) for detail in details}) - 1
    more = f" (and {num_more} more)" if num_more else ""
    return f"{prefix}: {_problem(first, _path(location))}{more}"


def _location(detail: Mapping[str, Any]) -> list[int | str]:
    """The path to the value, without the names of the branches of a union."""
    return [part for part in detail["loc"] if part not in UNION_BRANCHES]


def _problem(detail: Mapping[str, Any], field: str) -> str:
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        name = field.rpartition(".")[2]
        close = difflib.get_close_matches(name, _field_names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "free fields go into 'extra'"
        return f"unknown field {field!r}; {hint}"
    if kind == "json_invalid":
        return f"broken text: {detail['ctx']['error']}; expected Unicode characters without lone surrogates"
    if kind == "missing":
        return f"{field!r} is missing"
    if kind == "value_error":
        message = detail["msg"].removeprefix("Value error, ")
        return message if field.endswith("path") else f"{field} {message}"
    return f"{field or 'value'} {_show(given)}; expected {_expected(detail)}"


def _expected(detail: Mapping[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind == "string_pattern_mismatch":
        return "text that is not blank"
    plain = {
        "string_type": "text",
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "tuple_type": "a list",
        "dict_type": "an object",
        "model_type": "an object",
    }
    if detail["loc"] and detail["loc"][-1] in UNION_BRANCHES:
        return "text, a number, true, false or null"
    return plain.get(kind) or detail["msg"].removeprefix("Input should be ")


def _path(location: list[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{_printable(part)}"
    return text.removeprefix(".")


@cache
def _field_names() -> tuple[str, ...]:
    models = [item for item in vars(schema).values() if isinstance(item, type) and issubclass(item, BaseModel)]
    return tuple(sorted({name for model in models for name in model.model_fields}))


def _show(value: Any) -> str:
    if isinstance(value, str):
        return _cut(repr(value))
    return _cut(json.dumps(value, ensure_ascii=False, default=repr))


def _printable(text: str) -> str:
    """A name from the file as it may stand in a one-line message."""
    return _cut(text if text.isprintable() else repr(text))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _kind(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")
