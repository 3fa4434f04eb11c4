"""The arithmetic of a plan; tests/training/test_sharded.py compares it with what DeepSpeed's engine owns."""

import pytest

from medprm.training.planning import (
    GIB,
    Counts,
    PlanningSettings,
    Shape,
    activation_bytes,
    buffer_bytes,
    hours,
    logit_bytes,
    owned_bytes,
    stage_of,
    step_flops,
)

EIGHT_BILLION = Counts(8_075_365_376, 8_075_365_376)
SHAPE = Shape(32, 4096, 1024, 14336, 24, 1024, 4096, 1025, 256, 92553, 379_097_088, 379_097_088)
PARTS = {
    "vision": {"total": 304_012_288, "trained": 304_012_288},
    "projector": {"total": 33_570_816, "trained": 33_570_816},
    "text": {"total": 7_737_782_272, "trained": 7_737_782_272},
}


def frozen(*names: str) -> dict[str, dict[str, int]]:
    return {name: {**one, "trained": 0 if name in names else one["trained"]} for name, one in PARTS.items()}


@pytest.mark.parametrize(
    ("deepspeed", "stage"),
    [
        ({}, "none"),
        ({"zero_optimization": {"stage": 0}}, "none"),
        ({"zero_optimization": {"stage": 2}}, "zero2"),
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "none"}}}, "zero3"),
        ({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}}, "zero3_offload"),
    ],
)
def test_the_stage_has_a_name(deepspeed: dict, stage: str) -> None:
    assert stage_of(deepspeed) == stage


def test_the_bytes_of_the_eight_billion_are_those_of_the_paper() -> None:
    """2 + 2 + 12 bytes per parameter: 16.2, 16.2 and 96.9 GB; about 44 GB on each of eight GPUs under ZeRO-1."""
    owned = owned_bytes(EIGHT_BILLION, "zero1", 8, is_bf16=True)
    assert [round(one / 1e9, 1) for one in (owned.weights, owned.gradients, owned.optimizer * 8)] == [16.2, 16.2, 96.9]
    assert sum(owned) / 1e9 == pytest.approx(44.4, abs=0.1)
    plain = owned_bytes(EIGHT_BILLION, "none", 8, is_bf16=True)
    assert sum(plain) == 16 * EIGHT_BILLION.total
    assert sum(owned_bytes(EIGHT_BILLION, "zero3", 8, is_bf16=True)) == 2 * EIGHT_BILLION.total
    offloaded = owned_bytes(EIGHT_BILLION, "zero3_offload", 8, is_bf16=True)
    assert offloaded[:3] == (0, 0, 0) and offloaded.host == 18 * EIGHT_BILLION.total / 8


def test_frozen_weights_have_no_gradients_and_four_bits_are_small() -> None:
    counts = Counts(total=1000, trained=10, in_four_bits=900)
    owned = owned_bytes(counts, "zero2", 2, is_bf16=True)
    assert owned.weights == pytest.approx(2 * 100 + 900 * 0.516)
    assert owned.gradients == 10 and owned.optimizer == 60


def test_buffers_follow_the_configuration() -> None:
    counts = Counts(8_000_000_000, 8_000_000_000)
    default = buffer_bytes(counts, {"zero_optimization": {"stage": 3}}, 8, is_bf16=True)
    assert default == 2 * (500_000_000 + 1_000_000_000)
    small = {"zero_optimization": {"stage": 3, "reduce_bucket_size": 1000, "stage3_max_live_parameters": 5000}}
    assert buffer_bytes(counts, small, 8, is_bf16=True) == 2 * 6000
    assert buffer_bytes(counts, {}, 1, is_bf16=True) == 0


def test_activations_grow_with_tokens_and_shrink_with_checkpointing() -> None:
    stored = activation_bytes(SHAPE, 4096, 13, is_bf16=True, is_checkpointed=False)
    again = activation_bytes(SHAPE, 4096, 13, is_bf16=True, is_checkpointed=True)
    assert again < stored / 10
    assert activation_bytes(SHAPE, 8192, 26, True, True) == pytest.approx(2 * again)
    assert activation_bytes(SHAPE, 4096, 13, is_bf16=False, is_checkpointed=False) > stored


def test_logits_of_a_long_pack_are_what_the_literature_says() -> None:
    """16,384 tokens x 92,553: 3.0 GB in bfloat16, and their gradients as much again."""
    assert logit_bytes(SHAPE, 16384, is_bf16=True) / 1e9 == pytest.approx(2 * 3.03, abs=0.01)
    assert logit_bytes(SHAPE, 6, is_bf16=True) < 0.01 * GIB


def test_flops_are_six_per_parameter_and_token_and_fewer_where_frozen() -> None:
    def flops(parts: dict[str, dict[str, int]], is_checkpointed: bool = False) -> float:
        return step_flops(SHAPE, parts, 1e6, 500, 0, 0, is_checkpointed)

    matmuls = PARTS["text"]["total"] - SHAPE.embedding_parameters - SHAPE.head_parameters
    assert flops(PARTS) == pytest.approx(6e6 * matmuls, rel=0.05)
    assert flops(frozen("text")) == pytest.approx(4e6 * matmuls, rel=0.05)
    assert flops(PARTS, is_checkpointed=True) == pytest.approx(flops(PARTS) * 4 / 3)
    tiles = [step_flops(SHAPE, one, 0, 500, 100, 0, False) for one in (PARTS, frozen("vision"))]
    assert tiles[0] > 2.5 * tiles[1] > 0


def test_hours_follow_the_machine() -> None:
    settings = PlanningSettings(num_gpus=8, gpu_teraflops=1000, utilization=0.5)
    assert hours(8 * 1000e12 * 0.5 * 3600, settings) == pytest.approx(1)
