"""Every native weight lies in one original tensor, and fused tensors come apart and together again."""

import pytest
import torch
from original import TEXT_FAMILIES, VISION_TYPES, original_config, original_shapes

from medprm.model.key_map import Entry, join, key_map, split
from medprm.model.original_config import native_config
from medprm.model.original_layout import native_shapes


@pytest.mark.parametrize("family", TEXT_FAMILIES)
@pytest.mark.parametrize("vision", VISION_TYPES)
def test_names_and_shapes_are_the_originals(family: str, vision: str) -> None:
    config = original_config(family, vision, 300)
    shapes = native_shapes(native_config(config, 5, False, "config.json"))
    entries = key_map(shapes, config["llm_config"]["architectures"][0])
    assert {name: entry.shape for name, entry in entries.items()} == original_shapes(config)
    assert sorted(native for entry in entries.values() for native in entry.natives) == sorted(shapes)


def test_interleaved() -> None:
    """Two key-value heads with three queries each, head width 2: rows by head are q q q k v, q q q k v."""
    rows = ["q0", "q1", "q2", "k0", "v0", "q3", "q4", "q5", "k1", "v1"]
    tensor = torch.tensor([[float(10 * index + half)] for index in range(len(rows)) for half in range(2)])
    entry = Entry("wqkv", ("q", "k", "v"), ((12, 1), (4, 1), (4, 1)), "interleaved")
    parts = split(entry, tensor, head_dim=2)
    named = [[rows[int(value) // 10] for value in part[::2, 0]] for part in parts]
    assert named == [["q0", "q1", "q2", "q3", "q4", "q5"], ["k0", "k1"], ["v0", "v1"]]
    assert torch.equal(join(entry, parts, head_dim=2), tensor)


def test_stacked() -> None:
    entry = Entry("qkv", ("q", "k", "v"), ((4,), (4,), (4,)), "stacked")
    tensor = torch.arange(12.0)
    parts = split(entry, tensor, head_dim=2)
    assert [part.tolist()[0] for part in parts] == [0, 4, 8]
    assert torch.equal(join(entry, parts, head_dim=2), tensor)


def test_a_weight_without_a_name_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match=r"model\.new_part\.weight has no original name"):
        key_map({"model.new_part.weight": (1,)}, "Qwen2ForCausalLM")
