"""Build and release a benchmark: `python -m medprm.commands.build_benchmark {build,release} ...`.

build RECIPE --set NAME=FOLDER ... --to FOLDER: train.jsonl, validation.jsonl, test.jsonl and images from data folders,
dataset.json, and checklist.yaml to answer; prints what is missing, and what the specialists cost.
release FOLDER --to FOLDER --hidden FOLDER: the numbered release without test labels, and the hidden side; refused
while the checklist is open (--draft writes it all the same, and says so in it). Names and order of test solutions come
from HIDDEN/SECRET: drawn, or that of a former release where it was copied there.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from medprm.cases.benchmark.build import Built, build
from medprm.cases.benchmark.checklist import check_records, checklist_page, read_answers, still_open, write_template
from medprm.cases.benchmark.recipe import Recipe, read_recipe
from medprm.cases.benchmark.release import (
    SECRET_FILE,
    VERSION_FILE,
    hidden,
    image_names,
    keyed,
    place_images,
    read_or_draw_secret,
    write_description,
    write_sums,
)
from medprm.cases.folder import DESCRIPTION, SPLITS, DataFolder, open_data
from medprm.cases.jsonl import write_cases
from medprm.cases.schema import CaseSolutions
from medprm.errors import InputError
from medprm.evaluation.table import aligned

RECIPES = Path(__file__).parents[2] / "conf" / "recipe"
CHECKLIST = "checklist.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 with one line on stderr for a mistake of the user."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if given.verb == "build":
            build_folder(given.recipe, given.set, given.to)
        else:
            release(given.folder, given.to, given.hidden, given.draft)
    except (InputError, OSError) as error:
        print(f"build_benchmark: {error}", file=sys.stderr)
        return 2
    return 0


def build_folder(recipe_name: str, sets: Sequence[str], target: Path) -> None:
    """The built folder, whatever is missing: it says so."""
    recipe = read_recipe(_recipe_path(recipe_name))
    _check_new(target)
    folders = dict(_named_folder(one) for one in sets)
    built = build(recipe, folders)
    for name, cases in built.splits.items():
        if cases:
            write_cases(target / f"{name}.jsonl", cases)
    place_images(target, built.images)
    facts = {"benchmark": recipe.name, "version": recipe.version, "seed": recipe.seed, **built.to_json()}
    write_description(target, facts | {"recipe": recipe.model_dump(mode="json")})
    write_template(target / CHECKLIST)
    print(table(recipe, built))
    print(f"written to {target}; answer {target / CHECKLIST} before a release")


def release(folder: Path, target: Path, hidden_folder: Path, is_draft: bool) -> None:
    """The release and its hidden side."""
    data = open_data(folder)
    facts = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")) if (folder / DESCRIPTION).is_file() else {}
    if "benchmark" not in facts:
        raise InputError(f"{folder}: not a built benchmark (no {DESCRIPTION} with its name); build it first")
    if target.resolve() in (hidden_folder.resolve(), *hidden_folder.resolve().parents):
        raise InputError(f"--hidden {hidden_folder} lies in the release {target}: labels would be published with it")
    _check_new(target)
    _check_new(hidden_folder, but=SECRET_FILE)
    splits = {name: data.split(name, require_steps=False) for name in SPLITS if data.has(name)}
    if not splits.get("test"):
        raise InputError(f"{folder}: no test split, so nothing is to be hidden; see the shortfall in {DESCRIPTION}")
    findings, answers = check_records(splits), read_answers(folder / CHECKLIST)
    is_open = still_open(findings, answers)
    if is_open and not is_draft:
        more = "" if len(is_open) == 1 else f" (and {len(is_open) - 1} more)"
        raise InputError(
            f"{folder / CHECKLIST}: {is_open[0]}{more}; settle it, or --draft for a release that says DRAFT"
        )
    version = facts["version"] + ("-draft" if is_open else "")
    title = f"{facts['benchmark']} {version}"
    test, names = splits["test"], image_names(splits["test"], data.image_root)
    secret = read_or_draw_secret(hidden_folder)
    opened = splits | {"test": hidden(test, secret, names)}
    for name, cases in opened.items():
        write_cases(target / f"{name}.jsonl", cases)
    write_cases(hidden_folder / "test.jsonl", keyed(test, secret))
    old_paths = {new: old for old, new in names.items()}
    place_images(target, {path: data.image_root / old_paths.get(path, path) for path in _image_paths(opened)})
    place_images(hidden_folder, {path: data.image_root / path for path in _image_paths({"test": test})})
    _write_facts(target, title, version, facts)
    _write_facts(hidden_folder, title, version, {"hidden_side_of": title})
    (target / "CHECKLIST.md").write_text(checklist_page(findings, answers, title), encoding="utf-8")
    num_files = write_sums(target)
    write_sums(hidden_folder)
    print(f"{title}: {num_files} files in {target}; hidden labels in {hidden_folder}, which stays where it is")
    for one in is_open:
        print(f"DRAFT, open: {one}")


def table(recipe: Recipe, built: Built) -> str:
    """What was asked for, found and missing; what the specialists take."""
    rows = [["split", "part", "quota", "found", "missing", "from", "sets not given"]]
    for one in built.shortfall:
        by_set = ", ".join(f"{name} {num:,}" for name, num in one.by_set.items())
        numbers = [f"{value:,}" for value in (one.quota, one.found, one.missing)]
        rows.append([one.split, one.part, *numbers, by_set, ", ".join(one.sets_not_given)])
    lines = [f"{recipe.name} {recipe.version}", aligned(rows)]
    costs = [["specialists", "cases", "steps", "hours", "dollars", ""]]
    for cost in built.costs:
        numbers = [f"{cost.num_cases:,}", f"{cost.num_steps:,}", f"{cost.hours:,.0f}", f"{cost.dollars:,.0f}"]
        costs.append([f"{cost.domain}: {cost.profession}", *numbers, "planned" if cost.is_planned else "counted"])
    lines += ["", aligned(costs)] if built.costs else []
    lines += [f"splits of {name}: {origin}" for name, origin in built.split_origins.items()]
    lines += [f"left out of training, {reason}: {num:,} cases" for reason, num in built.left_out.items()]
    return "\n".join(lines)


def _image_paths(splits: Mapping[str, Sequence[CaseSolutions]]) -> list[str]:
    return sorted({image.path for cases in splits.values() for item in cases for image in item.case.all_images})


def _write_facts(folder: Path, title: str, version: str, facts: Mapping[str, object]) -> None:
    kept = {name: value for name, value in facts.items() if name != "image_root"}
    write_description(folder, kept | {"title": title, "version": version})
    (folder / VERSION_FILE).write_text(version + "\n", encoding="utf-8")


def _recipe_path(name: str) -> Path:
    path = Path(name)
    return path if path.suffix == ".yaml" else RECIPES / f"{name}.yaml"


def _named_folder(text: str) -> tuple[str, DataFolder]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise InputError(f"--set {text}: expected NAME=FOLDER, a set of the recipe and its data folder")
    return name, open_data(folder)


def _check_new(folder: Path, but: str = "") -> None:
    if folder.exists() and any(one.name != but for one in folder.iterdir()):
        raise InputError(f"{folder}: not empty; give a new folder")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.build_benchmark", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("build", help="put cases together, and say what is missing")
    one.add_argument("recipe", help="a name in conf/recipe/, or a file")
    one.add_argument("--set", action="append", default=[], metavar="NAME=FOLDER", help="a set's data folder")
    one.add_argument("--to", type=Path, required=True, help="new folder")
    one = verbs.add_parser("release", help="number it, and hide the test labels")
    one.add_argument("folder", type=Path, help="a built folder, annotated or not")
    one.add_argument("--to", type=Path, required=True, help="new folder of the release")
    one.add_argument(
        "--hidden",
        type=Path,
        required=True,
        help="new folder of the hidden side; the SECRET of one before may lie in it",
    )
    one.add_argument("--draft", action="store_true", help="release although the checklist is open, marked DRAFT")
    return parser


if __name__ == "__main__":
    sys.exit(main())
