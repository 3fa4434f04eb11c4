"""`python -m medprm.commands.controls`: does a trained PRM look at the images and read contexts and documents?

In: runs that `evaluate.py` has scored: one run intact (`evaluation`) and with an input swapped between patients
(`permuted_<input>`, from `evaluate.py permute=<input>`), and for each input a control run that was trained with it
blanked. On the phantom, `truth.jsonl` says which steps depend on which input; elsewhere all steps are compared.
Out: a table and, with --json, the numbers. launch/controls.sh makes all the runs.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medprm.encoding.settings import BLANKS
from medprm.errors import InputError
from medprm.evaluation.permutation import StepFilter, check_looking, every_step
from medprm.evaluation.scored import ScoredSolution, read_scored
from medprm.evaluation.steps import confusion_sums, draw_resampling, judged_steps
from medprm.statistics.bootstrap import Estimate, interval, resample_sums
from medprm.statistics.step_metrics import macro_f1

DEPENDS = {"images": "image", "context": "context", "documents": "documents"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run, with evaluation/ and permuted_<input>/")
    parser.add_argument("--blank", action="append", default=[], metavar="INPUT=RUN", help="a run trained without INPUT")
    parser.add_argument("--truth", type=Path, help="truth.jsonl of the phantom set")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    given = parser.parse_args(arguments)
    try:
        results = compare(given.run, dict(_pair(one) for one in given.blank), given.truth, given.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(format_results(results))
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def compare(run: Path, blank_runs: dict[str, Path], truth: Path | None, seed: int) -> dict[str, Any]:
    """Per permuted input: AUROC of each variant on its steps, their differences, macro F1 lost over all steps."""
    intact, threshold = _read(run / "evaluation")
    results = {}
    for name in BLANKS:
        folder = run / f"permuted_{name}"
        if not folder.is_dir():
            continue
        permuted, _ = _read(folder)
        blank = _read(blank_runs[name] / "evaluation")[0] if name in blank_runs else None
        keep = depends_on(truth, DEPENDS[name]) if truth else every_step
        check = check_looking(intact, permuted, blank, keep, seed=seed)
        lost = macro_f1_difference(intact, permuted, threshold, seed)
        results[name] = check.as_json() | {"macro_f1_intact_minus_permuted": lost.as_json()}
    if not results:
        raise InputError(f"{run}: no permuted_* folder; run evaluate.py permute=images (context, documents) first")
    return results


def depends_on(truth: Path, what: str) -> StepFilter:
    """Keeps the steps that the phantom's truth says depend on `what`."""
    kept = {}
    with open(truth, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            kept[row["solution_id"]] = [depends == what for depends in row["depends"]]
    return lambda solution, step: kept[solution.solution_id][step]


def macro_f1_difference(
    first: Sequence[ScoredSolution], second: Sequence[ScoredSolution], threshold: float, seed: int
) -> Estimate:
    """Macro F1 of `first` minus that of `second`, both at one threshold, paired by patient."""
    steps = [judged_steps(solutions) for solutions in (first, second)]
    resampling = draw_resampling(steps[0].group_ids, 2000, seed)
    sums = [confusion_sums(one, threshold, resampling) for one in steps]
    values = [float(macro_f1(one.sum(axis=0))) for one in sums]
    resampled = [np.asarray(macro_f1(resample_sums(one, resampling.weights))) for one in sums]
    return interval(values[0] - values[1], resampled[0] - resampled[1], len(steps[0].scores))


def format_results(results: dict[str, Any]) -> str:
    lines = []
    for name, result in results.items():
        lines.append(f"{name}: {result['num_steps']} steps that depend on it")
        numbers = result["auroc"] | result["differences"]
        numbers["macro_f1 lost, all steps"] = result["macro_f1_intact_minus_permuted"]
        lines += [
            f"  {key:26} {one['value']:7.3f}  [{one['low']:.3f}, {one['high']:.3f}]" for key, one in numbers.items()
        ]
    return "\n".join(lines)


def _read(folder: Path) -> tuple[list[ScoredSolution], float]:
    """The test solutions, and the threshold that was chosen on validation."""
    solutions = [one for one in read_scored(folder / "scored.jsonl") if one.split == "test"]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return solutions, float(metrics["threshold"])


def _pair(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if name not in BLANKS or not folder:
        raise InputError(f"--blank {text}: expected INPUT=RUN with INPUT one of {', '.join(BLANKS)}")
    return name, Path(folder)


if __name__ == "__main__":
    sys.exit(main())
