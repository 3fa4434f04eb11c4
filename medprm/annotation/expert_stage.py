"""The experts' stage: which steps they see, and what they have said.

In: the steps with the machines' verdicts, settings, a phantom's truth or a file of verdicts. Out: `Measured` and the
queue.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medprm.annotation.calibration import LEAST_VERDICTS, step_chances
from medprm.annotation.dawid_skene import consensus_chances
from medprm.annotation.expert_files import read_expert_file
from medprm.annotation.expert_queue import (
    PILOT_VALUE,
    QueuedStep,
    StepKey,
    pick_queue,
    rank_steps,
    review_value,
)
from medprm.annotation.labels_report import Measured
from medprm.annotation.settings import FITTED_RULES, ConsensusSettings, ExpertSettings
from medprm.annotation.simulated_experts import panel_verdicts
from medprm.cases.schema import ExpertVerdict, Label
from medprm.errors import InputError

logger = logging.getLogger(__name__)


def read_truth(path: Path) -> dict[StepKey, Label]:
    """The phantom's truth by step, for the simulated expert and the report only."""
    truth: dict[StepKey, Label] = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            for step_id, label in enumerate(row["labels"]):
                truth[StepKey(row["case_id"], row["solution_id"], step_id)] = label
    return truth


def review(
    steps: Sequence[QueuedStep], settings: ExpertSettings, truth: Mapping[StepKey, Label], seed: int
) -> tuple[Measured, dict[StepKey, float]]:
    """Rank the steps, send a random pilot and the best to the experts within the budget, take what they have said.

    The pilot is drawn whatever the machines say, so that what experts say of it measures all steps; it is the same in
    every run over the same steps.
    """

    def would_say(key: StepKey) -> tuple[ExpertVerdict, ...]:
        return panel_verdicts(key, truth[key], settings)

    experts: dict[StepKey, tuple[ExpertVerdict, ...]] = read_expert_file(Path(settings.path)) if settings.path else {}
    unknown_keys = experts.keys() - {one.key for one in steps}
    if unknown_keys:
        raise InputError(f"expert.path={settings.path}: no such step: {tuple(sorted(unknown_keys)[0])}")
    pilot = pilot_keys(steps, settings, seed)
    if settings.kind == "simulated":
        experts |= {key: would_say(key) for key in pilot}
    chances, is_fitted = step_chances(steps, experts)
    order = rank_steps(steps, chances, settings.accuracy)
    logger.info("the queue is ranked by %s", "a fit to experts' verdicts" if is_fitted else "fixed beliefs")
    taken = experts.keys() | set(pilot)
    left = [place for place in order if steps[place].key not in taken]
    picked = pick_queue(steps, left, settings)[: max(0, most_reviews(steps, settings) - len(taken))]
    queue = {steps[place].key: review_value(chances[place], settings.accuracy) for place in picked}
    queue |= {key: PILOT_VALUE for key in pilot if settings.kind == "simulated" or key not in experts}
    if settings.kind == "simulated":
        experts |= {key: would_say(key) for key in queue}
    has_simulated = would_say if settings.kind == "simulated" else None
    known: dict[StepKey, Label] = {one.key: truth[one.key] for one in steps} if truth else {}
    return Measured(steps, chances, order, experts, known, has_simulated, pilot=frozenset(pilot)), queue


def most_reviews(steps: Sequence[QueuedStep], settings: ExpertSettings) -> int:
    return len(steps) if settings.steps == "all" else int(settings.max_share * len(steps))


def pilot_keys(steps: Sequence[QueuedStep], settings: ExpertSettings, seed: int) -> list[StepKey]:
    """Steps drawn at random for the first batch of the experts: it measures the labels, and fits the ranking."""
    num = min(int(settings.pilot_share * len(steps)), most_reviews(steps, settings))
    places = np.random.default_rng(seed).permutation(len(steps))[:num]
    return [steps[place].key for place in sorted(places.tolist())]


def fitted_chances(measured: Measured, consensus: ConsensusSettings) -> dict[StepKey, float] | None:
    """P(correct) of every step by a rule that is fitted on what the experts said; None for other rules, or too few."""
    if consensus.rule not in FITTED_RULES:
        return None
    chances: Sequence[float] | np.ndarray | None
    if consensus.rule == "dawid_skene":
        chances = consensus_chances(measured.steps, measured.experts)
    else:
        found, is_fitted = step_chances(measured.steps, measured.experts)
        chances = found if is_fitted else None
    if chances is None:
        logger.warning(
            "consensus.rule=%s needs %d experts' decisions, right and wrong steps among them; there are %d with a "
            "verdict: the other steps stay unknown",
            *(consensus.rule, LEAST_VERDICTS, len(measured.experts)),
        )
        return None
    return {step.key: float(chance) for step, chance in zip(measured.steps, chances, strict=True)}
