"""`python -m medprm.commands.report FOLDER [--to FOLDER]`: numbers and page again from scored.jsonl, without the model.

In: the folder of an evaluation. Out, in --to (default: the folder itself): metrics.json, report.html, selections.jsonl,
model_card.md, tables/*.csv and *.tex. Threshold, aggregation, values of N, resamples and protocol can be others than
when it was scored; judge_ratings.jsonl in the folder becomes a selector. Without the records the page has no cases to
look at, and says so.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.folder import open_data
from medprm.cases.schema import Case
from medprm.clients.settings import GuardSettings, SourcePolicy
from medprm.commands.evaluate import image_reader
from medprm.commands.evaluated_run import read_json, read_settings, read_yaml
from medprm.errors import InputError
from medprm.evaluation.candidates import SolutionScores
from medprm.evaluation.judge_selector import SELECTOR, read_ratings
from medprm.evaluation.metrics import evaluate_scored
from medprm.evaluation.report import About, Shown, versions_of
from medprm.evaluation.results import CARD, scores_of_orm, write_results
from medprm.evaluation.scored import ScoredSolution, read_scored
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.table import format_table


class Evaluated(NamedTuple):
    """An evaluation on disk. `cases` None where its records cannot be opened, `why` says it."""

    validation: list[ScoredSolution]
    test: list[ScoredSolution]
    settings: EvaluationSettings
    config: dict[str, Any]
    run: dict[str, Any]
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
    names = ("threshold", "aggregation", "protocol")
    asked = {name: value for name in names if (value := getattr(given, name)) is not None}
    if given.sizes:
        asked["max_candidates"] = given.sizes
    if given.num_bootstrap:
        asked["num_bootstrap"] = given.num_bootstrap
    settings = replace(evaluated.settings, **asked)
    notes = list(evaluated.run.get("report_notes", []))  # what the page said at its top when it was first made
    others, more = other_scores(given.folder, evaluated.config.get("orm"))
    metrics = evaluate_scored(evaluated.validation, evaluated.test, settings, others)
    folder: Path = given.to or given.folder
    folder.mkdir(parents=True, exist_ok=True)
    shown = None
    if evaluated.cases is None or evaluated.image_root is None:
        more.append(f"No cases are shown: {evaluated.why}.")
    else:
        shown = Shown(evaluated.cases, image_reader(evaluated.cases, evaluated.image_root))
    about = About(evaluated.title, [*more, *notes], settings, versions_of(evaluated.run))
    data_name = evaluated.config.get("data", {}).get("name", given.folder.name)
    write_results(folder, metrics, evaluated.test, others, about, shown, _card(given.folder, evaluated.run), data_name)
    print(format_table(metrics))
    print(f"numbers: {folder / 'metrics.json'}\ntables:  {folder / 'tables'}\nreport:  {folder / 'report.html'}")


def other_scores(folder: Path, orm: str | None) -> tuple[dict[str, SolutionScores], list[str]]:
    """The outcome reward model of the evaluation and a judge's ratings, and what is to be said of those not there."""
    others: dict[str, SolutionScores] = {}
    notes = []
    if orm is not None and Path(orm).is_file():
        others["orm"] = scores_of_orm(Path(orm))
    elif orm is not None:
        notes.append(f"The outcome reward model is left out: {orm} is not there any more.")
    ratings = folder / "judge_ratings.jsonl"
    if ratings.is_file():
        others[SELECTOR] = read_ratings(ratings)
    return others, notes


def _card(folder: Path, run: Mapping[str, Any]) -> Path | None:
    """The checkpoint's card, or the filled one where the checkpoint is elsewhere; None where there is neither."""
    both = (Path(run.get("checkpoint", "")) / "README.md", folder / CARD)
    return next((one for one in both if one.is_file()), None)


def open_evaluated(folder: Path, data: str | None) -> Evaluated:
    """Scores, the settings they were made with, and the records where they are still there."""
    scored = read_scored(folder / "scored.jsonl")
    config = read_yaml(folder / "config.yaml")
    run = read_json(folder / "run.json")
    cases, root, why = _open_cases(data or run.get("data", {}).get("path"), scored)
    return Evaluated(
        [one for one in scored if one.split == "validation"],
        [one for one in scored if one.split == "test"],
        read_settings(folder),
        config,
        run,
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
