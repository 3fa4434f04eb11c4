"""The simulated annotators have the accuracy that they state, and the blindness of real rollouts."""

from pathlib import Path

import numpy as np
import pytest

from medprm.annotation.settings import SimulatedSettings
from medprm.annotation.simulated import HARMLESS_ERRORS, annotate_phantom, annotate_record
from medprm.cases.jsonl import read_cases
from medprm.cases.phantom.build import build_phantom
from medprm.cases.phantom.records import draw_cases, truth_row
from medprm.cases.phantom.settings import PhantomSettings
from medprm.cases.schema import Record, join


@pytest.fixture(scope="module")
def annotated() -> list[tuple[Record, dict]]:
    rng = np.random.default_rng(0)
    pairs = []
    for drawn in draw_cases(rng, 120, 8, "train"):
        for solution, true in zip(drawn.solutions, drawn.truths, strict=True):
            truth = truth_row(drawn.case, drawn.study, solution, true)
            pairs.append((annotate_record(join(drawn.case, solution), truth, SimulatedSettings(), rng), truth))
    return pairs


def test_stated_accuracies(annotated: list[tuple[Record, dict]]) -> None:
    judge, expert, fused = [], [], []
    for record, truth in annotated:
        for step, label in zip(record.solution_steps, truth["labels"], strict=True):
            assert step.sources is not None
            judge.append(step.sources.judge[0].verdict == label)
            expert += [given.verdict == label for given in step.sources.expert if given.verdict != "unknown"]
            fused += [step.label == label] if step.label != "unknown" else []
    assert np.mean(judge) == pytest.approx(0.85, abs=0.02)
    assert np.mean(expert) == pytest.approx(0.98, abs=0.015)
    assert np.mean(fused) > 0.93


def test_only_disputed_steps_go_to_the_expert(annotated: list[tuple[Record, dict]]) -> None:
    for record, _ in annotated:
        for step in record.solution_steps:
            assert step.sources is not None
            if step.sources.expert:
                assert step.annotation_method in ("expert_verified", "unresolved")
            else:
                assert step.annotation_method == "rag_mc_consensus"


def test_rollouts_do_not_see_harmless_errors(annotated: list[tuple[Record, dict]]) -> None:
    scores: dict[str, list[float]] = {"sound": [], "harmless": [], "harmful": []}
    for record, truth in annotated:
        errors = [error for error in truth["errors"] if error]
        kind = "sound" if not errors else "harmless" if set(errors) <= HARMLESS_ERRORS else "harmful"
        score = record.solution_steps[-1].mc_score
        assert score is not None
        scores[kind].append(score)
    assert np.mean(scores["harmless"]) == pytest.approx(np.mean(scores["sound"]), abs=0.06)
    assert np.mean(scores["harmful"]) < 0.2


def test_training_records_are_written_with_fused_labels(tmp_path: Path) -> None:
    build_phantom(tmp_path / "set", PhantomSettings(0, 4, 1, 1, 2, 2, 2))
    counts = annotate_phantom(tmp_path / "set", SimulatedSettings())
    cases = read_cases(tmp_path / "set" / "train.jsonl")
    labels = [label for _, solutions in cases for solution in solutions for label in solution.labels]
    assert sum(counts.values()) == len(labels)
    assert {"correct", "incorrect"} <= set(labels)
