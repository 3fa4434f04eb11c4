"""The phantom set as training finds it: made once, complete or absent, and its truth is not an input of training."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import SMALL

from medprm.annotation.settings import SimulatedSettings
from medprm.cases.folder import SPLITS, open_data
from medprm.cases.phantom.settings import PhantomSettings
from medprm.commands import train
from medprm.commands.data_source import open_source
from medprm.commands.phantom import ensure_phantom
from medprm.config import DataSettings, TrainConfig
from medprm.model.settings import ModelSettings
from medprm.training.settings import TrainingSettings

SIZE = PhantomSettings(
    num_train_patients=6,
    num_validation_patients=3,
    num_test_patients=3,
    num_train_candidates=2,
    num_validation_candidates=2,
    num_test_candidates=2,
)


def test_made_once_and_opened(tmp_path: Path) -> None:
    first = ensure_phantom(tmp_path, SIZE, SimulatedSettings())
    made = (first / "train.jsonl").stat().st_mtime_ns
    assert ensure_phantom(tmp_path, SIZE, SimulatedSettings()) == first
    assert (first / "train.jsonl").stat().st_mtime_ns == made
    data = open_data(first)
    assert all(data.has(split) for split in SPLITS)
    assert not list(tmp_path.glob(".phantom-*")), "scratch folders are removed"


def test_other_settings_are_another_set(tmp_path: Path) -> None:
    first = ensure_phantom(tmp_path, SIZE, SimulatedSettings())
    assert ensure_phantom(tmp_path, SIZE, SimulatedSettings(judge_accuracy=0.9)) != first


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, settings: SimulatedSettings) -> dict[str, int]:
        raise OSError("disk full")

    monkeypatch.setattr("medprm.commands.phantom.annotate_phantom", fail)
    with pytest.raises(OSError, match="disk full"):
        ensure_phantom(tmp_path, SIZE, SimulatedSettings())
    assert list(tmp_path.iterdir()) == []


def test_training_does_not_read_the_truth(base: Path, tmp_path: Path) -> None:
    """With the truth file deleted the trained weights are the same, bit for bit."""
    data = DataSettings(phantom=SIZE)
    runs = [tmp_path / name for name in ("with", "without")]
    for run in runs:
        config = TrainConfig(
            output_dir=str(run),
            num_threads=1,
            data=data,
            model=ModelSettings(path=str(base)),
            training=TrainingSettings(**(SMALL | {"max_steps": 3, "eval_strategy": "no"})),
        )
        train.run(config)
        truth = open_source(data, tmp_path).path / "truth.jsonl"
        truth.unlink(missing_ok=True)
    weights = [load_file(run / "checkpoint" / "model.safetensors") for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
