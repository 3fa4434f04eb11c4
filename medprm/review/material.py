"""What is reviewed: solutions with the steps to judge, in the order of their value, and the images behind them.

In: labelled records, the experts' queue, scored candidates. Out: `Material`, in memory and read-only; tasks and images
are numbered, so that no address of a page holds an id of a case, a patient or a file.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medprm.annotation.expert_queue import StepKey
from medprm.cases.jsonl import read_records
from medprm.cases.overlay import solution_name
from medprm.cases.parsing import parse_json
from medprm.cases.schema import Image, Record
from medprm.errors import InputError
from medprm.evaluation.scored import ScoredSolution, read_scored
from medprm.review.settings import ProtocolSettings, ReviewDataSettings, RuleSettings, check_file
from medprm.scoring.aggregate import AGGREGATORS

QUEUE_FILE, METRICS_FILE = "expert_queue.jsonl", "metrics.json"
SPECIALTY_OF = {
    "chest_xray": "radiology",
    "ct_scan": "radiology",
    "pathology": "pathology",
    "clinical_photos": "dermatology",
}
"""Of the modalities that have one; any expert reviews the others."""


class Task(NamedTuple):
    """One solution to review: `asked` are the steps that need a verdict. Numbers count from 1, by falling value."""

    number: int
    record: Record
    asked: tuple[int, ...]
    value: float
    num_wanted: int
    specialty: str | None
    is_specialist_only: bool
    split: int


class ShownImage(NamedTuple):
    """An image of a case; `number` is its address."""

    number: int
    image: Image


class Aggregation(NamedTuple):
    """How step scores become the score of a solution, and who says so."""

    name: str
    reason: str


@dataclass(frozen=True)
class Material:
    """Everything that the pages show, by number."""

    tasks: Sequence[Task]
    records: Sequence[Record]
    image_root: Path
    images: Sequence[Image]
    images_of: Mapping[str, list[ShownImage]]  # by case_id
    scored: Sequence[ScoredSolution]
    scores: Mapping[tuple[str, str], ScoredSolution]
    aggregation: Aggregation
    digest: str

    def task(self, number: int) -> Task:
        """KeyError where there is none."""
        if not 1 <= number <= len(self.tasks):
            raise KeyError(number)
        return self.tasks[number - 1]


def read_material(data: ReviewDataSettings, rules: RuleSettings, protocol: ProtocolSettings) -> Material:
    """InputError where a file is missing or the files do not belong together."""
    assert data.path is not None, "the phantom is built before"
    path = Path(data.path)
    records = _named(list(read_records(path)))
    queue_path = check_file("data.queue", data.queue)
    if queue_path is None and (path.parent / QUEUE_FILE).is_file():
        queue_path = path.parent / QUEUE_FILE
    asked = _asked_steps(records, queue_path, rules)
    scored_path = check_file("data.scored", data.scored)
    scored = read_scored(scored_path) if scored_path else []
    images, images_of = _number_images(records)
    return Material(
        tasks=_tasks(records, asked, rules, protocol),
        records=records,
        image_root=_image_root(data, path),
        images=images,
        images_of=images_of,
        scored=scored,
        scores={(one.case_id, one.solution_id): one for one in scored},
        aggregation=_aggregation(scored_path),
        digest=_digest([path, *([queue_path] if queue_path and rules.steps == "disputed" else [])], rules, protocol),
    )


def _aggregation(scored: Path | None) -> Aggregation:
    """The one that the evaluation chose on its validation set, where its metrics.json stands beside the scores."""
    path = scored.parent / METRICS_FILE if scored else None
    if path is None or not path.is_file():
        return Aggregation("mean", f"there is no {METRICS_FILE} beside data.scored")
    found = parse_json(path.read_text(encoding="utf-8"), str(path))
    name = found.get("aggregation") if isinstance(found, dict) else None
    if name not in AGGREGATORS:
        raise InputError(f"{path}: aggregation {name!r}; expected one of {', '.join(AGGREGATORS)}")
    return Aggregation(name, f"chosen in {METRICS_FILE}")


def _named(records: Sequence[Record]) -> list[Record]:
    """Every solution has an id; records without steps have nothing to review, and are kept for their case."""
    counts: dict[str, int] = {}
    named = []
    for record in records:
        number = counts.get(record.case_id, 0)
        counts[record.case_id] = number + 1
        name = solution_name(record.case_id, record.solution(), number)
        named.append(record.model_copy(update={"solution_id": name}))
    keys = [(one.case_id, one.solution_id) for one in named]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"data.path: solution {twice} stands twice; expected another solution_id for each")
    return named


def _asked_steps(records: Sequence[Record], queue: Path | None, rules: RuleSettings) -> dict[StepKey, float]:
    """Step -> its value. Steps of the queue; without one those that the machines left unknown."""
    keys = {
        StepKey(record.case_id, record.solution_id or "", step.step_id): float(step.label in (None, "unknown"))
        for record in records
        for step in record.solution_steps
    }
    if rules.steps == "all":
        found = keys
    elif queue is None:
        found = {key: value for key, value in keys.items() if value}
    else:
        found = _read_queue(queue, keys)
    if not found:
        raise InputError(
            "data.path: no step is labelled unknown and there is no queue, so nothing is disputed; rules.steps=all "
            "asks for every step"
        )
    return found


def _read_queue(path: Path, known: Mapping[StepKey, float]) -> dict[StepKey, float]:
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        row = parse_json(line, f"{path}:{number}")
        try:
            key = StepKey(row["case_id"], row["solution_id"], row["step_id"])
            value = float(row["expected_value"])
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}:{number}: expected case_id, solution_id, step_id and expected_value") from None
        if key not in known:
            raise InputError(f"{path}:{number}: no step {tuple(key)} in data.path; the queue is of another file")
        found[key] = value
    return found


def _tasks(
    records: Sequence[Record], asked: Mapping[StepKey, float], rules: RuleSettings, protocol: ProtocolSettings
) -> list[Task]:
    found = []
    for record in records:
        keys = [StepKey(record.case_id, record.solution_id or "", step.step_id) for step in record.solution_steps]
        values = {key.step_id: asked[key] for key in keys if key in asked}
        if values:
            found.append((max(values.values()), record, tuple(sorted(values))))
    found.sort(key=lambda one: -one[0])
    twice = set(np.random.default_rng(rules.seed).permutation(len(found))[: round(rules.overlap * len(found))].tolist())
    return [
        Task(
            number=place + 1,
            record=record,
            asked=steps,
            value=value,
            num_wanted=2 if place in twice else 1,
            specialty=_specialty(record),
            is_specialist_only=bool(record.metadata.requires_specialist),
            split=place // protocol.split_size + 1 if protocol.kind == "split_check" else 0,
        )
        for place, (value, record, steps) in enumerate(found)
    ]


def _specialty(record: Record) -> str | None:
    given = (record.metadata.specialty or "").strip().casefold()
    known = set(SPECIALTY_OF.values())
    return given if given in known else SPECIALTY_OF.get(record.modality)


def _number_images(records: Sequence[Record]) -> tuple[list[Image], dict[str, list[ShownImage]]]:
    images: list[Image] = []
    by_case: dict[str, list[ShownImage]] = {}
    for record in records:
        if record.case_id in by_case:
            continue
        by_case[record.case_id] = []
        for image in record.all_images:
            by_case[record.case_id].append(ShownImage(len(images), image))
            images.append(image)
    return images, by_case


def _image_root(data: ReviewDataSettings, path: Path) -> Path:
    if data.image_root is not None:
        root = Path(data.image_root)
    elif (path.parent / "run.json").is_file():
        said = json.loads((path.parent / "run.json").read_text(encoding="utf-8"))
        cases = said.get("cases")
        root = Path(cases).parent if isinstance(cases, str) else path.parent
    else:
        root = path.parent
    if not root.is_dir():
        raise InputError(f"data.image_root={root}: no such folder; set it to the folder that image paths start from")
    return root.resolve()


def _digest(paths: Sequence[Path], rules: RuleSettings, protocol: ProtocolSettings) -> str:
    """Of everything that decides the numbers of tasks: another file or rule would give them to other steps."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(repr((rules.steps, rules.overlap, rules.seed, protocol.kind, protocol.split_size)).encode())
    return digest.hexdigest()
