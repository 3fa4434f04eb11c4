"""Settings of training. Light: imports no torch and no transformers. Names as in `transformers.TrainingArguments`.

The defaults are those of VisualPRM at full size (arXiv 2503.10291, section 3); `scale=laptop` has its own.
"""

from dataclasses import dataclass, field
from typing import Any

from medprm.errors import InputError, check_choice, check_least
from medprm.model.settings import TREE_ATTENTION

STRATEGIES = ("no", "steps", "epoch")
PACKINGS = ("tree", "sequence", "none")
LOSSES = ("label_tokens", "full_vocabulary")
SELECTIONS = ("none", "bis", "random")
MAX_WEIGHT = 100.0


@dataclass
class SelectionSettings:
    """Which labelled solutions are trained on."""

    # none (all), bis (the most informative by the labels that they have, arXiv 2602.04145) or random (its control).
    kind: str = "none"
    # Share of the solutions of each source (metadata.source) that is kept, in (0, 1].
    share: float = 1.0
    # Of the draw, and of ties; null: the run's seed.
    seed: int | None = None

    def __post_init__(self) -> None:
        check_choice("selection.kind", self.kind, SELECTIONS)
        if not 0.0 < self.share <= 1.0:
            raise InputError(f"selection.share is {self.share}; expected above 0, and 1 at most")
        if self.kind == "none" and (self.share != 1.0 or self.seed is not None):
            raise InputError(
                "selection.share or seed is set with selection.kind=none, which keeps all; choose bis or random"
            )


@dataclass
class MixSettings:
    """Several sets in one run, and how often their solutions are seen."""

    # Name -> data folder whose train split is trained on beside that of `data`: +mix.sets.NAME=FOLDER.
    sets: dict[str, str] = field(default_factory=dict)
    # Name of a set (or data.name) -> how often an epoch sees each of its solutions; 1 where it is not named.
    weights: dict[str, float] = field(default_factory=dict)
    # metadata.source -> the same for the cases of one source, in whichever set.
    source_weights: dict[str, float] = field(default_factory=dict)
    # Solutions with an incorrect step are seen this many times as often.
    upsample_incorrect: float = 1.0
    # Train splits stay in their files (.jsonl) and are read when needed: for sets larger than memory.
    streaming: bool = False

    def __post_init__(self) -> None:
        for name, weight in [*self.weights.items(), *self.source_weights.items()]:
            if not 0.0 < weight <= MAX_WEIGHT:
                raise InputError(f"mix weight {name}={weight}; expected above 0 and {MAX_WEIGHT:g} at most")
        if not 0.0 < self.upsample_incorrect <= MAX_WEIGHT:
            raise InputError(
                f"mix.upsample_incorrect is {self.upsample_incorrect}; expected above 0 and {MAX_WEIGHT:g} at most"
            )

    def check_names(self, main: str) -> None:
        """InputError where a set has the name of the main one, or a weight that of none."""
        if main in self.sets:
            raise InputError(f"mix.sets.{main}: data.name is {main}, too; give one of them another name")
        for name in self.weights:
            if name != main and name not in self.sets:
                raise InputError(f"mix.weights.{name}: no such set; expected one of {', '.join([main, *self.sets])}")

    @property
    def is_weighted(self) -> bool:
        """Whether anything is seen other than once."""
        factors = [*self.weights.values(), *self.source_weights.values(), self.upsample_incorrect]
        return any(one != 1.0 for one in factors)


@dataclass
class PackingSettings:
    """What shares a row of a batch. Loss and scores do not depend on it, time and memory do."""

    # tree (all solutions of a case on one trunk, several cases a row), sequence (several solutions a row, each alone)
    # or none (one solution a row, padded).
    kind: str = "tree"
    # kind=tree or sequence: a row is filled up to this [tokens]; what is longer by itself has a row of its own.
    max_row_tokens: int = 16384
    # kind=tree: most solutions of a case on one tree; null means all. Fewer make a batch more varied, and cost more.
    max_tree_solutions: int | None = None
    # kind=tree or sequence: how a row attends: auto, gather, mask (SDPA or eager) or flex (GPU).
    attention: str = "auto"

    def __post_init__(self) -> None:
        check_choice("packing.kind", self.kind, PACKINGS)
        check_choice("packing.attention", self.attention, TREE_ATTENTION)
        check_least("packing.max_row_tokens", self.max_row_tokens, 1)
        if self.max_tree_solutions is not None and self.max_tree_solutions < 1:
            raise InputError(f"packing.max_tree_solutions is {self.max_tree_solutions}; expected null, or 1 or more")


