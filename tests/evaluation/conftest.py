"""A simulated set of scored solutions whose steps follow a known score model."""

from collections.abc import Callable

import numpy as np
import pytest

from medprm.evaluation.scored import ScoredSolution

CATEGORIES = ["observation", "analysis", "integration", "diagnosis"]
MakeSolutions = Callable[..., list[ScoredSolution]]


def simulate(
    num_patients: int = 30, num_candidates: int = 8, seed: int = 0, split: str = "test", signal: float = 0.3
) -> list[ScoredSolution]:
    """One case per patient; a wrong solution has an error from some step on, and mostly one wrong answer."""
    generator = np.random.default_rng(seed)
    solutions = []
    for patient in range(num_patients):
        case_id, patient_id = f"{split}_case_{patient:04d}", f"{split}_patient_{patient:04d}"
        for candidate in range(num_candidates):
            num_steps = int(generator.integers(3, 9))
            is_correct = bool(generator.random() < 0.45)
            first_error = num_steps if is_correct else int(generator.integers(0, num_steps))
            labels = ["correct" if step < first_error else "incorrect" for step in range(num_steps)]
            if candidate == 0:
                labels[-1] = "neutral" if patient % 2 else "unknown"
            noise = generator.random(num_steps)
            truth = np.array([step < first_error for step in range(num_steps)])
            wrong = "B" if generator.random() < 0.8 else "C"
            solutions.append(
                ScoredSolution(
                    case_id=case_id,
                    patient_id=patient_id,
                    group_id=patient_id,
                    split=split,
                    solution_id=f"{case_id}_{candidate}",
                    generator="simulated",
                    answer="A" if is_correct else wrong,
                    is_correct=is_correct,
                    step_scores=[float(one) for one in signal * truth + (1 - signal) * noise],
                    labels=labels,
                    categories=[CATEGORIES[min(step, 3)] for step in range(num_steps)],
                    step_texts=[f"Step {step} of candidate {candidate}." for step in range(num_steps)],
                )
            )
    return solutions


@pytest.fixture(scope="session")
def make_solutions() -> MakeSolutions:
    return simulate
