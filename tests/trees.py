"""Random solutions with common first steps, as trees and alone, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from tiny import TILE_SIZE, WORDS, full_record

from medprm.cases.schema import CaseSolutions, Solution


def branching_cases(folder: Path, seed: int, num_cases: int = 3, most_solutions: int = 16) -> list[CaseSolutions]:
    """Cases with 0 to 3 images and 1 to 16 solutions.

    First steps are shared, with labels and Monte Carlo counts that may differ; some labels are unknown, some solutions
    are equal, and some end where others go on.
    """
    generator = np.random.default_rng(seed)
    cases = []
    for number in range(num_cases):
        names = [f"{seed}_{number}_{index}.png" for index in range(generator.integers(0, 4))]
        for name in names:
            size = (TILE_SIZE, TILE_SIZE * int(generator.integers(1, 3)), 3)
            PillowImage.fromarray(generator.integers(0, 255, size, dtype=np.uint8)).save(folder / name)
        solutions: list[Solution] = []
        for index in range(int(generator.integers(1, most_solutions + 1))):
            texts = _continued(generator, solutions)
            steps = [_step(generator, k, text) for k, text in enumerate(texts)]
            record = full_record(
                case_id=f"case_{number}",
                patient_id=f"patient_{number}",
                images=[{"path": name} for name in names],
                solution_id=f"s{index}",
                solution_steps=steps,
            )
            solutions.append(record.solution())
        cases.append(CaseSolutions(record.case(), solutions))
    return cases


def _continued(generator: np.random.Generator, solutions: list[Solution]) -> list[str]:
    """The first steps of an earlier solution, all of them perhaps, and none to three new ones."""
    kept: list[str] = []
    if solutions and generator.random() < 0.7:
        texts = list(solutions[int(generator.integers(len(solutions)))].step_texts)
        kept = texts[: int(generator.integers(0, len(texts) + 1))]
    new = [" ".join(generator.choice(WORDS, generator.integers(1, 4))) for _ in range(generator.integers(0, 4))]
    return [*kept, *new] or ["clear"]


def _step(generator: np.random.Generator, index: int, text: str) -> dict[str, Any]:
    label = str(generator.choice(["correct", "incorrect", "unknown"])) if index else "correct"
    num_correct = int(generator.integers(0, 5))
    run = {"num_correct": num_correct, "num_wrong": 4 - num_correct, "num_unparsed": 0}
    return {
        "step_id": index,
        "content": text,
        "label": label,
        "confidence": float(generator.uniform(0.3, 1.0)),
        "sources": {"monte_carlo": [run]},
    }
