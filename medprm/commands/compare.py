"""`python -m medprm.commands.compare RUN...`: evaluated runs side by side, the best first.

In: folders of runs that `evaluate.py` has scored, or folders that hold such runs (outputs/ of a --multirun or a sweep).
Out: a table and one HTML page, without a server.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from medprm.errors import InputError
from medprm.evaluation.comparison import RANKED_BY, Run, format_comparison, ranked, write_comparison
from medprm.run import flat

METRICS = "metrics.json"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, or a folder of runs")
    parser.add_argument("--by", default="macro_f1", help=f"rank by one of {', '.join(RANKED_BY)} (macro_f1)")
    parser.add_argument("--name", default="evaluation", help="folder of the evaluation in each run (evaluation)")
    parser.add_argument("--html", type=Path, default=Path("comparison.html"), help="the page (comparison.html)")
    given = parser.parse_args(arguments)
    try:
        found = dict.fromkeys(folder for one in given.runs for folder in find_runs(one, given.name))
        has_twins = len({folder.name for folder in found}) < len(found)
        read = [read_run(folder, given.name) for folder in found]
        named = [one._replace(name=str(folder)) if has_twins else one for one, folder in zip(read, found, strict=True)]
        runs = ranked(named, given.by)
        write_comparison(given.html, runs, given.by)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(format_comparison(runs, given.by))
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
    """Metrics, the settings of training where the run has them, and which data."""
    file = folder / name / METRICS
    kept = folder / name / "run.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        evaluated = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}); evaluate the run again with overwrite=true") from None
    if not isinstance(metrics, dict) or "counts" not in metrics:
        raise InputError(f"{file}: not the numbers of an evaluation; evaluate the run again with overwrite=true")
    return Run(folder.name, metrics, settings_of(folder, name), evaluated.get("data", {}).get("hash"))


def settings_of(folder: Path, name: str) -> dict[str, Any]:
    """Of training, else of the evaluation: key.key -> value."""
    for file in (folder / "config.yaml", folder / name / "config.yaml"):
        if file.is_file():
            return flat(yaml.safe_load(file.read_text(encoding="utf-8")))
    return {}


if __name__ == "__main__":
    sys.exit(main())
