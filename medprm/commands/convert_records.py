"""Records to a published format: `python -m medprm.commands.convert_records FORMAT --from FILE --to FILE`.

In: a file of records (.jsonl or .parquet), or with `--read FORMAT` a published file or folder. Out: .jsonl (one row a
solution), .json (one list) or .parquet. Chat formats get the prompt preset of VisualPRM's training. What a format has
no word for is refused and counted; see `--unknown` and `--neutral`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medprm.cases.atomic import replaced_file
from medprm.cases.formats.table import READ_FORMATS, WRITTEN_FORMATS, load_format, write_format
from medprm.cases.formats.writing import Writer, WriteSettings, Writing
from medprm.cases.jsonl import read_cases
from medprm.cases.schema import Case
from medprm.encoding.prompts import PROMPTS
from medprm.encoding.turns import render_context, render_options
from medprm.errors import InputError

SUFFIXES = (".jsonl", ".json", ".parquet")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 with one line on stderr for a mistake of the user."""
    given = _parser().parse_args(arguments)
    try:
        settings = WriteSettings(unknown=given.unknown, neutral=given.neutral)
        writing = convert_records(given.format, given.origin, given.target, given.read, settings, given.overwrite)
    except (InputError, OSError) as error:
        print(f"convert_records: {error}", file=sys.stderr)
        return 2
    print(f"{given.format}: {writing.num_read} solutions read, {writing.num_read - writing.refused.total()} written")
    for reason, count in writing.refused.items():
        print(f"  refused {count}: {reason}")
    for what, count in writing.changed.items():
        print(f"  changed {count}: {what}")
    print(f"written to {given.target}")
    return 0


def convert_records(
    name: str, origin: Path, target: Path, read: str | None, settings: WriteSettings, overwrite: bool = False
) -> Writing:
    """Read `origin` (as records, or as the format `read`), write `target` in the format `name`."""
    if target.suffix not in SUFFIXES:
        raise InputError(f"--to {target}: expected a name that ends in {', '.join(SUFFIXES)}")
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists; give another --to, or --overwrite to replace it")
    cases = read_cases(origin, require_steps=True) if read is None else load_format(read, origin).cases
    writer = Writer(settings, statement=statement_of, system=PROMPTS["visualprm_paper"].system)
    writing = write_format(name, cases, writer)
    if not writing.rows:
        reasons = "; ".join(f"{count}: {reason}" for reason, count in writing.refused.items())
        raise InputError(f"{origin}: no solution can be written as {name} ({reasons})")
    _write(target, writing.rows)
    return writing


def statement_of(case: Case) -> str:
    """Clinical context, question and options in one text, as a prompt has them."""
    return render_context(case.clinical_context) + case.question + render_options(case.options)


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with replaced_file(path) as draft:
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(list(rows)), draft)
            return
        texts = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
        content = "\n".join(texts) + "\n" if path.suffix == ".jsonl" else "[\n" + ",\n".join(texts) + "\n]\n"
        draft.write_text(content, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.convert_records", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("format", choices=sorted(WRITTEN_FORMATS), help="the format to write")
    parser.add_argument(
        "--from", dest="origin", type=Path, required=True, help="file of records, or of --read's format"
    )
    parser.add_argument(
        "--to", dest="target", type=Path, required=True, help="file to write: .jsonl, .json or .parquet"
    )
    parser.add_argument(
        "--read", choices=sorted(READ_FORMATS), help="the published format of --from (default: records)"
    )
    parser.add_argument(
        "--unknown",
        choices=("refuse", "truncate"),
        default="refuse",
        help="a step without a label: leave the solution out (default), or end it before that step",
    )
    parser.add_argument(
        "--neutral",
        choices=("refuse", "correct", "incorrect"),
        default="refuse",
        help="a neutral step in a format of two labels: leave the solution out (default), or write it as this",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file where it exists")
    return parser


if __name__ == "__main__":
    sys.exit(main())
