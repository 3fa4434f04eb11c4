"""`train.py plan=true`: what a run will need, before it is paid for. No weights are read and nothing is trained.

In: TrainConfig, and the same settings at every other scale. Out: a table and `plan.json` in the run's folder:
parameters by part, memory per GPU by part for each ZeRO stage, tokens and FLOPs, hours and dollars, and which scale
fits.
"""

import json
import logging
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
from medprm.commands.data_source import open_source
from medprm.config import TrainConfig
from medprm.encoding.encoder import Encoder
from medprm.images.files import resolve_image
from medprm.images.load import read_size
from medprm.images.settings import ImageSettings
from medprm.images.tiles import count_tiles
from medprm.model.architectures import architecture_of, count_parameters, meta_model
from medprm.model.loading import tokens_per_tile
from medprm.model.tiny import shipped_base
from medprm.model.tuning import tuned
from medprm.run import PLAN_FILE
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

logger = logging.getLogger(__name__)

ESTIMATES = ("activations", "logits", "buffers")


def run(config: TrainConfig, other_scales: Mapping[str, TrainConfig | str]) -> Path:
    """Print the plan and write plan.json; `other_scales` has a reason instead of settings where they are refused."""
    transformers_logging.set_verbosity_error()
    data = open_source(config.data, Path(config.output_dir).parent)
    cases = data.split("train")
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
    """Lengths of the sampled solutions, one row each."""

    num_solutions: int
    text_tokens: np.ndarray
    image_tokens: np.ndarray
    tiles: np.ndarray
    steps: np.ndarray


