"""InternVL2.5 in plain torch, written from the description of its architecture: the reference of the parity tests.

In: tensors by their original names and the original config.json. Out: logits (B, T, V). Nothing of the package or of
transformers is used. Axes: B batch, T tokens, N tiles, P patches, D width, H heads, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import conv2d, gelu, layer_norm, linear, silu

Weights = Mapping[str, torch.Tensor]


def reference_logits(
    weights: Weights, config: Mapping[str, Any], image_token_id: int, ids: torch.Tensor, pixels: torch.Tensor
) -> torch.Tensor:
    """Logits (B, T, V) for ids (B, T) and tiles (N, 3, side, side), whose tokens replace the image tokens in `ids`."""
    text = config["llm_config"]
    is_internlm2 = text["architectures"] == ["InternLM2ForCausalLM"]
    embedding = "tok_embeddings" if is_internlm2 else "embed_tokens"
    embeddings = weights[f"language_model.model.{embedding}.weight"]
    hidden = embeddings[ids]
    visual = image_tokens(weights, config, pixels)
    hidden[ids == image_token_id] = visual.reshape(-1, visual.shape[-1])
    layer = internlm2_layer if is_internlm2 else qwen2_layer
    for number in range(text["num_hidden_layers"]):
        hidden = layer(hidden, weights, f"language_model.model.layers.{number}.", text)
    hidden = rms_norm(hidden, weights["language_model.model.norm.weight"], text["rms_norm_eps"])
    head = weights.get(f"language_model.{'output' if is_internlm2 else 'lm_head'}.weight", embeddings)
    return hidden @ head.T


def image_tokens(weights: Weights, config: Mapping[str, Any], pixels: torch.Tensor) -> torch.Tensor:
    """Tiles (N, 3, side, side) as tokens of the text model's width (N, P / 4, D)."""
    vision = config["vision_config"]
    prefix = "vision_model.embeddings."
    filters = weights[prefix + "patch_embedding.weight"]
    patches = conv2d(pixels, filters, weights[prefix + "patch_embedding.bias"], stride=vision["patch_size"])
    rows, columns = patches.shape[-2:]
    patches = patches.flatten(2).transpose(1, 2)
    first = weights[prefix + "class_embedding"].expand(len(pixels), 1, -1)
    hidden = torch.cat([first, patches], dim=1) + weights[prefix + "position_embedding"]
    num_layers = vision["num_hidden_layers"] + 1 + config["select_layer"]
    for number in range(num_layers):
        hidden = vision_layer(hidden, weights, f"vision_model.encoder.layers.{number}.", vision)
    grid = hidden[:, 1:].reshape(len(pixels), rows, columns, -1)
    # Two by two neighbours become one token, row by row.
    merged = torch.cat([grid[:, down::2, right::2] for down in (0, 1) for right in (0, 1)], dim=-1)
    merged = merged.flatten(1, 2)
    merged = layer_norm(merged, merged.shape[-1:], weights["mlp1.0.weight"], weights["mlp1.0.bias"], 1e-5)
    merged = gelu(linear(merged, weights["mlp1.1.weight"], weights["mlp1.1.bias"]))
    return linear(merged, weights["mlp1.3.weight"], weights["mlp1.3.bias"])


def vision_layer(hidden: torch.Tensor, weights: Weights, prefix: str, vision: Mapping[str, Any]) -> torch.Tensor:
    """Pre-norm attention and MLP (N, P, D), each scaled per channel before it is added."""
    eps = vision["layer_norm_eps"]

    def normed(name: str, value: torch.Tensor) -> torch.Tensor:
        weight = weights[f"{prefix}{name}.weight"]
        if vision["norm_type"] == "rms_norm":
            return rms_norm(value, weight, eps)
        return layer_norm(value, value.shape[-1:], weight, weights[f"{prefix}{name}.bias"], eps)

    fused = linear(normed("norm1", hidden), weights[prefix + "attn.qkv.weight"], weights.get(prefix + "attn.qkv.bias"))
    query, key, value = fused.chunk(3, dim=-1)
    if vision["qk_normalization"]:
        query = rms_norm(query, weights[prefix + "attn.q_norm.weight"], eps)
        key = rms_norm(key, weights[prefix + "attn.k_norm.weight"], eps)
    num_heads = vision["num_attention_heads"]
    heads = [part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (query, key, value)]
    mixed = attention(*heads, is_causal=False).transpose(1, 2).flatten(2)
    mixed = linear(mixed, weights[prefix + "attn.proj.weight"], weights[prefix + "attn.proj.bias"])
    hidden = hidden + weights[prefix + "ls1"] * mixed
    wide = gelu(linear(normed("norm2", hidden), weights[prefix + "mlp.fc1.weight"], weights[prefix + "mlp.fc1.bias"]))
    narrow = linear(wide, weights[prefix + "mlp.fc2.weight"], weights[prefix + "mlp.fc2.bias"])
    return hidden + weights[prefix + "ls2"] * narrow


