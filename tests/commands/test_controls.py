"""The controls' comparison on scores whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from medprm.commands.controls import compare, main
from medprm.evaluation.scored import ScoredSolution, write_scored


def _scores(looks: bool, seed: int) -> list[ScoredSolution]:
    """60 patients with two solutions; the first step depends on the image, the second does not."""
    truth_rng, rng = np.random.default_rng(0), np.random.default_rng(seed)
    solutions = []
    for patient in range(60):
        for number in range(2):
            labels = ["correct" if truth_rng.random() < 0.6 else "incorrect" for _ in range(2)]
            guesses = [0.8 if label == "correct" else 0.2 for label in labels]
            if not looks:
                guesses[0] = float(rng.random())
            solutions.append(
                ScoredSolution(
                    case_id=f"case{patient}",
                    patient_id=f"p{patient}",
                    group_id=f"p{patient}",
                    split="test",
                    solution_id=f"case{patient}-{number}",
                    generator=None,
                    answer="a",
                    is_correct=labels[1] == "correct",
                    step_scores=guesses,
                    labels=labels,
                    categories=["observation", "diagnosis"],
                    step_texts=["seen", "concluded"],
                )
            )
    return solutions


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, looks, seed in (
        ("run/evaluation", True, 1),
        ("run/permuted_images", False, 2),
        ("blank/evaluation", False, 3),
    ):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        write_scored(folder / "scored.jsonl", _scores(looks, seed))
        (folder / "metrics.json").write_text(json.dumps({"threshold": 0.5}))
    rows = [{"solution_id": one.solution_id, "depends": ["image", "reasoning"]} for one in _scores(looks=True, seed=1)]
    (tmp_path / "truth.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path


def test_a_model_that_looks(runs: Path) -> None:
    result = compare(runs / "run", {"images": runs / "blank"}, runs / "truth.jsonl", 0)["images"]
    assert result["num_steps"] == 120, "only the first steps depend on the image"
    assert result["auroc"]["intact"]["value"] == 1.0
    assert result["differences"]["intact_minus_permuted"]["low"] > 0.2
    assert abs(result["differences"]["permuted_minus_blank"]["value"]) < 0.2
    assert result["macro_f1_intact_minus_permuted"]["low"] > 0


def test_without_truth_all_steps_count(runs: Path) -> None:
    assert compare(runs / "run", {}, None, 0)["images"]["num_steps"] == 240


def test_a_missing_run_is_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(runs / "blank")]) == 2
    assert "no permuted_* folder" in capsys.readouterr().err
    assert main([str(runs / "run"), "--blank", "sound=x"]) == 2
    assert "INPUT one of images, context, documents" in capsys.readouterr().err
