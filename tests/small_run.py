"""A base model, a data folder and settings small enough to train and evaluate for real in a second or two."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiny import make_cases, tiny_loaded

from medprm.cases.jsonl import write_cases
from medprm.cases.schema import CaseSolutions
from medprm.config import DataSettings, EvaluateConfig, TrainConfig
from medprm.evaluation.settings import EvaluationSettings
from medprm.model.loading import save_checkpoint
from medprm.model.settings import ModelSettings
from medprm.scoring.settings import ScoringSettings
from medprm.training.settings import PackingSettings, TrainingSettings

SIZES = {"train": 8, "validation": 3, "test": 4}
# Two cases of the training split a row: four rows.
MAX_ROW_TOKENS = 700
# Every setting that makes a run small, as the command line says it.
SMALL = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "learning_rate": 1e-3,
    "max_steps": 6,
    "save_steps": 2,
    "logging_steps": 1,
    "use_cpu": True,
    "disable_tqdm": True,
}


def write_base(folder: Path) -> Path:
    """An untrained model of two layers as a checkpoint."""
    save_checkpoint(folder, tiny_loaded(), None)
    return folder


def write_records(folder: Path, seed: int = 0) -> Path:
    """train, validation and test with patients, cases and images of their own."""
    for number, (split, num_cases) in enumerate(SIZES.items()):
        images = folder / split
        images.mkdir(parents=True)
        cases = [_renamed(item, split) for item in make_cases(images, num_cases, num_solutions=3, seed=seed + number)]
        write_cases(folder / f"{split}.jsonl", cases)
    return folder


def _renamed(item: CaseSolutions, split: str) -> CaseSolutions:
    case = item.case
    images = tuple(image.model_copy(update={"path": f"{split}/{image.path}"}) for image in case.images)
    names = {"case_id": f"{split}_{case.case_id}", "patient_id": f"{split}_{case.patient_id}", "images": images}
    # Answers differ between candidates, so that there is something to choose from.
    solutions = [
        one.model_copy(update={"is_correct": index % 2 == 0, "answer": "AB"[index % 2]})
        for index, one in enumerate(item.solutions)
    ]
    return CaseSolutions(case.model_copy(update=names), solutions)


def train_config(base: Path, records: Path, output: Path, **changes: Any) -> TrainConfig:
    """`training` in `changes` is a mapping of training settings; the rest are fields of TrainConfig."""
    training = TrainingSettings(**(SMALL | changes.pop("training", {})))
    fields = {
        "output_dir": str(output),
        "num_threads": 1,
        "data": DataSettings(name="small", path=str(records)),
        "model": ModelSettings(path=str(base)),
        "packing": PackingSettings(max_row_tokens=MAX_ROW_TOKENS),
    }
    return TrainConfig(training=training, **(fields | changes))


def evaluate_config(records: Path, output: Path, **changes: Any) -> EvaluateConfig:
    fields = {
        "output_dir": str(output),
        "num_threads": 1,
        "data": DataSettings(name="small", path=str(records)),
        "scoring": ScoringSettings(device="cpu"),
        "evaluation": EvaluationSettings(num_bootstrap=100, max_candidates=[1, 2]),
    }
    return EvaluateConfig(**(fields | changes))


def train_arguments(base: Path, records: Path, output: Path, training: Mapping[str, Any] | None = None) -> list[str]:
    """The same run from a command line."""
    settings = [f"training.{name}={value}" for name, value in (SMALL | dict(training or {})).items()]
    return [
        f"output_dir={output}",
        "scale=laptop",
        "num_threads=1",
        "data.name=small",
        f"data.path={records}",
        f"model.path={base}",
        f"packing.max_row_tokens={MAX_ROW_TOKENS}",
        "packing.max_tree_solutions=null",
        "training.optim=adamw_torch",
        "training.num_train_epochs=1",
        *settings,
    ]