def make_plan(
    config: TrainConfig,
    cases: Sequence[CaseSolutions],
    data: DataFolder,
    measured: dict[str, tuple[InternVLConfig, Sample, str]],
) -> dict[str, Any]:
    """Everything that plan.json says of one configuration. `measured` keeps what depends on the model alone."""
    source = shipped_base() if config.model.path == "tiny" else Path(config.model.path)
    key = f"{source} {config.model.max_tiles}"
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
            "at_label_positions": logits_at(config, shape, lengths, lengths.max_steps) / GIB,
            "if_at_every_position": logits_at(config, shape, lengths, lengths.max_tokens) / GIB,
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
    """Lengths of a random sample of the training solutions, as the encoder lays them out; images by their headers."""
    vision: Any = architecture.vision_config
    side = int(vision.image_size[0])
    most = config.model.max_tiles or (1 if config.model.path == "tiny" else ImageSettings().max_tiles)
    encoder = Encoder.from_settings(tokenizer, config.encoding, tokens_per_tile(architecture))
    pairs = [(item.case, one) for item in cases for one in item.solutions if one.solution_steps]
    chosen = np.random.default_rng(config.seed).permutation(len(pairs))[: config.planning.max_solutions]
    rows = []
    tiles_of: dict[str, tuple[int, ...]] = {}
    for case, solution in (pairs[index] for index in sorted(chosen)):
        if case.case_id not in tiles_of:
            images = case.all_images
            settings = ImageSettings(side, max(1, most // max(1, len(images))))
            paths = (resolve_image(data.image_root, image.path) for image in images)
            tiles_of[case.case_id] = tuple(count_tiles(*read_size(path), settings) for path in paths)
        tiles = tiles_of[case.case_id]
        encoded = encoder.encode(case, solution.step_texts, tiles)
        rows.append((encoded.num_text_tokens, encoded.num_image_tokens, sum(tiles), len(encoded.label_positions)))
    columns = np.array(rows, dtype=np.int64).T
    return Sample(len(pairs), *columns)


def summarise(sample: Sample, config: TrainConfig) -> Lengths:
    """Means and maxima; the padded length is that of random batches of the run's size."""
    tokens = sample.text_tokens + sample.image_tokens
    size = config.training.per_device_train_batch_size
    drawn = np.random.default_rng(config.seed).choice(tokens, (2000, size))
    return Lengths(
        num_solutions=sample.num_solutions,
        num_sampled=len(tokens),
        mean_tokens=float(tokens.mean()),
        max_tokens=int(tokens.max()),
        padded_tokens=float(drawn.max(axis=1).mean()),
        mean_text_tokens=float(sample.text_tokens.mean()),
        mean_tiles=float(sample.tiles.mean()),
        max_tiles=int(sample.tiles.max()),
        mean_steps=float(sample.steps.mean()),
        max_steps=int(sample.steps.max()),
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
    return activation_bytes(
        shape, size * lengths.max_tokens, size * lengths.max_tiles, config.training.bf16, is_checkpointed
    )


def logits_at(config: TrainConfig, shape: Shape, lengths: Lengths, positions: int) -> float:
    return logit_bytes(shape, config.training.per_device_train_batch_size * positions, config.training.bf16)


def memory_table(config: TrainConfig, counts: Counts, shape: Shape, lengths: Lengths) -> dict[str, dict[str, Any]]:
    """Stage -> part -> GiB on one GPU, and whether it fits. The configuration's own sizes count for its own stage."""
    settings, own = config.planning, stage_of(config.deepspeed)
    used = activations(config, shape, lengths, config.training.activation_checkpointing)
    logits = logits_at(config, shape, lengths, lengths.max_steps)
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
    solutions = training.per_device_train_batch_size * training.gradient_accumulation_steps * settings.num_gpus
    steps_per_epoch = -(-lengths.num_solutions // solutions)
    num_steps = (
        training.max_steps if training.max_steps > 0 else round(training.num_train_epochs * steps_per_epoch) or 1
    )
    flops = step_flops(
        shape,
        parameters,
        solutions * lengths.padded_tokens,
        lengths.padded_tokens,
        solutions * lengths.mean_tiles,
        solutions * lengths.mean_steps,
        training.activation_checkpointing,
    )
    total_hours = hours(flops * num_steps, settings)
    return {
        "solutions_per_step": solutions,
        "steps_per_epoch": steps_per_epoch,
        "num_steps": num_steps,
        "tokens_per_step": solutions * lengths.padded_tokens,
        "tokens_per_epoch": steps_per_epoch * solutions * lengths.padded_tokens,
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


def format_plan(plan: Mapping[str, Any]) -> str:
    """The plan as text of at most about 110 columns."""
    return "\n\n".join([_counts_text(plan), _memory_text(plan), _work_text(plan), _scales_text(plan)]) + "\n"


def _counts_text(plan: Mapping[str, Any]) -> str:
    parameters, lengths = plan["parameters"], plan["lengths"]
    parts = ", ".join(f"{part} {parameters[part]['total']:,}" for part in ("vision", "projector", "text"))
    return (
        f"plan of {plan['run']}: model {plan['model']}, tuning {plan['tuning']}\n"
        f"parameters  {parameters['total']:,} ({parts}); trained {parameters['trained']:,} "
        f"({100 * parameters['trained'] / parameters['total']:.2f} %)\n"
        f"data        {lengths['num_solutions']:,} training solutions, {lengths['num_sampled']:,} measured: "
        f"{lengths['mean_tokens']:.0f} tokens (text {lengths['mean_text_tokens']:.0f}, longest "
        f"{lengths['max_tokens']:,}), {lengths['mean_tiles']:.1f} tiles, {lengths['mean_steps']:.1f} steps\n"
        f"tokenizer   {lengths['tokenizer']}"
    )


def _memory_text(plan: Mapping[str, Any]) -> str:
    settings = plan["planning"]
    names = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "reserve", "total")
    header = [f"{name}{'*' * (name in ESTIMATES)}" for name in names]
    lines = [
        f"memory on each of {settings['num_gpus']} GPUs of {settings['gpu_memory_gib']:g} GiB, in GiB (* estimate)",
        f"{'':16}" + "".join(f"{name:>13}" for name in header) + "  fits",
    ]
    for stage, row in plan["memory_gib"].items():
        mark = " <" if stage == plan["stage"] else ""
        cells = "".join(f"{row[name]:13.2f}" for name in names)
        host = f", {row['host_per_gpu']:.1f} in host memory" if row["host_per_gpu"] else ""
        lines.append(f"{stage + mark:16}{cells}  {'yes' if row['fits'] else 'NO'}{host}")
    used, logits = plan["activations_gib"], plan["logits_gib"]
    lines += [
        f"activations* {used['without_checkpointing']:.2f} without checkpointing, "
        f"{used['with_checkpointing']:.2f} with it",
        f"logits* {logits['at_label_positions']:.2f} at label positions; at every position they would take "
        f"{logits['if_at_every_position']:.2f}",
    ]
    return "\n".join(lines)


def _work_text(plan: Mapping[str, Any]) -> str:
    done, settings = plan["work"], plan["planning"]
    return (
        f"step        {done['solutions_per_step']:,} solutions, {done['tokens_per_step']:,.0f} tokens with padding, "
        f"{done['flops_per_step']:.2e} FLOPs\n"
        f"epoch       {done['steps_per_epoch']:,} steps, {done['tokens_per_epoch']:,.0f} tokens, "
        f"{done['flops_per_epoch']:.2e} FLOPs\n"
        f"run         {done['num_steps']:,} steps, {done['hours']:.2f} hours*, {done['dollars']:,.2f} dollars* "
        f"({settings['num_gpus']} x {settings['gpu_teraflops']:g} TFLOP/s at {settings['utilization']:.0%}, "
        f"{settings['dollars_per_gpu_hour']:g} dollars per GPU and hour)"
    )


def _scales_text(plan: Mapping[str, Any]) -> str:
    lines = ["the same command at each scale"]
    for name, row in plan["scales"].items():
        if "refused" in row:
            lines.append(f"{name:10}  refused: {row['refused']}")
            continue
        lines.append(
            f"{name:10}  {row['model']}, {row['tuning']}, {row['stage']}, {row['num_gpus']} x "
            f"{row['gpu_memory_gib']:g} GiB: needs {row['total_gib']:.1f} GiB*, "
            f"{'fits' if row['fits'] else 'DOES NOT FIT'}; {row['hours']:.2f} hours*, {row['dollars']:,.2f} dollars*"
        )
    return "\n".join(lines)
