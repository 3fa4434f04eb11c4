"""Settings to TrainingArguments: the same names, the paper's defaults, and no key that does nothing."""

import importlib.util
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from medprm.errors import InputError
from medprm.training.arguments import OURS, training_arguments
from medprm.training.settings import TrainingSettings


def test_every_setting_is_a_training_argument() -> None:
    known = {one.name for one in fields(TrainingArguments)}
    assert {one.name for one in fields(TrainingSettings)} - known == {"trainer_extra", "loss"}


def test_the_defaults_are_those_of_visualprm(tmp_path: Path) -> None:
    arguments = training_arguments(TrainingSettings(use_cpu=True), tmp_path)
    assert arguments.learning_rate == 1e-5
    assert (arguments.adam_beta1, arguments.adam_beta2, arguments.weight_decay) == (0.9, 0.999, 0.05)
    assert arguments.lr_scheduler_type == "cosine"
    assert arguments.num_train_epochs == 1
    assert arguments.get_warmup_steps(1000) == 50
    assert arguments.report_to == []


def test_every_given_setting_arrives(tmp_path: Path) -> None:
    settings = TrainingSettings(
        use_cpu=True, max_steps=7, learning_rate=0.1, seed=5, eval_strategy="steps", eval_steps=3, save_steps=2,
        trainer_extra={"optim_args": "a=1"},
    )  # fmt: skip
    arguments = training_arguments(settings, tmp_path)
    for one in fields(settings):
        if one.name not in OURS:
            assert getattr(arguments, one.name) == getattr(settings, one.name), one.name
    assert arguments.optim_args == "a=1"
    assert not arguments.dataloader_persistent_workers
    reading = replace(settings, dataloader_num_workers=2)
    assert training_arguments(reading, tmp_path).dataloader_persistent_workers, "they keep the tiles of an epoch"
    assert arguments.output_dir == str(tmp_path)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"learnig_rate": 1}, "no such field"),
        ({"learning_rate": 1}, "give training.learning_rate=1"),
        ({"label_names": []}, "decided by MedPRM"),
        ({"output_dir": "x"}, "decided by MedPRM"),
    ],
)
def test_extra_keys_that_cannot_work_are_refused(tmp_path: Path, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        training_arguments(TrainingSettings(use_cpu=True, trainer_extra=extra), tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eval_strategy": "never"}, "training.eval_strategy is 'never'"),
        ({"eval_strategy": "steps"}, "eval_steps is None"),
        ({"save_steps": 0}, "save_steps is 0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingSettings(**given)


def test_liger_kernels_leave_the_logits_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainingSettings(use_liger_kernel=True)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'medprm\[liger\]'"):
        training_arguments(settings, tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name == "liger_kernel" else find(name))
    arguments = training_arguments(settings, tmp_path)
    assert arguments.use_liger_kernel
    assert arguments.liger_kernel_config == {"fused_linear_cross_entropy": False, "cross_entropy": False}
