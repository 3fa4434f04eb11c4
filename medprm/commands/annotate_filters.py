"""The quality filters of `annotate`: before anything is paid for, and again by the labels.

In: AnnotateConfig, cases. Out: the cases that are annotated; `training.jsonl`, those of labelled.jsonl that are to be
trained on; `filters.json`, what was left out and why. Without filters neither file is written.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medprm.cases.answers import AnswerMatcher
from medprm.cases.atomic import replaced_file
from medprm.cases.filters.cases import filter_cases
from medprm.cases.filters.counts import FilterCounts, check_is_training
from medprm.cases.filters.labels import filter_labelled
from medprm.cases.filters.solutions import filter_solutions
from medprm.cases.jsonl import read_cases, write_cases
from medprm.cases.schema import CaseSolutions
from medprm.commands.annotators import Source
from medprm.config import AnnotateConfig
from medprm.errors import InputError

FILTERS_FILE, TRAINING_FILE = "filters.json", "training.jsonl"


class Usable(NamedTuple):
    """The cases that are annotated, and what each filter left out; empty without filters."""

    cases: Sequence[CaseSolutions]
    counts: Mapping[str, FilterCounts]


def usable_cases(cases: Sequence[CaseSolutions], source: Source, config: AnnotateConfig) -> Usable:
    """Before shards are dealt, so that all of them see the same. InputError for an evaluation set."""
    if not config.filters.given:
        return Usable(cases, {})
    check_is_training(cases, source.cases, config.filters.given)
    by_case = filter_cases(cases, source.image_root, config.filters)
    by_solution = filter_solutions(by_case.cases, config.filters, AnswerMatcher(config.answers))
    if not by_solution.cases:
        raise InputError(
            f"{source.cases}: the filters leave no case ({by_case.counts.left_out | by_solution.counts.left_out}); "
            "loosen filters.*"
        )
    return Usable(by_solution.cases, {"cases": by_case.counts, "solutions": by_solution.counts})


def usable_solutions(folder: Path, cases: Sequence[CaseSolutions], config: AnnotateConfig) -> Sequence[CaseSolutions]:
    """The same of solutions that the run has made itself."""
    if not config.filters.given:
        return cases
    found = filter_solutions(cases, config.filters, AnswerMatcher(config.answers))
    save_counts(folder, {"made_solutions": found.counts})
    return found.cases


def write_training(folder: Path, labelled: Path, config: AnnotateConfig) -> None:
    """training.jsonl: what the filters by label leave of labelled.jsonl."""
    if not config.filters.given:
        return
    found = filter_labelled(read_cases(labelled), config.filters)
    save_counts(folder, {"labels": found.counts})
    write_cases(folder / TRAINING_FILE, found.cases)
    print(f"training: {folder / TRAINING_FILE}")


def save_counts(folder: Path, counts: Mapping[str, FilterCounts]) -> None:
    """Adds to filters.json and the log; nothing where there is nothing to say."""
    if not counts:
        return
    file = folder / FILTERS_FILE
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    with replaced_file(file) as draft:
        new = {name: one.to_json() for name, one in counts.items()}
        draft.write_text(json.dumps(known | new, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, one in counts.items():
        one.log(f"filters of {name}")
