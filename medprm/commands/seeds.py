"""`python -m medprm.commands.seeds RUN RUN RUN`: one experiment under several seeds, every number as their mean.

In: folders of runs that `evaluate.py` has scored on the same test split, and searched (`--search NAME`) where asked
for. Out: tables with 95 % intervals that hold for another seed and for other patients; --markdown for a document.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from medprm.commands.evaluated_run import read_scored_run
from medprm.errors import InputError
from medprm.evaluation.search_table import Outcome
from medprm.evaluation.seeds_table import Table, seeds_tables
from medprm.evaluation.table import aligned


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--name", default="evaluation", help="folder of the evaluation in each run (evaluation)")
    parser.add_argument("--search", metavar="NAME", help="folder of the search in each run; none: no search is shown")
    parser.add_argument("--num-bootstrap", type=int, default=2000, help="resamples of the patients (2000)")
    parser.add_argument("--markdown", action="store_true", help="tables as Markdown")
    given = parser.parse_args(arguments)
    try:
        runs = [read_scored_run(folder, given.name) for folder in given.runs]
        searches = [read_search(folder / given.search) for folder in given.runs] if given.search else []
        tables = seeds_tables(runs, given.num_bootstrap, searches)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(as_markdown(one) if given.markdown else f"{one.title}\n\n{aligned(one.rows)}\n" for one in tables))
    return 0


def read_search(folder: Path) -> list[Outcome]:
    """The rows of searched.jsonl."""
    file = folder / "searched.jsonl"
    if not file.is_file():
        raise InputError(f"{file}: no such file; search first: python -m medprm.commands.search name={folder.name}")
    return [Outcome(**json.loads(line)) for line in file.read_text(encoding="utf-8").split("\n") if line]


def as_markdown(table: Table) -> str:
    header, *rows = [f"| {' | '.join(row)} |" for row in table.rows]
    return "\n".join([f"### {table.title}", "", header, "|---" * len(table.rows[0]) + "|", *rows, ""])


if __name__ == "__main__":
    sys.exit(main())
