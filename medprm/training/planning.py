"""What a training run will need: memory per GPU, work and hours, from counts alone. Light: imports no torch.

In: numbers of parameters, the shape of the model, lengths of the data, settings. Out: bytes, FLOPs, hours, dollars.
Weights, gradients and optimizer states are exact but for padding (a test reads them from DeepSpeed's engine);
activations, buffers and hours are estimates. Sources: ZeRO, arXiv 1910.02054, section 3 (bytes per parameter);
arXiv 2205.05198, section 4 (activations of a layer, here without stored attention weights);
arXiv 2001.08361, section 2.1 (2 FLOPs per parameter and token).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from medprm.errors import InputError

GIB = 2**30
STAGES = ("none", "zero1", "zero2", "zero3", "zero3_offload")
# Adam's two moments in float32; under DeepSpeed a float32 copy of the weights as well.
MOMENT_BYTES = 8
MASTER_BYTES = 4
# Of a weight in nf4 with doubly quantised constants (arXiv 2305.14314, section 3).
FOUR_BIT_BYTES = 0.516
# DeepSpeed's own sizes, where the configuration gives none [elements].
BUCKET_ELEMENTS = 500_000_000
LIVE_ELEMENTS = 1_000_000_000


@dataclass
class PlanningSettings:
    """The machine that `plan=true` reckons with. A scale sets the first three."""

    # GPUs, or processes on a CPU.
    num_gpus: int = 1
    # Memory of one GPU [GiB].
    gpu_memory_gib: float = 80.0
    # Peak of one GPU in the number format of training, without sparsity [TFLOP/s]; 989 is an H100 in bfloat16.
    gpu_teraflops: float = 989.0
    # Share of the peak that training reaches, in (0, 1].
    utilization: float = 0.35
    # Price of one GPU [dollars per hour].
    dollars_per_gpu_hour: float = 2.5
    # Memory for the driver, the communication library and fragmentation, on each GPU [GiB].
    reserve_gib: float = 4.0
    # Solutions whose lengths are measured, drawn at random; the rest is extrapolated.
    max_solutions: int = 1000

    def __post_init__(self) -> None:
        for name in ("num_gpus", "gpu_memory_gib", "gpu_teraflops", "max_solutions"):
            if getattr(self, name) <= 0:
                raise InputError(f"planning.{name} is {getattr(self, name)}; expected more than 0")
        for name in ("dollars_per_gpu_hour", "reserve_gib"):
            if getattr(self, name) < 0:
                raise InputError(f"planning.{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 < self.utilization <= 1:
            raise InputError(f"planning.utilization is {self.utilization}; expected a share above 0, at most 1")


class Shape(NamedTuple):
    """What activations and FLOPs depend on."""

    text_layers: int
    text_hidden: int
    text_key_value: int  # width of all key heads
    text_mlp: int
    vision_layers: int
    vision_hidden: int
    vision_mlp: int
    tokens_per_tile_in: int  # patches and the class token, inside the vision tower
    tokens_per_tile_out: int  # after the projector
    vocabulary: int
    embedding_parameters: int  # input embeddings: looked up, not multiplied
    head_parameters: int  # multiplied at label positions only


class Lengths(NamedTuple):
    """The training set, by a sample of it. A row is what is computed together (packing.kind): a solution, or trees."""

    num_solutions: int
    num_sampled: int
    mean_tokens: float  # of a solution by itself
    mean_text_tokens: float  # of those, text
    mean_tiles: float  # of a solution's images
    mean_steps: float  # of a solution
    solutions_per_row: float
    row_tokens: float
    max_row_tokens: int
    padded_row_tokens: float  # in a batch as it is trained
    row_tiles: float  # decoded and computed once for each tree
    max_row_tiles: int
    max_row_steps: int


class Counts(NamedTuple):
    """Parameters."""

    total: int
    trained: int
    in_four_bits: int = 0


class OwnedBytes(NamedTuple):
    """What one rank holds for the whole run, on its GPU and, under offload, in its host's memory."""

    weights: float
    gradients: float
    optimizer: float
    host: float = 0.0


def stage_of(deepspeed: Mapping[str, Any]) -> str:
    """The name of a DeepSpeed configuration's ZeRO stage: none, zero1, zero2, zero3 or zero3_offload."""
    zero = deepspeed.get("zero_optimization") or {}
    if not zero.get("stage"):
        return "none"
    is_offloaded = any((zero.get(name) or {}).get("device", "none") != "none" for name in _OFFLOADS)
    return f"zero{zero['stage']}" + ("_offload" if is_offloaded else "")


_OFFLOADS = ("offload_optimizer", "offload_param")


