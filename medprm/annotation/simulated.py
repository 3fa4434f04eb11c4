"""Simulated annotators for the phantom: a judge, Monte Carlo rollouts and an expert of stated accuracy.

In: the phantom's unlabelled candidates and its truth file. Out: training records with raw verdicts and fused labels.
The rollouts have the blindness of real ones: they see only whether the answer is still reached, so an error that
does not touch the answer (a right answer by a wrong path) stays hidden from them.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from medprm.annotation.consensus import fuse, label_step
from medprm.annotation.settings import SimulatedSettings
from medprm.cases.jsonl import read_records, write_records
from medprm.cases.schema import ExpertVerdict, JudgeVerdict, Label, MonteCarlo, Record, Sources

HARMLESS_ERRORS = frozenset({"wrong_side", "wrong_view", "wrong_second", "slip"})
BETA_CONCENTRATION = 12.0  # of the success chance around its mean, between prefixes


def annotate_phantom(folder: Path, settings: SimulatedSettings) -> dict[str, int]:
    """Read candidates.jsonl and truth.jsonl, write train.jsonl; returns the number of steps by way of labelling."""
    truths = {}
    with open(folder / "truth.jsonl") as lines:
        for line in lines:
            truth = json.loads(line)
            truths[truth["solution_id"]] = truth
    rng = np.random.default_rng([settings.seed, 77])
    counts: Counter[str] = Counter()
    labelled = []
    for record in read_records(folder / "candidates.jsonl"):
        labelled.append(annotate_record(record, truths[record.solution_id], settings, rng))
        counts.update(f"{step.annotation_method}:{step.label}" for step in labelled[-1].solution_steps)
    write_records(folder / "train.jsonl", labelled)
    return dict(sorted(counts.items()))


def annotate_record(
    record: Record, truth: dict[str, Any], settings: SimulatedSettings, rng: np.random.Generator
) -> Record:
    """The record with simulated sources and fused labels on every step."""
    steps = []
    touches_answer = False
    for step, label, error in zip(record.solution_steps, truth["labels"], truth["errors"], strict=True):
        touches_answer |= error is not None and error not in HARMLESS_ERRORS
        sources = Sources(
            judge=(JudgeVerdict(verdict=_verdict(label, settings.judge_accuracy, rng), model="simulated_judge"),),
            monte_carlo=(_rollouts(touches_answer, settings, rng),),
        )
        if fuse(sources, settings.consensus).label == "unknown":
            cannot_tell = rng.random() < settings.expert_cannot_tell
            verdict: Label = "unknown" if cannot_tell else _verdict(label, settings.expert_accuracy, rng)
            expert = (ExpertVerdict(verdict=verdict, expert_id="simulated_expert"),)
            sources = Sources(judge=sources.judge, monte_carlo=sources.monte_carlo, expert=expert)
        steps.append(label_step(step, sources, settings.consensus))
    return record.model_copy(update={"solution_steps": tuple(steps)})


def _verdict(truth: Label, accuracy: float, rng: np.random.Generator) -> Label:
    is_right = rng.random() < accuracy
    return truth if is_right else ("incorrect" if truth == "correct" else "correct")


def _rollouts(touches_answer: bool, settings: SimulatedSettings, rng: np.random.Generator) -> MonteCarlo:
    mean = settings.success_if_wrong if touches_answer else settings.success_if_right
    chance = rng.beta(mean * BETA_CONCENTRATION, (1 - mean) * BETA_CONCENTRATION)
    num_unparsed = int(rng.binomial(settings.num_rollouts, settings.unparsed_share))
    num_correct = int(rng.binomial(settings.num_rollouts - num_unparsed, chance))
    return MonteCarlo(
        num_correct=num_correct,
        num_wrong=settings.num_rollouts - num_unparsed - num_correct,
        num_unparsed=num_unparsed,
        num_planned=settings.num_rollouts,
        policy="simulated_policy",
    )
