"""`python -m medprm.commands.report FOLDER [--to FOLDER]`: numbers and page again from scored.jsonl, without the model.

In: the folder of an evaluation. Out, in --to (default: the folder itself): metrics.json, report.html, tables/*.csv and
*.tex. Threshold, aggregation, values of N, resamples and protocol can be others than when it was scored;
judge_ratings.jsonl in the folder becomes a selector. Without the records the page has no cases to look at, and says so.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from medprm.cases.folder import open_data
from medprm.cases.schema import Case
from medprm.clients.settings import GuardSettings, SourcePolicy
from medprm.commands.evaluate import image_reader
from medprm.errors import InputError
from medprm.evaluation.exports import write_tables
from medprm.evaluation.judge_selector import SELECTOR, read_ratings
from medprm.evaluation.metrics import evaluate_scored, write_metrics
from medprm.evaluation.report import versions_of, write_numbers_report, write_report
from medprm.evaluation.scored import ScoredSolution, read_scored
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.table import format_table


class Evaluated(NamedTuple):
    """An evaluation on disk. `cases` None where its records cannot be opened, `why` says it."""

    validation: list[ScoredSolution]
    test: list[ScoredSolution]
    settings: EvaluationSettings
    versions: dict[str, Any]
    title: str
    guard: GuardSettings
    cases: dict[str, Case] | None
    image_root: Path | None
    why: str


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        rewrite(given)
    except InputError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    return 0


def rewrite(given: argparse.Namespace) -> None:
    """All files of an evaluation but the scores."""
    evaluated = open_evaluated(given.folder, given.data)
    asked = {name: value for name in ("threshold", "aggregation", "protocol") if (value := getattr(given, name))}
    if given.sizes:
        asked["max_candidates"] = given.sizes
    if given.num_bootstrap:
        asked["num_bootstrap"] = given.num_bootstrap
    settings = replace(evaluated.settings, **asked)
    ratings = given.folder / "judge_ratings.jsonl"
    others = {SELECTOR: read_ratings(ratings)} if ratings.is_file() else {}
    metrics = evaluate_scored(evaluated.validation, evaluated.test, settings, others)
    folder: Path = given.to or given.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(folder / "metrics.json", metrics)
    write_tables(folder / "tables", metrics)
    notes = [*([] if evaluated.cases else [f"No cases are shown: {evaluated.why}."]), *_notes(given.folder)]
    page = folder / "report.html"
    if evaluated.cases is None or evaluated.image_root is None:
        write_numbers_report(page, metrics, evaluated.test, evaluated.title, notes, evaluated.versions)
    else:
        images = image_reader(evaluated.cases, evaluated.image_root)
        rest = (evaluated.cases, images, evaluated.title, notes, settings)
        write_report(page, metrics, evaluated.test, *rest, versions=evaluated.versions)
    print(format_table(metrics))
    print(f"numbers: {folder / 'metrics.json'}\ntables:  {folder / 'tables'}\nreport:  {page}")


def open_evaluated(folder: Path, data: str | None) -> Evaluated:
    """Scores, the settings they were made with, and the records where they are still there."""
    scored = read_scored(folder / "scored.jsonl")
    config = _read_yaml(folder / "config.yaml")
    run = _read_json(folder / "run.json")
    cases, root, why = _open_cases(data or run.get("data", {}).get("path"), scored)
    known = {one.name for one in fields(EvaluationSettings)}
    given = {name: value for name, value in config.get("evaluation", {}).items() if name in known}
    return Evaluated(
        [one for one in scored if one.split == "validation"],
        [one for one in scored if one.split == "test"],
        EvaluationSettings(**given),
        versions_of(run),
        f"{config.get('data', {}).get('name', folder.name)}: {run.get('checkpoint', folder)}",
        _guard(config.get("guard", {})),
        cases,
        root,
        why,
    )


def _open_cases(path: str | None, scored: Sequence[ScoredSolution]) -> tuple[dict[str, Case] | None, Path | None, str]:
    if path is None:
        return None, None, "the evaluation does not say where its records are; --data FOLDER names them"
    try:
        data = open_data(path)
        cases = {item.case.case_id: item.case for item in data.split("test")}
    except InputError as error:
        return None, None, str(error)
    missing = {one.case_id for one in scored if one.split == "test"} - cases.keys()
    if missing:
        return None, None, f"{path} lacks {len(missing)} of the scored cases"
    return cases, data.image_root, ""


def _guard(given: dict[str, Any]) -> GuardSettings:
    if not given:
        return GuardSettings()
    sources = {name: SourcePolicy(**one) for name, one in given.get("sources", {}).items()}
    return GuardSettings(list(given.get("site_hosts", [])), sources)


def _notes(folder: Path) -> list[str]:
    """What the page said at its top when it was first made."""
    return list(_read_json(folder / "run.json").get("report_notes", []))


def _read_yaml(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="the folder of an evaluation, with scored.jsonl")
    parser.add_argument("--to", type=Path, help="folder for the new files (the same one)")
    parser.add_argument("--data", help="data folder of the records, where it is no longer where it was")
    parser.add_argument("--threshold", type=float, help="instead of the one chosen on validation")
    parser.add_argument("--aggregation", help="instead of the one chosen on validation")
    parser.add_argument("--protocol", help="a published protocol")
    parser.add_argument("--sizes", type=int, nargs="+", help="values of N")
    parser.add_argument("--num-bootstrap", type=int, help="resamples of the intervals")
    return parser


if __name__ == "__main__":
    sys.exit(main())
