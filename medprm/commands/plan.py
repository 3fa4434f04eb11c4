"""`train.py plan=true`: what a run will need, before it is paid for. No weights are read and nothing is trained.

In: TrainConfig, and the same settings at every other scale. Out: a table and `plan.json` in the run's folder:
parameters by part, memory per GPU by part for each ZeRO stage, tokens and FLOPs, hours and dollars, and which scale
fits.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import AutoTokenizer, InternVLConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from medprm.cases.atomic import replaced_file
from medprm.cases.folder import DataFolder
from medprm.cases.schema import CaseSolutions
from medprm.commands.data_source import open_source, with_labels
from medprm.config import TrainConfig
from medprm.encoding.encoder import Encoded, Encoder
from medprm.encoding.packing import pack
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.tree import group_sequences, tree_size
from medprm.errors import InputError
from medprm.images.settings import ImageSettings
from medprm.model.architectures import architecture_of, count_parameters, meta_model
from medprm.model.loading import tokens_per_tile
from medprm.model.tiny import shipped_base
from medprm.model.tuning import tuned
from medprm.run import PLAN_FILE
from medprm.training.plan_table import ESTIMATES, format_plan
from medprm.training.planning import (
    GIB,
    STAGES,
    Counts,
    Lengths,
    Shape,
    activation_bytes,
    buffer_bytes,
    hours,
    logit_bytes,
    owned_bytes,
    stage_of,
    step_flops,
)
from medprm.training.selection import select
from medprm.training.settings import PackingSettings

logger = logging.getLogger(__name__)


def run(config: TrainConfig, other_scales: Mapping[str, TrainConfig | str]) -> Path:
    """Print the plan and write plan.json; `other_scales` has a reason instead of settings where they are refused."""
    transformers_logging.set_verbosity_error()
    if config.mix.sets or config.mix.is_weighted:
        raise InputError(
            "plan=true reckons with every solution of data.path once, and mix.* is set; plan each set by itself "
            "without mix.*, and multiply by its weight"
        )
    data = open_source(config.data, Path(config.output_dir).parent)
    cases = with_labels({"train": data.split("train")}, config.labelled)["train"]
    if config.selection.kind != "none":
        seed = config.seed if config.selection.seed is None else config.selection.seed
        cases = select(cases, config.selection, config.labels, seed).cases
    measured: dict[str, tuple[InternVLConfig, Sample, str]] = {}
    plan = make_plan(config, cases, data, measured)
    plan["scales"] = {
        name: verdict(make_plan(other, cases, data, measured)) if isinstance(other, TrainConfig) else {"refused": other}
        for name, other in other_scales.items()
    }
    file = Path(config.output_dir) / PLAN_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(file) as draft:
        draft.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    print(format_plan(plan))
    print(f"plan: {file}")
    return file


class Sample(NamedTuple):
    """The sampled solutions, one entry each, and the rows that they are packed into."""

    num_solutions: int
    tokens: np.ndarray
    text_tokens: np.ndarray
    tiles: np.ndarray
    steps: np.ndarray
    row_tokens: np.ndarray
    row_tiles: np.ndarray
    row_steps: np.ndarray


def make_plan(
    config: TrainConfig,
    cases: Sequence[CaseSolutions],
    data: DataFolder,
    measured: dict[str, tuple[InternVLConfig, Sample, str]],
) -> dict[str, Any]:
    """Everything that plan.json says of one configuration. `measured` keeps what depends on the model alone."""
    source = shipped_base() if config.model.path == "tiny" else Path(config.model.path)
    key = f"{source} {config.model.max_tiles} {config.packing}"
    if key not in measured:
        architecture = architecture_of(source)
        tokenizer, said = find_tokenizer(source)
        measured[key] = (architecture, measure(cases, data, config, architecture, tokenizer), said)
    architecture, sample, tokenizer_said = measured[key]
    model = meta_model(architecture)
    parameters = count_parameters(tuned(model, config.tuning))
    counts = total_counts(parameters, model, config)
    lengths = summarise(sample, config)
    shape = shape_of(architecture)
    return {
        "run": config.run_name,
        "model": config.model.path,
        "tuning": config.tuning.kind,
        "parameters": parameters | {"total": counts.total, "trained": counts.trained},
        "lengths": lengths._asdict() | {"tokenizer": tokenizer_said},
        "planning": asdict(config.planning),
        "stage": stage_of(config.deepspeed),
        "memory_gib": memory_table(config, counts, shape, lengths),
        "activations_gib": {
            name: activations(config, shape, lengths, is_checkpointed) / GIB
            for name, is_checkpointed in (("without_checkpointing", False), ("with_checkpointing", True))
        },
        "logits_gib": {
            "at_label_positions": label_logits_at(config, shape, lengths) / GIB,
            "if_at_every_position": logits_at(config, shape, lengths.max_row_tokens) / GIB,
        },
        "estimates": list(ESTIMATES),
        "work": work(config, parameters, shape, lengths),
    }


def find_tokenizer(source: Path) -> tuple[PreTrainedTokenizerBase, str]:
    """The model's own, where its folder is at hand; else that of the tiny base, said to be so."""
    if any((source / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False), "the model's own"
    said = "the tiny base's, since the model's own is not at hand: text lengths are an estimate"
    return AutoTokenizer.from_pretrained(shipped_base()), said


def measure(
    cases: Sequence[CaseSolutions],
    data: DataFolder,
    config: TrainConfig,
    architecture: InternVLConfig,
    tokenizer: PreTrainedTokenizerBase,
) -> Sample:
    """Lengths of the solutions of randomly chosen cases, as they are encoded and packed; images by their headers."""
    vision: Any = architecture.vision_config
    most = config.model.max_tiles or (1 if config.model.path == "tiny" else ImageSettings().max_tiles)
    encoder = Encoder.from_settings(tokenizer, config.encoding, tokens_per_tile(architecture))
    pixels = PixelLoader(data.image_root, ImageSettings(int(vision.image_size[0]), most))
    num_solutions = sum(bool(one.solution_steps) for item in cases for one in item.solutions)
    alone: list[tuple[int, int, int, int]] = []  # tokens, text tokens, tiles, steps of a solution
    trees: list[tuple[int, int, int]] = []  # tokens, tiles, steps of a tree
    for index in np.random.default_rng(config.seed).permutation(len(cases)):
        room = config.planning.max_solutions - len(alone)
        case, solutions = cases[index]
        chosen = [one for one in solutions if one.solution_steps][:room]
        if not chosen:
            continue
        tiles = pixels.count(case)
        encoded = [encoder.encode(case, one.step_texts, tiles) for one in chosen]
        alone += [(len(e.input_ids), e.num_text_tokens, sum(tiles), len(e.label_positions)) for e in encoded]
        for group in grouped(encoded, config.packing):
            num_steps = sum(len(encoded[n].label_positions) for n in group)
            trees.append((tree_size([encoded[n] for n in group]), sum(tiles), num_steps))
    per_tree = np.array(trees, dtype=np.int64)
    is_packed = config.packing.kind != "none"
    rows = (
        pack(per_tree[:, 0].tolist(), config.packing.max_row_tokens) if is_packed else [[n] for n in range(len(trees))]
    )
    per_row = np.array([per_tree[row].sum(axis=0) for row in rows], dtype=np.int64)
    return Sample(num_solutions, *np.array(alone, dtype=np.int64).T, *per_row.T)


def grouped(encoded: Sequence[Encoded], packing: PackingSettings) -> list[list[int]]:
    """The trees of a case's solutions, as training has them."""
    if packing.kind == "tree":
        return group_sequences(encoded, packing.max_row_tokens, packing.max_tree_solutions)
    return [[index] for index in range(len(encoded))]


def summarise(sample: Sample, config: TrainConfig) -> Lengths:
    """Means and maxima; the padded length is that expected of a batch of the run's size."""
    size = config.training.per_device_train_batch_size
    num_rows = len(sample.row_tokens)
    # The expected largest of `size` rows: the i-th smallest is it with probability (i / n)^size - ((i - 1) / n)^size.
    is_largest = np.diff((np.arange(num_rows + 1) / num_rows) ** size)
    return Lengths(
        num_solutions=sample.num_solutions,
        num_sampled=len(sample.tokens),
        mean_tokens=float(sample.tokens.mean()),
        mean_text_tokens=float(sample.text_tokens.mean()),
        mean_tiles=float(sample.tiles.mean()),
        mean_steps=float(sample.steps.mean()),
        solutions_per_row=len(sample.tokens) / num_rows,
        row_tokens=float(sample.row_tokens.mean()),
        max_row_tokens=int(sample.row_tokens.max()),
        padded_row_tokens=float(np.sort(sample.row_tokens) @ is_largest),
        row_tiles=float(sample.row_tiles.mean()),
        max_row_tiles=int(sample.row_tiles.max()),
        max_row_steps=int(sample.row_steps.max()),
    )


def total_counts(parameters: Mapping[str, Mapping[str, int]], model: Any, config: TrainConfig) -> Counts:
    """Summed over the parts; under qlora the frozen linear layers of the text model are in four bits."""
    in_four_bits = 0
    if config.tuning.kind == "qlora":
        names = set(config.tuning.target_modules)
        in_four_bits = sum(
            parameter.numel()
            for name, parameter in model.named_parameters()
            if "language_model" in name and names & set(name.split(".")) and not parameter.requires_grad
        )
    return Counts(
        total=sum(part["total"] for part in parameters.values()),
        trained=sum(part["trained"] for part in parameters.values()),
        in_four_bits=in_four_bits,
    )


def shape_of(architecture: InternVLConfig) -> Shape:
    """The sizes that activations and FLOPs depend on."""
    text: Any = architecture.text_config
    vision: Any = architecture.vision_config
    patches = (vision.image_size[0] // vision.patch_size[0]) * (vision.image_size[1] // vision.patch_size[1])
    head = text.hidden_size // text.num_attention_heads
    return Shape(
        text_layers=text.num_hidden_layers,
        text_hidden=text.hidden_size,
        text_key_value=text.num_key_value_heads * head,
        text_mlp=text.intermediate_size,
        vision_layers=vision.num_hidden_layers,
        vision_hidden=vision.hidden_size,
        vision_mlp=vision.intermediate_size,
        tokens_per_tile_in=patches + 1,
        tokens_per_tile_out=tokens_per_tile(architecture),
        vocabulary=text.vocab_size,
        embedding_parameters=text.vocab_size * text.hidden_size,
        head_parameters=text.vocab_size * text.hidden_size,
    )


def activations(config: TrainConfig, shape: Shape, lengths: Lengths, is_checkpointed: bool) -> float:
    """Of the longest batch that can come, in bytes."""
    size = config.training.per_device_train_batch_size
    tokens, tiles = size * lengths.max_row_tokens, size * lengths.max_row_tiles
    return activation_bytes(shape, tokens, tiles, config.training.bf16, is_checkpointed)


def label_logits_at(config: TrainConfig, shape: Shape, lengths: Lengths) -> float:
    """Logits at the label positions, of the label tokens or of all, and their gradients, in bytes."""
    positions = config.training.per_device_train_batch_size * lengths.max_row_steps
    if config.training.loss == "full_vocabulary":
        return logit_bytes(shape, positions, config.training.bf16)
    return positions * len(config.labels.texts) * 2 * (2 if config.training.bf16 else 4)


def logits_at(config: TrainConfig, shape: Shape, positions: int) -> float:
    """Logits over the whole vocabulary, as a model that trains on every token has them."""
    return logit_bytes(shape, config.training.per_device_train_batch_size * positions, config.training.bf16)


def memory_table(config: TrainConfig, counts: Counts, shape: Shape, lengths: Lengths) -> dict[str, dict[str, Any]]:
    """Stage -> part -> GiB on one GPU, and whether it fits. The configuration's own sizes count for its own stage."""
    settings, own = config.planning, stage_of(config.deepspeed)
    used = activations(config, shape, lengths, config.training.activation_checkpointing)
    logits = label_logits_at(config, shape, lengths)
    table = {}
    for stage in STAGES:
        owned = owned_bytes(counts, stage, settings.num_gpus, config.training.bf16)
        deepspeed = config.deepspeed if stage == own else _plain(stage)
        buffers = buffer_bytes(counts, deepspeed, settings.num_gpus, config.training.bf16)
        row = {"weights": owned.weights, "gradients": owned.gradients, "optimizer": owned.optimizer}
        row |= {"activations": used, "logits": logits, "buffers": buffers}
        row = {name: number / GIB for name, number in row.items()} | {"reserve": settings.reserve_gib}
        total = sum(row.values())
        fits = total <= settings.gpu_memory_gib
        table[stage] = row | {"total": total, "host_per_gpu": owned.host / GIB, "fits": fits}
    return table


def _plain(stage: str) -> dict[str, Any]:
    if stage == "none":
        return {}
    offload = {"offload_optimizer": {"device": "cpu"}} if stage.endswith("offload") else {}
    return {"zero_optimization": {"stage": int(stage[4]), **offload}}


def work(
    config: TrainConfig, parameters: Mapping[str, Mapping[str, int]], shape: Shape, lengths: Lengths
) -> dict[str, float]:
    """Tokens and FLOPs of a step and an epoch; hours and dollars of the run."""
    training, settings = config.training, config.planning
    rows = training.per_device_train_batch_size * training.gradient_accumulation_steps * settings.num_gpus
    solutions = rows * lengths.solutions_per_row
    steps_per_epoch = math.ceil(lengths.num_solutions / solutions)
    num_steps = (
        training.max_steps if training.max_steps > 0 else round(training.num_train_epochs * steps_per_epoch) or 1
    )
    tokens = rows * lengths.padded_row_tokens
    flops = step_flops(
        shape,
        parameters,
        tokens,
        lengths.mean_tokens,  # a token sees its own path, not its row
        rows * lengths.row_tiles,
        solutions * lengths.mean_steps,
        training.activation_checkpointing,
    )
    total_hours = hours(flops * num_steps, settings)
    return {
        "solutions_per_step": solutions,
        "steps_per_epoch": steps_per_epoch,
        "num_steps": num_steps,
        "tokens_per_step": tokens,
        "tokens_per_epoch": steps_per_epoch * tokens,
        "flops_per_step": flops,
        "flops_per_epoch": flops * steps_per_epoch,
        "hours": total_hours,
        "dollars": total_hours * settings.num_gpus * settings.dollars_per_gpu_hour,
    }


def verdict(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The line of one scale."""
    row, settings = plan["memory_gib"][plan["stage"]], plan["planning"]
    return {
        "model": plan["model"],
        "tuning": plan["tuning"],
        "stage": plan["stage"],
        "num_gpus": settings["num_gpus"],
        "gpu_memory_gib": settings["gpu_memory_gib"],
        "total_gib": row["total"],
        "fits": row["fits"],
        "hours": plan["work"]["hours"],
        "dollars": plan["work"]["dollars"],
    }
