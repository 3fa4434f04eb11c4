"""Stages of an annotation project, and the gates between them: prototype, pilot, full.

In: what a run has made, the gates of its stage. Out: gates.json, a line a gate with what was found and what is wanted.
A stage begins only where the run before it has passed all of its gates. What could not be measured has not passed.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medprm.annotation.settings import STAGES, StageSettings
from medprm.cases.atomic import replaced_file
from medprm.cases.parsing import parse_json
from medprm.errors import InputError

GATES_FILE = "gates.json"


class Facts(NamedTuple):
    """What the gates look at; None where a run gives no such number."""

    num_cases: int
    num_modalities: int
    num_experts: int
    lowest_kappa: float | None  # of any two experts who share steps
    label_accuracy: float | None  # against the truth, else of the machines' labels against the experts, on the pilot
    judge_coverage: float  # share of the steps of which the judge could be understood
    readable_share: float | None  # share of the rollouts whose answer could be read
    dollars_per_10000_cases: float


class Gate(NamedTuple):
    """`wanted` is the least value, or the most where `is_most`."""

    name: str
    value: float | None
    wanted: float
    is_most: bool = False

    @property
    def is_passed(self) -> bool:
        if self.value is None:
            return False
        return self.value <= self.wanted if self.is_most else self.value >= self.wanted

    def __str__(self) -> str:
        found = "not measured" if self.value is None else f"{self.value:g}"
        sign = "at most" if self.is_most else "at least"
        return f"{self.name}: {found}, wanted {sign} {self.wanted:g}"


def gates_of(settings: StageSettings, facts: Facts) -> list[Gate]:
    """Every gate that the stage sets, with what was found."""
    least = {
        "num_cases": settings.min_cases,
        "num_modalities": settings.min_modalities,
        "num_experts": settings.min_experts,
        "lowest_kappa": settings.min_kappa,
        "label_accuracy": settings.min_label_accuracy,
        "judge_coverage": settings.min_judge_coverage,
        "readable_share": settings.min_readable_share,
    }
    found = [Gate(name, getattr(facts, name), float(wanted)) for name, wanted in least.items() if wanted is not None]
    most = settings.max_dollars_per_10000_cases
    return found + (
        [] if most is None else [Gate("dollars_per_10000_cases", facts.dollars_per_10000_cases, most, True)]
    )


def write_gates(folder: Path, stage: str, gates: Sequence[Gate]) -> None:
    rows = [one._asdict() | {"is_passed": one.is_passed} for one in gates]
    with replaced_file(folder / GATES_FILE) as draft:
        draft.write_text(json.dumps({"stage": stage, "gates": rows}, indent=2) + "\n", encoding="utf-8")


def check_previous(settings: StageSettings) -> None:
    """InputError unless the run of the stage before has passed its gates."""
    if settings.previous is None:
        return
    before = STAGES[STAGES.index(settings.name) - 1]
    path = Path(settings.previous) / GATES_FILE
    if not path.is_file():
        raise InputError(f"stage.previous={settings.previous}: no {GATES_FILE} in it; finish a run with stage={before}")
    found = parse_json(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(found, dict) or found.get("stage") != before:
        stage = found.get("stage") if isinstance(found, dict) else None
        raise InputError(f"{path}: of stage {stage!r}; stage={settings.name} wants the run of stage={before}")
    failed = [_from_json(row) for row in found["gates"] if not row["is_passed"]]
    if failed:
        raise InputError(
            f"{path}: stage {before} has not passed {len(failed)} of {len(found['gates'])} gates ({failed[0]}); mend "
            "it and run that stage again, or change its gates knowingly (stage.min_... of that run)"
        )


def _from_json(row: Mapping[str, Any]) -> Gate:
    return Gate(row["name"], row["value"], row["wanted"], row["is_most"])
