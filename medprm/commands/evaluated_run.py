"""What an evaluation left in its folder, read back: scores, numbers and the settings they were made with.

In: a run's folder and the name of the evaluation in it. Out: a `ScoredRun`, for numbers made again without the model.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from medprm.errors import InputError
from medprm.evaluation.measures import ScoredRun
from medprm.evaluation.scored import read_scored
from medprm.evaluation.settings import EvaluationSettings

METRICS = "metrics.json"
SCORES = "scored.jsonl"


def read_scored_run(folder: Path, name: str) -> ScoredRun:
    """The run as `name` evaluated it; InputError where it did not."""
    evaluation = folder / name
    metrics, solutions = read_metrics(folder, name), read_scored(evaluation / SCORES)
    return ScoredRun(
        str(folder),
        [one for one in solutions if one.split == "test"],
        float(metrics["threshold"]),
        metrics["aggregation"],
        [one for one in solutions if one.split == "validation"],
        read_settings(evaluation),
    )


def read_metrics(folder: Path, name: str) -> dict[str, Any]:
    """metrics.json of an evaluation."""
    file = folder / name / METRICS
    if not file.is_file():
        raise InputError(f"{folder}: no {name}/{METRICS}; python evaluate.py run_name={folder.name}")
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}); evaluate the run again with overwrite=true") from None
    if not isinstance(metrics, dict) or "counts" not in metrics:
        raise InputError(f"{file}: not the numbers of an evaluation; evaluate the run again with overwrite=true")
    return metrics


def read_settings(evaluation: Path) -> EvaluationSettings:
    """The settings behind its numbers; those of a later version are as they come."""
    given = read_yaml(evaluation / "config.yaml").get("evaluation", {})
    known = {one.name for one in fields(EvaluationSettings)}
    return EvaluationSettings(**{name: value for name, value in given.items() if name in known})


def read_yaml(path: Path) -> dict[str, Any]:
    """Nothing where there is no such file."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """Nothing where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
