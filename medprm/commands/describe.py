"""Describe a set: `python -m medprm.commands.describe FILE [--html FILE] [--json FILE] [--hub FOLDER]`.

In: a file of records (.jsonl, .parquet), or a data folder with splits. Out: a table; with --html one page that needs
nothing beside it, examples with pictures among it; with --json the numbers; with --hub a folder in the layout of the
Hugging Face hub: README.md with its header, Parquet by split, the images. Nothing is sent anywhere.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from medprm.cases.atomic import replaced_file
from medprm.cases.folder import DESCRIPTION, SPLITS, open_data
from medprm.cases.jsonl import read_cases
from medprm.cases.png_files import png_files
from medprm.cases.schema import CaseSolutions
from medprm.cases.stored import ChainedCases
from medprm.commands.data_source import PHANTOM_NOTE
from medprm.errors import InputError
from medprm.evaluation.data_card import describe_cases
from medprm.evaluation.data_card_page import example_of, format_card, pick_examples, write_page
from medprm.evaluation.hub import write_hub

EXAMPLE_PIXELS = 320
CONTENT_NOTE = (
    "The examples show the content of cases. The page goes where the data may go, and no further; --examples 0 leaves "
    "them out."
)


class Described(NamedTuple):
    """A set by split (or by the name of its file), and where its images start."""

    name: str
    splits: Mapping[str, Sequence[CaseSolutions]]
    image_root: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 with one line on stderr for a mistake of the user."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        found = read_set(given.file, given.image_root)
        cases = ChainedCases(list(found.splits.values()))
        card = describe_cases(cases, given.num_bootstrap)
        print(format_card(card, found.name))
        if given.json:
            with replaced_file(given.json) as draft:
                draft.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if given.html:
            write_html(given.html, found, cases, card, given.examples)
            print(f"\npage: {given.html}")
        if given.hub:
            write_hub(given.hub, found.name, found.splits, found.image_root, card)
            print(f"\nfor the hub: {given.hub}")
    except (InputError, OSError) as error:
        print(f"describe: {error}", file=sys.stderr)
        return 2
    return 0


def read_set(path: Path, image_root: Path | None) -> Described:
    """A folder's splits, or one file; its images start at `image_root`, in its folder, or where dataset.json says."""
    if path.is_dir():
        data = open_data(path)
        splits = {name: data.split(name, require_steps=False) for name in SPLITS if data.has(name)}
        return Described(path.name or str(path), splits, image_root or data.image_root)
    has_description = (path.parent / DESCRIPTION).is_file()
    default = open_data(path.parent).image_root if has_description else path.parent
    name = path.stem if path.stem in SPLITS else "train"
    return Described(path.name, {name: read_cases(path)}, image_root or default)


def write_html(
    path: Path, found: Described, cases: Sequence[CaseSolutions], card: Mapping[str, object], num_examples: int
) -> None:
    """The page with so many examples."""
    image_png = partial(png_files, root=found.image_root, max_side=EXAMPLE_PIXELS)
    examples = [example_of(item, number, image_png) for item, number in pick_examples(cases, num_examples)]
    is_phantom = all(item.case.metadata.source == "phantom" for item in cases)
    notes = [PHANTOM_NOTE] * is_phantom + [CONTENT_NOTE] * bool(examples and not is_phantom)
    write_page(path, card, found.name, examples, notes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.describe", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path, help="a file of records, or a data folder")
    parser.add_argument("--html", type=Path, help="page to write")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--hub", type=Path, metavar="FOLDER", help="new folder, in the layout of the Hugging Face hub")
    parser.add_argument("--image-root", type=Path, help="folder that image paths start from (the file's own)")
    parser.add_argument("--examples", type=int, default=6, help="cases shown in the page (6)")
    parser.add_argument("--num-bootstrap", type=int, default=2000, help="resamples of the intervals (2000)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
