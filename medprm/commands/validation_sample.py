"""`python -m medprm.commands.validation_sample draw|measure`: a few questions that experts read whole.

draw:    --labelled FILE --to FILE       labelled.jsonl of annotate.py -> lines for the experts, blind
measure: --labelled FILE --verdicts FILE [--scored FILE]      their verdicts (JSON Lines, or Label Studio's export)
         -> Pearson's r of label, judge, Monte Carlo score and, with scored.jsonl of evaluate.py, of the PRM
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from medprm.annotation.expert_files import read_expert_file
from medprm.annotation.expert_queue import StepKey
from medprm.annotation.validation_sample import SampleSettings, draw_sample, measure_sample, sample_rows
from medprm.cases.atomic import replaced_file
from medprm.cases.jsonl import read_cases
from medprm.errors import InputError
from medprm.evaluation.scored import read_scored
from medprm.evaluation.table import aligned, with_interval


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["draw", "measure"])
    parser.add_argument("--labelled", type=Path, required=True, help="labelled.jsonl of annotate.py")
    parser.add_argument("--to", type=Path, help="draw: file for the experts")
    parser.add_argument("--verdicts", type=Path, help="measure: what the experts said")
    parser.add_argument("--scored", type=Path, help="measure: scored.jsonl of evaluate.py")
    parser.add_argument("--num-bootstrap", type=int, default=2000, help="resamples (2000)")
    parser.add_argument("--json", type=Path, help="measure: file for the numbers")
    for one in fields(SampleSettings):
        kind = type(one.default)
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=kind, default=one.default)
    given = parser.parse_args(arguments)
    try:
        settings = SampleSettings(**{one.name: getattr(given, one.name) for one in fields(SampleSettings)})
        if given.what == "draw":
            print(draw(given.labelled, _required(given.to, "--to"), settings))
        else:
            print(measure(given, settings))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def draw(labelled: Path, to: Path, settings: SampleSettings) -> str:
    """Write the lines; returns what was drawn, in words."""
    sample = draw_sample(read_cases(labelled), settings)
    rows = sample_rows(sample)
    with replaced_file(to) as draft, open(draft, "w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    groups = {group: sum(one.group == group for one in sample) for group in ("easy", "hard")}
    return f"{groups['easy']} easy and {groups['hard']} hard questions, {len(rows)} steps: {to}"


def measure(given: argparse.Namespace, settings: SampleSettings) -> str:
    """The table; the numbers to --json."""
    experts = read_expert_file(_required(given.verdicts, "--verdicts"))
    scores = {
        StepKey(one.case_id, one.solution_id, step_id): score
        for one in (read_scored(given.scored) if given.scored else [])
        for step_id, score in enumerate(one.step_scores)
    }
    found = measure_sample(read_cases(given.labelled), experts, settings, scores, given.num_bootstrap)
    if given.json:
        with replaced_file(given.json) as draft:
            draft.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    rows = [["Pearson's r with the experts", *found]]
    for name in ("label", "judge", "monte_carlo", "prm"):
        rows.append([name, *(_cell(group, name) for group in found.values())])
    rows.append(["steps", *(str(group["num_steps"]) for group in found.values())])
    return f"{aligned(rows)}\n95 % intervals by solution, of these questions alone"


def _cell(group: dict[str, Any], name: str) -> str:
    return f"{with_interval(group[name])} n={group[name]['n']}" if name in group else "undefined"


def _required(path: Path | None, name: str) -> Path:
    if path is None:
        raise InputError(f"{name} is missing; --help says what belongs together")
    return path


if __name__ == "__main__":
    sys.exit(main())
