"""A short training run on tiny parts, and the same as a program for two processes (started with torchrun)."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tiny import IMAGE_SETTINGS, make_cases, tiny_encoder, tiny_model, tiny_tokenizer

from medprm.encoding.collator import Collator, TreeCollator
from medprm.encoding.settings import LabelSettings
from medprm.encoding.tokens import LabelTokens
from medprm.model.lora import apply_lora
from medprm.model.settings import TuningSettings
from medprm.training.arguments import training_arguments
from medprm.training.dataset import StepDataset, build_dataset
from medprm.training.packing import pack_dataset
from medprm.training.settings import TrainingSettings
from medprm.training.trainer import PRMTrainer, StepMetrics

# Plain gradient descent: Adam divides by the gradient's size, and would blow a last-digit difference up.
PLAIN = {"optim": "sgd", "lr_scheduler_type": "constant", "warmup_steps": 0.0, "max_grad_norm": 0.0}


def tiny_dataset(folder: Path, num_cases: int = 8) -> StepDataset:
    images = folder / f"images{os.environ.get('RANK', '')}"  # each process draws its own, the same
    images.mkdir(exist_ok=True)
    cases = make_cases(images, num_cases)
    return build_dataset(cases, tiny_encoder(), LabelSettings(), images, IMAGE_SETTINGS)


def tiny_trainer(
    folder: Path,
    dataset: StepDataset,
    step_metrics: StepMetrics | None = None,
    packing: str = "none",
    tuning: str = "full",
    loss: str = "label_tokens",
    **settings: Any,
) -> PRMTrainer:
    """With `packing` tree, rows of one or two cases; with `tuning` lora, adapters that are not at their start."""
    torch.set_num_threads(1)
    rows = dataset if packing == "none" else pack_dataset(dataset, packing, 400)
    chosen: dict[str, Any] = {
        "use_cpu": True,
        "disable_tqdm": True,
        "learning_rate": 0.05,
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_steps": 1,
    }
    return PRMTrainer(
        model=tiny_model().train() if tuning == "full" else adapted_model(),
        args=training_arguments(TrainingSettings(**(chosen | settings)), folder / "run"),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=Collator(2, 2) if packing == "none" else TreeCollator(2, 2),
        label_tokens=LabelTokens.look_up(tiny_tokenizer()),
        step_metrics=step_metrics,
        loss=loss,
    )


def adapted_model() -> Any:
    """The tiny model under LoRA; at the adapters' start one of their two matrices is zero and so is a gradient."""
    torch.manual_seed(0)
    model: Any = apply_lora(tiny_model().train(), TuningSettings(kind="lora", r=4, lora_dropout=0.0))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def weights(trainer: PRMTrainer) -> dict[str, torch.Tensor]:
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def main(folder: Path, packing: str, tuning: str, num_rows: int) -> None:
    """Two processes with `num_rows` rows each; rank 0 writes the weights and the logged losses."""
    settings: dict[str, Any] = {"max_steps": 3, "per_device_train_batch_size": num_rows}
    trainer = tiny_trainer(folder, tiny_dataset(folder), packing=packing, tuning=tuning, **settings, **PLAIN)
    trainer.train()
    if trainer.is_world_process_zero():
        losses = [one["loss"] for one in trainer.state.log_history if "loss" in one]
        save_file(weights(trainer) | {"losses": torch.tensor(losses)}, folder / "two.safetensors")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