def internlm2_layer(hidden: torch.Tensor, weights: Weights, prefix: str, text: Mapping[str, Any]) -> torch.Tensor:
    """`wqkv` has, for each key-value head, the queries that share it, its key and its value."""
    num_heads, num_groups = text["num_attention_heads"], text["num_key_value_heads"]
    normed = rms_norm(hidden, weights[prefix + "attention_norm.weight"], text["rms_norm_eps"])
    fused = linear(normed, weights[prefix + "attention.wqkv.weight"])
    width = text["hidden_size"] // num_heads
    per_group = num_heads // num_groups
    queries, keys, values = [], [], []
    for group in fused.split((per_group + 2) * width, dim=-1):
        *own_queries, key, value = group.split(width, dim=-1)
        queries += own_queries
        keys.append(key)
        values.append(value)
    mixed = text_attention(torch.stack(queries, 1), torch.stack(keys, 1), torch.stack(values, 1), text)
    hidden = hidden + linear(mixed, weights[prefix + "attention.wo.weight"])
    normed = rms_norm(hidden, weights[prefix + "ffn_norm.weight"], text["rms_norm_eps"])
    gate, up = (linear(normed, weights[f"{prefix}feed_forward.{name}.weight"]) for name in ("w1", "w3"))
    return hidden + linear(silu(gate) * up, weights[prefix + "feed_forward.w2.weight"])


def qwen2_layer(hidden: torch.Tensor, weights: Weights, prefix: str, text: Mapping[str, Any]) -> torch.Tensor:
    """Separate query, key and value, with biases; no bias elsewhere."""
    normed = rms_norm(hidden, weights[prefix + "input_layernorm.weight"], text["rms_norm_eps"])
    heads = []
    for name in ("q_proj", "k_proj", "v_proj"):
        own = f"{prefix}self_attn.{name}."
        num_heads = text["num_attention_heads" if name == "q_proj" else "num_key_value_heads"]
        made = linear(normed, weights[own + "weight"], weights[own + "bias"])
        heads.append(made.unflatten(-1, (num_heads, -1)).transpose(1, 2))
    hidden = hidden + linear(text_attention(*heads, text), weights[prefix + "self_attn.o_proj.weight"])
    normed = rms_norm(hidden, weights[prefix + "post_attention_layernorm.weight"], text["rms_norm_eps"])
    gate, up = (linear(normed, weights[f"{prefix}mlp.{name}.weight"]) for name in ("gate_proj", "up_proj"))
    return hidden + linear(silu(gate) * up, weights[prefix + "mlp.down_proj.weight"])


def text_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, text: Mapping[str, Any]
) -> torch.Tensor:
    """Causal attention over (B, H, T, D / H) with rotary positions; neighbouring query heads share a key. (B, T, D)."""
    num_tokens, width = query.shape[-2:]
    frequencies = rotary_frequencies(width, num_tokens, text)
    angles = torch.arange(num_tokens)[:, None] * frequencies[None]
    query, key = rotated(query, angles), rotated(key, angles)
    times = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(times, dim=1), value.repeat_interleave(times, dim=1)
    return attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)


def rotary_frequencies(width: int, num_tokens: int, text: Mapping[str, Any]) -> torch.Tensor:
    """One per pair of channels. Dynamic NTK: beyond the trained length the base grows with the length of the text."""
    base, scaling = text["rope_theta"], text.get("rope_scaling")
    longest = text["max_position_embeddings"]
    if scaling and scaling["type"] == "dynamic" and num_tokens > longest:
        factor = scaling["factor"]
        base = base * (factor * num_tokens / longest - (factor - 1)) ** (width / (width - 2))
    frequencies = base ** (-torch.arange(0, width, 2) / width)
    return frequencies / scaling["factor"] if scaling and scaling["type"] == "linear" else frequencies


def rotated(heads: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Channel i and channel i + half are one pair, turned by its angle (T, half)."""
    first, second = heads.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_causal: bool) -> torch.Tensor:
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    return scores.softmax(-1) @ value


def rms_norm(value: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return weight * value / (value.pow(2).mean(-1, keepdim=True) + eps).sqrt()
