"""Which tensors of the original InternVL layout hold which weights of the native model, in both directions.

In: names and shapes of the native weights. Out: `Entry` per original tensor. The vision tower has query, key and value
stacked in one tensor; InternLM2 has them interleaved: per key-value head its query heads, then its key, then its value.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch

from medprm.model.original_config import INTERNLM2

Shape = tuple[int, ...]
Fusion = Literal["none", "stacked", "interleaved"]

# Native name to original name, by pattern.
COMMON_NAMES = {
    r"model\.vision_tower\.embeddings\.cls_token": "vision_model.embeddings.class_embedding",
    r"model\.vision_tower\.embeddings\.position_embeddings": "vision_model.embeddings.position_embedding",
    r"model\.vision_tower\.embeddings\.patch_embeddings\.projection\.": "vision_model.embeddings.patch_embedding.",
    r"model\.vision_tower\.encoder\.layer\.(\d+)\.lambda_([12])": r"vision_model.encoder.layers.\1.ls\2",
    r"model\.vision_tower\.encoder\.layer\.(\d+)\.layernorm_before\.": r"vision_model.encoder.layers.\1.norm1.",
    r"model\.vision_tower\.encoder\.layer\.(\d+)\.layernorm_after\.": r"vision_model.encoder.layers.\1.norm2.",
    r"model\.vision_tower\.encoder\.layer\.(\d+)\.attention\.[qkv]_proj\.": r"vision_model.encoder.layers.\1.attn.qkv.",
    r"model\.vision_tower\.encoder\.layer\.(\d+)\.attention\.([qk])_norm\.": (
        r"vision_model.encoder.layers.\1.attn.\2_norm."
    ),
    r"model\.vision_tower\.encoder\.layer\.(\d+)\.attention\.projection_layer\.": (
        r"vision_model.encoder.layers.\1.attn.proj."
    ),
    r"model\.vision_tower\.encoder\.layer\.(\d+)\.mlp\.": r"vision_model.encoder.layers.\1.mlp.",
    r"model\.multi_modal_projector\.layer_norm\.": "mlp1.0.",
    r"model\.multi_modal_projector\.linear_1\.": "mlp1.1.",
    r"model\.multi_modal_projector\.linear_2\.": "mlp1.3.",
}
QWEN2_NAMES = {
    r"model\.language_model\.": "language_model.model.",
    r"lm_head\.": "language_model.lm_head.",
}
INTERNLM2_NAMES = {
    r"model\.language_model\.embed_tokens\.": "language_model.model.tok_embeddings.",
    r"model\.language_model\.norm\.": "language_model.model.norm.",
    r"model\.language_model\.layers\.(\d+)\.self_attn\.[qkv]_proj\.": r"language_model.model.layers.\1.attention.wqkv.",
    r"model\.language_model\.layers\.(\d+)\.self_attn\.o_proj\.": r"language_model.model.layers.\1.attention.wo.",
    r"model\.language_model\.layers\.(\d+)\.mlp\.gate_proj\.": r"language_model.model.layers.\1.feed_forward.w1.",
    r"model\.language_model\.layers\.(\d+)\.mlp\.up_proj\.": r"language_model.model.layers.\1.feed_forward.w3.",
    r"model\.language_model\.layers\.(\d+)\.mlp\.down_proj\.": r"language_model.model.layers.\1.feed_forward.w2.",
    r"model\.language_model\.layers\.(\d+)\.input_layernorm\.": r"language_model.model.layers.\1.attention_norm.",
    r"model\.language_model\.layers\.(\d+)\.post_attention_layernorm\.": r"language_model.model.layers.\1.ffn_norm.",
    r"lm_head\.": "language_model.output.",
}
FUSIONS: dict[str, Fusion] = {".attn.qkv.": "stacked", ".attention.wqkv.": "interleaved"}


class Entry(NamedTuple):
    """One original tensor: its shape, and the native weights in it in order (query, key, value where fused)."""

    original: str
    natives: tuple[str, ...]
    native_shapes: tuple[Shape, ...]
    fusion: Fusion

    @property
    def shape(self) -> Shape:
        return (sum(shape[0] for shape in self.native_shapes), *self.native_shapes[0][1:])


def key_map(native_shapes: Mapping[str, Shape], architecture: str) -> dict[str, Entry]:
    """Every original tensor by its name; covers each native weight once."""
    names = COMMON_NAMES | (INTERNLM2_NAMES if architecture == INTERNLM2 else QWEN2_NAMES)
    held: dict[str, list[str]] = {}
    for native in native_shapes:  # query, key and value come in this order in a module
        held.setdefault(original_name(native, names), []).append(native)
    return {
        original: Entry(original, tuple(natives), tuple(native_shapes[one] for one in natives), _fusion(original))
        for original, natives in held.items()
    }


def original_name(native: str, names: Mapping[str, str]) -> str:
    """The original tensor that holds a native weight."""
    for pattern, replacement in names.items():
        if found := re.match(pattern, native):
            return found.expand(replacement) + native[found.end() :]
    raise AssertionError(f"native weight {native} has no original name")


def split(entry: Entry, tensor: torch.Tensor, head_dim: int) -> Sequence[torch.Tensor]:
    """An original tensor as the native weights, views where possible; `head_dim` is the text model's."""
    rows = [shape[0] for shape in entry.native_shapes]
    if entry.fusion == "none":
        return [tensor]
    if entry.fusion == "stacked":
        return torch.split(tensor, rows)
    rest = tensor.shape[1:]
    groups = tensor.view(rows[1] // head_dim, -1, head_dim, *rest)  # (key-value heads, queries + 2, head_dim, ...)
    parts = (groups[:, :-2], groups[:, -2:-1], groups[:, -1:])
    return [part.reshape(count, *rest) for part, count in zip(parts, rows, strict=True)]


def join(entry: Entry, tensors: Sequence[torch.Tensor], head_dim: int) -> torch.Tensor:
    """The inverse of `split`."""
    if entry.fusion == "none":
        return tensors[0]
    if entry.fusion == "stacked":
        return torch.cat(list(tensors))
    num_groups, rest = tensors[1].shape[0] // head_dim, tensors[0].shape[1:]
    groups = [tensor.reshape(num_groups, -1, head_dim, *rest) for tensor in tensors]
    return torch.cat(groups, dim=1).reshape(-1, *rest)


def _fusion(original: str) -> Fusion:
    for mark, fusion in FUSIONS.items():
        if mark in original:
            return fusion
    return "none"
