"""`python -m medprm.commands.compare_groups NAME=RUN,RUN,... NAME=RUN,RUN,...`: groups of seeds, paired differences.

In: groups of runs that `evaluate.py` has scored; the first is what the others are compared with. Out: a table, and with
--json a file: the mean of each group over its seeds, its difference from the first group with a 95 % interval by
patient, and whether that is a tie.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medprm.cases.atomic import replaced_file
from medprm.commands.evaluated_run import read_scored_run
from medprm.errors import InputError
from medprm.evaluation.groups import GroupResult, compare_groups, verdict
from medprm.evaluation.measures import MEASURES, ScoredRun
from medprm.evaluation.table import aligned, with_interval
from medprm.statistics.bootstrap import MIN_CLUSTERS, Estimate


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", metavar="NAME=RUN,RUN", help="a group's name and its runs' folders")
    parser.add_argument("--metric", default="macro_f1", help=f"one of {', '.join(MEASURES)}")
    parser.add_argument("--name", default="evaluation", help="folder of the evaluation in each run (evaluation)")
    parser.add_argument("--num-bootstrap", type=int, default=2000, help="resamples of the patients (2000)")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args(arguments)
    try:
        groups = dict(read_group(one, given.name) for one in given.groups)
        results = compare_groups(groups, given.metric, given.num_bootstrap)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(results, given.metric))
    num_patients = len({one.group_id for group in groups.values() for one in group[0].solutions})
    if num_patients < MIN_CLUSTERS:
        print(f"note: only {num_patients} patients: below {MIN_CLUSTERS}, percentile intervals are too narrow")
    if given.json:
        with replaced_file(given.json) as draft:
            draft.write_text(json.dumps([as_json(one) for one in results], indent=2) + "\n", encoding="utf-8")
    return 0


def read_group(text: str, evaluation: str) -> tuple[str, list[ScoredRun]]:
    """`name=outputs/a_0,outputs/a_1` -> its runs, the test split of each."""
    name, _, folders = text.partition("=")
    if not name or not folders:
        raise InputError(f"{text!r}; expected NAME=RUN,RUN,..., the folders of runs that are evaluated")
    return name, [read_scored_run(Path(folder), evaluation) for folder in folders.split(",")]


def table(results: Sequence[GroupResult], metric: str) -> str:
    rows = [["group", "runs", f"{metric} [95 %]", "least to most", "over seeds [95 %]"]]
    rows[0] += [f"minus {results[0].name} (paired)", "over seeds [95 %]", "p (Holm)", ""]
    for one in results:
        spread = f"{min(one.by_run):.3f} to {max(one.by_run):.3f}"
        against = [""] * 4
        if one.minus_first is not None:
            against = [_shown(one.minus_first), _shown(one.minus_first_over_seeds), f"{one.p_holm:.3g}"]
            against.append(verdict(one.minus_first))
        rows.append([one.name, str(len(one.by_run)), _shown(one.mean), spread, _shown(one.over_seeds), *against])
    return aligned(rows)


def _shown(number: Estimate | None) -> str:
    """The number with its interval; alone where that is undefined (one seed)."""
    return with_interval(number.as_json()) if number is not None and number.is_defined else "undefined"


def as_json(one: GroupResult) -> dict[str, Any]:
    found: dict[str, Any] = {"group": one.name, "mean": one.mean.as_json(), "by_run": one.by_run}
    if one.over_seeds.is_defined:
        found["over_seeds"] = one.over_seeds.as_json()
    if one.minus_first is not None:
        found |= {"minus_first": one.minus_first.as_json(), "verdict": verdict(one.minus_first)}
        found |= {"p": one.p, "p_holm": one.p_holm}
    if one.minus_first_over_seeds is not None and one.minus_first_over_seeds.is_defined:
        found["minus_first_over_seeds"] = one.minus_first_over_seeds.as_json()
    return found


if __name__ == "__main__":
    sys.exit(main())
