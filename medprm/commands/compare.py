"""`python -m medprm.commands.compare RUN...`: evaluated runs side by side, the best first.

In: folders of runs that `evaluate.py` has scored, or folders that hold such runs (outputs/ of a --multirun or a sweep).
Out: tables (paired differences from the best run among them) and one HTML page, without a server.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from medprm.commands.evaluated_run import METRICS, SCORES, read_json, read_metrics, read_scored_run
from medprm.errors import InputError
from medprm.evaluation.comparison import (
    RANKED_BY,
    Run,
    format_comparison,
    paired_differences,
    ranked,
    write_comparison,
)
from medprm.run import flat


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, or a folder of runs")
    parser.add_argument("--by", default="macro_f1", help=f"rank by one of {', '.join(RANKED_BY)} (macro_f1)")
    parser.add_argument("--name", default="evaluation", help="folder of the evaluation in each run (evaluation)")
    parser.add_argument("--html", type=Path, default=Path("comparison.html"), help="the page (comparison.html)")
    parser.add_argument("--num-bootstrap", type=int, default=2000, help="resamples behind paired differences (2000)")
    given = parser.parse_args(arguments)
    try:
        found = dict.fromkeys(folder for one in given.runs for folder in find_runs(one, given.name))
        has_twins = len({folder.name for folder in found}) < len(found)
        read = [read_run(folder, given.name) for folder in found]
        named = [one._replace(name=str(folder)) if has_twins else one for one, folder in zip(read, found, strict=True)]
        runs = ranked(named, given.by)
        differences = paired_differences(runs, given.by, given.num_bootstrap)
        write_comparison(given.html, runs, given.by, differences)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(format_comparison(runs, given.by, differences))
    print(f"page: {given.html}")
    return 0


def find_runs(folder: Path, name: str) -> list[Path]:
    """The folder itself where it is an evaluated run, else the evaluated runs in it; others in it are named."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a run's folder, or a folder of runs")
    if (folder / name / METRICS).is_file():
        return [folder]
    inside = sorted(path for path in folder.iterdir() if (path / "config.yaml").is_file())
    found = [path for path in inside if (path / name / METRICS).is_file()]
    for path in inside:
        if path not in found:
            print(f"left out: {path}: no {name}/{METRICS}; python evaluate.py run_name={path.name}", file=sys.stderr)
    if not found:
        raise InputError(
            f"{folder}: no {name}/{METRICS} in it or in its folders; evaluate first: python evaluate.py "
            f"run_name={folder.name}"
        )
    return found


def read_run(folder: Path, name: str) -> Run:
    """Metrics, the settings of training where the run has them, which data, and the scores where they are there."""
    data = read_json(folder / name / "run.json").get("data", {})
    metrics, settings = read_metrics(folder, name), settings_of(folder, name)
    scored = read_scored_run(folder, name) if (folder / name / SCORES).is_file() else None
    return Run(folder.name, metrics, settings, data.get("hash"), scored)


def settings_of(folder: Path, name: str) -> dict[str, Any]:
    """Of training, else of the evaluation: key.key -> value."""
    for file in (folder / "config.yaml", folder / name / "config.yaml"):
        if file.is_file():
            return flat(yaml.safe_load(file.read_text(encoding="utf-8")))
    return {}


if __name__ == "__main__":
    sys.exit(main())