def owned_bytes(counts: Counts, stage: str, num_ranks: int, is_bf16: bool) -> OwnedBytes:
    """Bytes of the tensors that one of `num_ranks` ranks owns at the end of a backward pass.

    Without DeepSpeed, bfloat16 is a way of computing (autocast): weights and gradients stay in float32. DeepSpeed
    keeps weights and gradients in bfloat16 and a float32 copy of what is trained beside them.
    """
    assert stage in STAGES, stage
    element = 2 if is_bf16 and stage != "none" else 4
    weights = (counts.total - counts.in_four_bits) * element + counts.in_four_bits * FOUR_BIT_BYTES
    gradients = counts.trained * element
    if stage == "none":
        return OwnedBytes(weights, gradients, counts.trained * MOMENT_BYTES)
    optimizer = counts.trained * (MASTER_BYTES + MOMENT_BYTES) / num_ranks
    if stage == "zero1":
        return OwnedBytes(weights, gradients, optimizer)
    if stage == "zero2":
        return OwnedBytes(weights, gradients / num_ranks, optimizer)
    owned = OwnedBytes(weights / num_ranks, gradients / num_ranks, optimizer)
    if stage == "zero3":
        return owned
    # Gradients are kept in float32 there.
    return OwnedBytes(0.0, 0.0, 0.0, owned.weights + counts.trained * 4 / num_ranks + owned.optimizer)


def buffer_bytes(counts: Counts, deepspeed: Mapping[str, Any], num_ranks: int, is_bf16: bool) -> float:
    """Estimate: gathered weights and messages in flight."""
    stage = stage_of(deepspeed)
    if num_ranks == 1:
        return 0.0
    if stage == "none":
        return counts.trained * 4.0  # DistributedDataParallel's buckets hold every gradient once more
    element = 2 if is_bf16 else 4
    zero = deepspeed["zero_optimization"]
    reduce = min(_size(zero, "reduce_bucket_size", BUCKET_ELEMENTS), counts.trained)
    if stage in ("zero1", "zero2"):
        gather = min(_size(zero, "allgather_bucket_size", BUCKET_ELEMENTS), counts.trained)
    else:
        gather = min(_size(zero, "stage3_max_live_parameters", LIVE_ELEMENTS), counts.total)
    return float((reduce + gather) * element)


def _size(zero: Mapping[str, Any], name: str, default: int) -> int:
    value = zero.get(name)
    return default if value in (None, "auto") else int(value)


def activation_bytes(shape: Shape, tokens: float, tiles: float, is_bf16: bool, is_checkpointed: bool) -> float:
    """Estimate: what the backward pass of one batch needs, `tokens` long in all, padding included.

    The attention weights are never stored (sdpa, flash attention). With checkpointing: the inputs of all layers,
    and one layer in full at a time.
    """
    element = 2 if is_bf16 else 4
    hidden, mlp = shape.text_hidden, shape.text_mlp
    # Two norms (input, and in float32), queries, keys and values before and after rotation, attention, two residuals,
    # gate, up, activation and product of the MLP.
    per_token = element * (2 * hidden + 2 * hidden + 4 * shape.text_key_value + 3 * hidden + 4 * mlp) + 4 * 2 * hidden
    text_layer, text_input = tokens * per_token, tokens * hidden * element
    patches = tiles * shape.tokens_per_tile_in
    vision_layer = patches * element * (11 * shape.vision_hidden + 2 * shape.vision_mlp)
    vision_input = patches * shape.vision_hidden * element
    if not is_checkpointed:
        return shape.text_layers * text_layer + shape.vision_layers * vision_layer
    stored = shape.text_layers * text_input + shape.vision_layers * vision_input
    return stored + max(text_layer, vision_layer)


def logit_bytes(shape: Shape, positions: float, is_bf16: bool) -> float:
    """Logits over the vocabulary at `positions`, and their gradients."""
    return positions * shape.vocabulary * 2 * (2 if is_bf16 else 4)


def step_flops(
    shape: Shape,
    counts: Mapping[str, Mapping[str, int]],
    tokens: float,
    mean_length: float,
    tiles: float,
    positions: float,
    is_checkpointed: bool,
) -> float:
    """FLOPs of one optimiser step over `tokens` text and image tokens, `tiles` tiles and `positions` label positions.

    2 per parameter and token forward, 2 for the gradients of inputs, 2 for those of trained weights, 2 more where the
    forward is done again. A frozen vision tower before frozen or trained parts needs its forward only.
    """
    again = 2 if is_checkpointed else 0
    text = counts["text"]
    matmuls = text["total"] - shape.embedding_parameters - shape.head_parameters
    share_trained = text["trained"] / text["total"]
    flops = tokens * matmuls * (4 + 2 * share_trained + again)
    # Causal attention: queries against half of the keys, then values.
    flops += tokens * shape.text_layers * 2 * mean_length * shape.text_hidden * (3 + (again > 0))
    flops += positions * shape.head_parameters * (4 + 2 * share_trained)
    vision, patches = counts["vision"], tiles * shape.tokens_per_tile_in
    factor = 2 if not vision["trained"] else 6 + again
    flops += patches * vision["total"] * factor
    flops += patches * shape.vision_layers * 4 * shape.tokens_per_tile_in * shape.vision_hidden * factor / 2
    projector = counts["projector"]
    return flops + tiles * shape.tokens_per_tile_out * projector["total"] * (6 if projector["trained"] else 2)


def hours(flops: float, settings: PlanningSettings) -> float:
    """At the stated share of the peak of all GPUs."""
    return flops / (settings.num_gpus * settings.gpu_teraflops * 1e12 * settings.utilization) / 3600
