"""Which steps the experts see, and in which order.

In: steps with the machines' verdicts. Out: the queue, ranked by the expected value of a review and capped by budget.
Expected value: the expert's accuracy minus the chance that the best guess is right
anyway. The steps of the random pilot come first, marked.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medprm.annotation.consensus import judge_verdict
from medprm.annotation.passages import Passage
from medprm.annotation.settings import ExpertSettings
from medprm.cases.atomic import replaced_file
from medprm.cases.schema import ExpertVerdict, Label, Record, Sources
from medprm.cases.verdicts import expert_majority
from medprm.encoding.turns import render_context

# What the ranking believes of the machines before any expert has spoken.
PRIOR_CORRECT = 0.65
JUDGE_ACCURACY = 0.75
SCORE_WEIGHT = 0.6  # rollouts of one prefix are not independent evidence: their log odds count for this share
MOST_LOG_ODDS = 3.0
PILOT_VALUE = 1.0  # of a step of the random pilot: above that of any other


class StepKey(NamedTuple):
    """Which step of which solution of which case."""

    case_id: str
    solution_id: str
    step_id: int


class QueuedStep(NamedTuple):
    """What the ranking knows of one step."""

    key: StepKey
    group_id: str
    category: str
    judge: Label
    has_citation: bool
    num_correct: int
    num_wrong: int
    outcome: Label  # of the whole solution
    is_answer: bool
    label: Label  # the machines'


def queued_steps(record: Record) -> list[QueuedStep]:
    """Every step of a record that the machines have labelled."""
    assert record.solution_id is not None, "annotated solutions have an id"
    solution_outcome: Label = {True: "correct", False: "incorrect", None: "unknown"}[record.is_correct]  # type: ignore[assignment]
    rows = []
    for step in record.solution_steps:
        sources = step.sources or Sources()
        runs = sources.monte_carlo
        rows.append(
            QueuedStep(
                key=StepKey(record.case_id, record.solution_id, step.step_id),
                group_id=record.group_id,
                category=step.category or "",
                judge=judge_verdict(sources),
                has_citation=any(one.citations for one in sources.judge),
                num_correct=sum(run.num_correct for run in runs),
                num_wrong=sum(run.num_wrong for run in runs),
                outcome=solution_outcome,
                is_answer=step.step_id == len(record.solution_steps) - 1,
                label=step.label or "unknown",
            )
        )
    return rows


def believed_chance(step: QueuedStep) -> float:
    """Chance that the step is correct, by fixed beliefs about the machines: judge and score as independent odds."""
    odds = np.log(PRIOR_CORRECT / (1 - PRIOR_CORRECT))
    weight = np.log(JUDGE_ACCURACY / (1 - JUDGE_ACCURACY))
    odds += {"correct": weight, "incorrect": -weight}.get(step.judge, 0.0)
    if step.num_correct + step.num_wrong:
        score_odds = SCORE_WEIGHT * np.log((step.num_correct + 0.5) / (step.num_wrong + 0.5))
        odds += float(np.clip(score_odds, -MOST_LOG_ODDS, MOST_LOG_ODDS))
    elif step.is_answer:
        odds += {"correct": MOST_LOG_ODDS, "incorrect": -MOST_LOG_ODDS}.get(step.outcome, 0.0)
    return float(1 / (1 + np.exp(-odds)))


def rank_steps(steps: Sequence[QueuedStep], chances: Sequence[float], accuracy: float) -> list[int]:
    """Places of the steps by falling expected value; equal ones by key, so that the order is the same each time."""
    values = [review_value(chance, accuracy) for chance in chances]
    return sorted(range(len(steps)), key=lambda place: (-values[place], _shuffled(steps[place].key)))


def review_value(chance: float, accuracy: float) -> float:
    """What a review adds to the chance that the label is right."""
    return accuracy - max(chance, 1 - chance)


def pick_queue(steps: Sequence[QueuedStep], order: Iterable[int], settings: ExpertSettings) -> list[int]:
    """The places that go to the experts, in ranked order: all, or the disputed or any ones up to the budget."""
    if settings.steps == "all":
        return list(order)
    most = int(settings.max_share * len(steps))
    return [place for place in order if settings.steps == "ranked" or steps[place].label == "unknown"][:most]


def write_queue(
    path: Path,
    records: Iterable[Record],
    values: Mapping[StepKey, float],
    evidence: Callable[[Record], Sequence[Passage]],
) -> int:
    """The queue as JSON Lines, ranked: what an expert needs to decide each step, without the gold standard.

    `evidence` finds the passages that the judge was shown with a solution. Rows wait for their place in a file.
    """
    places: list[tuple[float, str, int]] = []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as waiting:
        for record in records:
            assert record.solution_id is not None
            keys = [StepKey(record.case_id, record.solution_id, step.step_id) for step in record.solution_steps]
            asked = [key for key in keys if key in values]
            passages = evidence(record) if asked else ()
            for key in asked:
                places.append((-values[key], _shuffled(key), waiting.tell()))
                row = _queue_row(record, key.step_id, values[key], passages)
                waiting.write(json.dumps(row, ensure_ascii=False) + "\n")
        with replaced_file(path) as draft, open(draft, "w", encoding="utf-8") as lines:
            for _, _, place in sorted(places):
                waiting.seek(place)
                lines.write(waiting.readline())
    return len(places)


def _queue_row(record: Record, step_id: int, value: float, passages: Sequence[Passage]) -> dict[str, Any]:
    step = record.solution_steps[step_id]
    sources = step.sources or Sources()
    return {
        "case_id": record.case_id,
        "solution_id": record.solution_id,
        "step_id": step_id,
        "expected_value": round(value, 6),
        "is_pilot": value == PILOT_VALUE,
        "images": [image.path for image in record.all_images],
        "clinical_context": render_context(record.clinical_context).strip(),
        "question": record.question,
        "options": list(record.options),
        "steps": record.step_texts,
        "passages": [
            {"passage_id": one.passage_id, "source": one.source or one.collection, "text": one.text} for one in passages
        ],
        "judge": [one.model_dump(mode="json", exclude_none=True) for one in sources.judge],
        "monte_carlo": [one.model_dump(mode="json", exclude_none=True) for one in sources.monte_carlo],
    }


def best_guess(step: QueuedStep, chance: float, expert: Sequence[ExpertVerdict] = ()) -> Label:
    """A label whatever happens, for measuring: the expert's, else the machines', else the likelier one."""
    said = expert_majority(expert)
    if said != "unknown":
        return said
    return step.label if step.label != "unknown" else ("correct" if chance >= 0.5 else "incorrect")


def disputed_share(steps: Sequence[QueuedStep]) -> float:
    """Share of the steps that the machines leave open."""
    return sum(one.label == "unknown" for one in steps) / len(steps) if steps else 0.0


def _shuffled(key: StepKey) -> str:
    return hashlib.sha256(str(tuple(key)).encode()).hexdigest()
