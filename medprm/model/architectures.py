"""The shape of a model without its weights: what a plan needs before anything is downloaded.

In: a checkpoint's folder, or a name. Out: InternVLConfig; the model on the meta device (shapes, no memory).
Numbers of InternVL2.5-8B: its published config.json (InternViT-300M, InternLM2.5-7B).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

from medprm.errors import InputError
from medprm.model.original_config import ORIGINAL_MODEL_TYPE, native_config

NATIVE = "internvl"


def internvl2_5_8b() -> InternVLConfig:
    """InternVL2.5-8B: 304 million parameters of vision, 33.6 of projector, 7,738 of text with its head."""
    vision = InternVLVisionConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        image_size=448,
        patch_size=14,
        attention_bias=True,
        use_qk_norm=False,
        norm_type="layer_norm",
        layer_norm_eps=1e-6,
        layer_scale_init_value=0.1,
    )
    text = LlamaConfig(
        vocab_size=92553,
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        intermediate_size=14336,
        max_position_embeddings=32768,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6},
        tie_word_embeddings=False,
    )
    return InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=92546,
        image_seq_length=256,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )


# By the beginning of the checkpoint's name: InternVL2_5-8B, InternVL2_5-8B-MPO-hf, ...
KNOWN: dict[str, Callable[[], InternVLConfig]] = {"internvl2_5-8b": internvl2_5_8b, "visualprm-8b": internvl2_5_8b}
# A Qwen2 text model, whatever its card says.
NOT_KNOWN = ("visualprm-8b-v1_1",)


def architecture_of(source: str | Path) -> InternVLConfig:
    """From the folder's config.json, else by name; InputError where neither tells."""
    file = Path(source) / "config.json"
    if file.is_file():
        values = json.loads(file.read_text(encoding="utf-8"))
        if values.get("model_type") == NATIVE:
            return InternVLConfig.from_dict(values)
        if values.get("model_type") == ORIGINAL_MODEL_TYPE:
            is_tied = bool(values.get("llm_config", {}).get("tie_word_embeddings"))
            return native_config(values, image_token_id=0, is_tied=is_tied, where=str(file))  # no token is read here
    name = Path(source).name.lower().replace("internvl2_5_", "internvl2_5-")
    for prefix, build in KNOWN.items():
        if name.startswith(prefix) and not name.startswith(NOT_KNOWN):
            return build()
    raise InputError(
        f"model {source}: its shape is not known; expected a folder with config.json in the native or the original "
        f"InternVL layout, or a name that begins with one of {', '.join(KNOWN)}; download or convert it, and give "
        "model.path=FOLDER"
    )


def meta_model(config: InternVLConfig) -> InternVLForConditionalGeneration:
    """The model without memory for its weights."""
    with torch.device("meta"):
        return InternVLForConditionalGeneration(config)


def part_of(parameter_name: str) -> str:
    """vision, projector or text: the part that a parameter belongs to, by its name."""
    if "vision_tower" in parameter_name:
        return "vision"
    return "projector" if "multi_modal_projector" in parameter_name else "text"


def count_parameters(model: Any) -> dict[str, dict[str, int]]:
    """Part -> {"total", "trained"} numbers of parameters."""
    counts = {part: {"total": 0, "trained": 0} for part in ("vision", "projector", "text")}
    for name, parameter in model.named_parameters():
        counts[part_of(name)]["total"] += parameter.numel()
        counts[part_of(name)]["trained"] += parameter.numel() * parameter.requires_grad
    return counts
