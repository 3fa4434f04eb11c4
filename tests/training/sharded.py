"""A program for torchrun: the same short run, plain and under each ZeRO stage; losses, and the bytes that a rank owns.

    torchrun --nproc_per_node 2 tests/training/sharded.py FOLDER MODE...

FOLDER holds `base`, a checkpoint. Modes: ddp, zero1, zero2, zero3, with _lora, _bf16, _text or _tree. Every rank
writes FOLDER/rank_N.json: mode -> {"losses": [...], "weights": bytes, "gradients": bytes, "optimizer": bytes}.
"""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from runs import tiny_dataset
from tiny import tiny_tokenizer
from transformers import TrainerCallback
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from medprm.encoding.collator import Collator, TreeCollator
from medprm.encoding.tokens import LabelTokens
from medprm.model.loading import load_checkpoint
from medprm.model.settings import TuningSettings
from medprm.model.tuning import tuned
from medprm.training.arguments import start_deepspeed, training_arguments
from medprm.training.packing import pack_dataset
from medprm.training.settings import TrainingSettings
from medprm.training.trainer import PRMTrainer

NUM_STEPS = 20
GLOBAL_BATCH = 4
# Three solutions lose their images: fewer than a global batch, so that no step is without any.
TEXT_ONLY = (0, 1, 2)
# A row holds the solutions of one case.
MAX_ROW_TOKENS = 400
LORA = {"kind": "lora", "r": 4, "lora_dropout": 0.0}


def deepspeed_config(stage: int) -> dict[str, Any]:
    """Small buckets, so that gradients leave while the backward pass goes on; no weight is too small to be sharded."""
    zero = {
        "stage": stage,
        "stage3_gather_16bit_weights_on_model_save": True,
        "stage3_param_persistence_threshold": 0,
        "reduce_bucket_size": 4096,
    }
    auto = dict.fromkeys(
        ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "train_batch_size", "gradient_clipping"),
        "auto",
    )
    return {"zero_optimization": zero, "bf16": {"enabled": "auto"}, **auto}


def make_trainer(folder: Path, mode: str, num_ranks: int) -> PRMTrainer:
    """The order is that of `train`: DeepSpeed, arguments, model."""
    torch.set_num_threads(1)
    unset_hf_deepspeed_config()
    AcceleratorState._reset_state()
    deepspeed = deepspeed_config(int(mode[4])) if mode.startswith("zero") else None
    if deepspeed:
        start_deepspeed(use_cpu=True)
    settings = TrainingSettings(
        use_cpu=True, disable_tqdm=True, learning_rate=1e-3, eval_strategy="no", save_strategy="no", logging_steps=1,
        max_steps=NUM_STEPS, per_device_train_batch_size=GLOBAL_BATCH // num_ranks, bf16=mode.endswith("bf16"),
    )  # fmt: skip
    arguments = training_arguments(settings, folder / "run", deepspeed)
    tuning = TuningSettings(**(LORA if "lora" in mode else {}))
    dataset = tiny_dataset(folder)
    for index in TEXT_ONLY if mode.endswith("text") else ():
        item = dataset.items[index]
        case = item.case.model_copy(update={"images": (), "image": None})
        dataset.items[index] = item._replace(case=case)  # type: ignore[index]
    is_tree = mode.endswith("tree")
    rows = pack_dataset(dataset, "tree", MAX_ROW_TOKENS) if is_tree else dataset
    collator = TreeCollator if is_tree else Collator
    assert len(rows) % GLOBAL_BATCH == 0, "some rows would be repeated on two ranks and not on one"
    gauge = Gauge()
    gauge.trainer = PRMTrainer(
        model=tuned(load_checkpoint(folder / "base").model.train(), tuning),
        args=arguments,
        train_dataset=rows,
        data_collator=collator(pad_id=2, num_labels=2),
        label_tokens=LabelTokens.look_up(tiny_tokenizer()),
        callbacks=[gauge],
    )
    return gauge.trainer


def losses(trainer: PRMTrainer) -> list[float]:
    return [float(one["loss"]) for one in trainer.state.log_history if "loss" in one]


def num_bytes(tensors: Iterable[Any]) -> int:
    """Of the memory behind the tensors, each piece once."""
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage() for one in tensors if one is not None}
    return sum(one.nbytes() for one in storages.values())


class Gauge(TrainerCallback):
    """Reads what the engine owns: gradients at their most during a backward pass, the rest after the last step."""

    def __init__(self) -> None:
        self.gradients = 0
        self.trainer: Any = None
        self.engine: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.engine is not None or not self.trainer.is_deepspeed_enabled:
            return
        self.engine = model = self.trainer.deepspeed
        step = model.step

        def measured_step(*given: Any, **named: Any) -> Any:
            self.measure()
            return step(*given, **named)

        model.step = measured_step
        if model.zero_optimization_stage() == 1:
            for parameter in model.module.parameters():
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(lambda _: self.measure())

    def measure(self) -> None:
        optimizer = self.engine.optimizer
        held = [one.grad for one in self.engine.module.parameters()]
        held += [one for group in optimizer.averaged_gradients.values() for one in group or ()]
        held.append(getattr(optimizer, "grad_partitions_flat_buffer", None))
        if self.engine.zero_optimization_stage() == 2:
            # The rank's part of the one weight that lies in two parts is a view of its whole gradient.
            self.gradients = max(self.gradients, sum(one.nbytes for one in held if one is not None))
        else:
            self.gradients = max(self.gradients, num_bytes(held))

    def owned(self) -> dict[str, int]:
        optimizer = self.engine.optimizer
        parameters = list(self.engine.module.parameters())
        weights = [getattr(one, "ds_tensor", one) for one in parameters]
        masters = getattr(optimizer, "single_partition_of_fp32_groups", None) or optimizer.fp32_partitioned_groups_flat
        moments = [
            value
            for state in optimizer.optimizer.state.values()
            for value in state.values()
            if torch.is_tensor(value) and value.ndim
        ]
        return {
            "weights": num_bytes(weights),
            "gradients": self.gradients,
            "optimizer": num_bytes([*masters, *moments]),
        }


def main(folder: Path, modes: list[str]) -> None:
    rank, num_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    results: dict[str, Any] = {}
    for mode in modes:
        trainer = make_trainer(folder, mode, num_ranks)
        trainer.train()
        (gauge,) = [one for one in trainer.callback_handler.callbacks if isinstance(one, Gauge)]
        results[mode] = {"losses": losses(trainer)} | (gauge.owned() if gauge.engine is not None else {})
    (folder / f"rank_{rank}.json").write_text(json.dumps(results))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
