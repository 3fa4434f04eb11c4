"""Our settings to `transformers.TrainingArguments`.

In: TrainingSettings, the run's folder, an optional DeepSpeed configuration. Out: TrainingArguments. Keys of
`trainer_extra` that do not exist, repeat a setting or would break the loss are refused.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib import util
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from medprm.errors import InputError
from medprm.training.settings import TrainingSettings

# Decided by the project: the loss, the collator or the run's folder depend on them.
FIXED = {
    "average_tokens_across_devices": True,
    "remove_unused_columns": False,
    "label_names": ["labels"],
}
# The loss is ours: it reads logits, which these two would not compute.
LIGER = {"fused_linear_cross_entropy": False, "cross_entropy": False}
# Settings that are no fields of TrainingArguments.
OURS = ("trainer_extra", "loss")
REFUSED = (
    *FIXED,
    "output_dir",
    "deepspeed",
    "label_smoothing_factor",
    "report_to",
    "push_to_hub",
    "group_by_length",
    "liger_kernel_config",
    "enable_jit_checkpoint",
)


def training_arguments(
    settings: TrainingSettings,
    output_dir: Path,
    deepspeed: Mapping[str, Any] | None = None,
    report_to: Sequence[str] = (),
) -> TrainingArguments:
    """`report_to` names loggers as transformers does ("wandb"); empty means none."""
    extra = dict(settings.trainer_extra)
    check_trainer_extra(extra)
    given = {name: value for name, value in asdict(settings).items() if name not in OURS}
    for name in ("eval_steps", "save_steps"):
        if given[name] is None:
            del given[name]
    if settings.use_liger_kernel:
        if util.find_spec("liger_kernel") is None:
            raise InputError(
                "training.use_liger_kernel is true but liger-kernel is not installed: pip install 'medprm[liger]', "
                "or leave it out"
            )
        extra["liger_kernel_config"] = LIGER
    # Workers keep the tiles that they have decoded in memory: one that lives for an epoch would decode them again.
    extra.setdefault("dataloader_persistent_workers", settings.dataloader_num_workers > 0)
    # Pinned memory is for copies to a GPU.
    extra.setdefault("dataloader_pin_memory", not settings.use_cpu)
    return TrainingArguments(
        output_dir=str(output_dir),
        deepspeed=dict(deepspeed) if deepspeed else None,
        report_to=list(report_to),
        **given,
        **FIXED,
        **extra,
    )


def start_deepspeed(use_cpu: bool) -> None:
    """Before TrainingArguments and the model: under ZeRO-3, weights are sharded while they are loaded."""
    if util.find_spec("deepspeed") is None:
        raise InputError("deepspeed is set but not installed: pip install 'medprm[train]', or choose deepspeed=none")
    if "RANK" not in os.environ:
        raise InputError(
            "deepspeed is set but the process was not started by torchrun; start with torchrun --nproc_per_node "
            "NUM_GPUS train.py ... (launch/one_node.sh), or choose deepspeed=none"
        )
    if use_cpu:
        import deepspeed  # heavy, and optional  # pyright: ignore[reportMissingImports]
        import deepspeed.ops  # pyright: ignore[reportMissingImports]

        # Else it compiles a kernel for shared memory; gloo does without.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # TrainingArguments start gloo for themselves and leave DeepSpeed's part undone.
        deepspeed.init_distributed(dist_backend="gloo")


def check_trainer_extra(extra: Mapping[str, Any]) -> None:
    """Raises InputError naming the first key that cannot be passed on."""
    known = {one.name for one in fields(TrainingArguments) if one.init}
    own = {one.name for one in fields(TrainingSettings)}
    for name in extra:
        where = f"training.trainer_extra.{name}"
        if name in own:
            raise InputError(f"{where}: this is a setting of its own; give training.{name}={extra[name]}")
        if name in REFUSED:
            raise InputError(f"{where}: decided by MedPRM and not free; leave it out")
        if name not in known:
            raise InputError(f"{where}: no such field of transformers.TrainingArguments; check the spelling")