@dataclass
class TrainingSettings:
    """How the weights are optimised."""

    # What a label token is weighed against: label_tokens (each other, as in scoring) or full_vocabulary (every token,
    # as language models are trained; computes every row of the output head at the label positions).
    loss: str = "label_tokens"

    # Passes over the training set [epochs]; max_steps, where positive, decides instead.
    num_train_epochs: float = 1.0
    # Optimiser steps; -1 means as many as num_train_epochs takes.
    max_steps: int = -1
    # Rows (medprm.training.settings.PackingSettings) in one forward on one device.
    per_device_train_batch_size: int = 1
    # Rows in one forward on one device during evaluation.
    per_device_eval_batch_size: int = 1
    # Forwards whose gradients are added up before an optimiser step.
    gradient_accumulation_steps: int = 1
    # Highest learning rate.
    learning_rate: float = 1e-5
    # Course of the learning rate after warm-up: cosine, linear, constant_with_warmup, ...
    lr_scheduler_type: str = "cosine"
    # Warm-up: below 1 a share of all steps, else a number of steps.
    warmup_steps: float = 0.05
    # Weight decay of AdamW; none on biases and norms.
    weight_decay: float = 0.05
    # First moment's decay of AdamW.
    adam_beta1: float = 0.9
    # Second moment's decay of AdamW.
    adam_beta2: float = 0.999
    # Gradients are clipped to this norm; 0 means never.
    max_grad_norm: float = 1.0
    # Optimiser, by transformers' name.
    optim: str = "adamw_torch"
    # Compute in bfloat16, weights kept in float32 (the loss is float32 always).
    bf16: bool = False
    # Recompute activations in the backward pass: less memory, about a third more time.
    activation_checkpointing: bool = False
    # Seed of the data order and of every random number in training.
    seed: int = 0
    # Training loss is logged every so many steps.
    logging_steps: int = 10
    # When the validation split is scored during training: no, steps or epoch.
    eval_strategy: str = "epoch"
    # eval_strategy=steps: every so many steps.
    eval_steps: int | None = None
    # When a checkpoint to resume from is written: no, steps or epoch.
    save_strategy: str = "steps"
    # save_strategy=steps: every so many steps.
    save_steps: int | None = 500
    # Checkpoints kept, the newest first; null means all.
    save_total_limit: int | None = 2
    # Processes that read and encode beside the training process.
    dataloader_num_workers: int = 0
    # Kernels of the package liger-kernel for norms, rotations and MLPs (GPU only); not yet run.
    use_liger_kernel: bool = False
    # Train on the CPU even where a GPU is present.
    use_cpu: bool = False
    # Hide progress bars.
    disable_tqdm: bool = False
    # Any further field of transformers.TrainingArguments.
    trainer_extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("eval_strategy", "save_strategy"):
            check_choice(f"training.{name}", getattr(self, name), STRATEGIES)
        check_choice("training.loss", self.loss, LOSSES)
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"training.{name} is {getattr(self, name)}; expected 1 or more")
        if self.use_liger_kernel and self.use_cpu:
            raise InputError(
                "training.use_liger_kernel is true with use_cpu=true: its kernels need a GPU; leave one of them out"
            )
        if self.learning_rate <= 0:
            raise InputError(f"training.learning_rate is {self.learning_rate}; expected more than 0")
        if self.max_steps < 1 and (self.max_steps != -1 or self.num_train_epochs <= 0):
            raise InputError(
                f"training.max_steps is {self.max_steps} and num_train_epochs {self.num_train_epochs}; expected a "
                "positive number of steps, or max_steps=-1 with a positive number of epochs"
            )
        for moment in ("eval", "save"):
            steps, strategy = getattr(self, f"{moment}_steps"), getattr(self, f"{moment}_strategy")
            if strategy == "steps" and (steps is None or steps < 1):
                raise InputError(
                    f"training.{moment}_strategy is steps and {moment}_steps is {steps}; expected 1 or more steps"
                )
