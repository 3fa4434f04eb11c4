"""The configuration of an original InternVL checkpoint (`model_type` internvl_chat) in transformers' terms.

In: the parsed config.json. Out: `InternVLConfig`, and how images are cut. InternLM2 becomes Llama: it is the same
network with fused weights. What the native model cannot do as the original does is refused, never ignored.
Source: OpenGVLab/InternVL, internvl_chat/internvl/model; defaults are those of its configuration classes.
"""

import logging
from collections.abc import Mapping
from typing import Any

from transformers import InternVLConfig, LlamaConfig, PreTrainedConfig, Qwen2Config
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

from medprm.images.settings import ImageSettings
from medprm.model.errors import ModelError

logger = logging.getLogger(__name__)

ORIGINAL_MODEL_TYPE = "internvl_chat"
INTERNLM2, QWEN2 = "InternLM2ForCausalLM", "Qwen2ForCausalLM"
CHAT_TEMPLATE = "internvl2_5"
# The native query and key norms have this epsilon and no setting for it.
QK_NORM_EPS = 1e-6


def text_architecture(original: Mapping[str, Any], where: str) -> str:
    """INTERNLM2 or QWEN2; raises ModelError for any other."""
    names = _field(_section(original, "llm_config", where), "architectures", "llm_config", where)
    name = names[0] if isinstance(names, list) and names else names
    if name not in (INTERNLM2, QWEN2):
        raise ModelError(
            f"{where}: llm_config.architectures is {names}; expected {INTERNLM2} or {QWEN2}; "
            "choose an InternVL2.5 checkpoint"
        )
    return name


def native_config(original: Mapping[str, Any], image_token_id: int, is_tied: bool, where: str) -> InternVLConfig:
    """The native configuration; `where` names the file in errors."""
    _refuse_what_differs(original, where)
    vision = _vision_config(_section(original, "vision_config", where), where)
    text = _text_config(original, is_tied, where)
    side = vision.image_size[0] // vision.patch_size[0] * original.get("downsample_ratio", 0.5)  # type: ignore[index]
    return InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=image_token_id,
        image_seq_length=int(side) ** 2,
        downsample_ratio=original.get("downsample_ratio", 0.5),
        vision_feature_layer=original.get("select_layer", -1),
        tie_word_embeddings=is_tied,  # the default ties silently, whatever the text config says
    )


def original_image_settings(original: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of ImageSettings that an original configuration sets."""
    if original.get("min_dynamic_patch", 1) != 1:
        raise ModelError(
            f"{where}: min_dynamic_patch is {original['min_dynamic_patch']}; expected 1, as in InternVL2.5; set it"
        )
    is_cut = bool(original.get("dynamic_image_size", False))
    return {
        "tile_size": int(_field(_section(original, "vision_config", where), "image_size", "vision_config", where)),
        "max_tiles": int(original.get("max_dynamic_patch", ImageSettings.max_tiles)) if is_cut else 1,
        "use_thumbnail": bool(original.get("use_thumbnail", False)),
    }


def _refuse_what_differs(original: Mapping[str, Any], where: str) -> None:
    allowed = {"ps_version": ("v2",), "pad2square": (False,), "use_backbone_lora": (0,), "use_llm_lora": (0,)}
    defaults = {"ps_version": "v1", "pad2square": False, "use_backbone_lora": 0, "use_llm_lora": 0}
    for name, values in allowed.items():
        value = original.get(name, defaults[name])
        if value not in values:
            raise ModelError(f"{where}: {name} is {value!r}; expected {values[0]!r}; choose an InternVL2.5 checkpoint")
    if original.get("quantization_config"):
        raise ModelError(f"{where}: the weights are quantized; expected full ones; choose the checkpoint without AWQ")
    size = _field(_section(original, "vision_config", where), "image_size", "vision_config", where)
    if original.get("force_image_size") not in (None, size):
        raise ModelError(
            f"{where}: force_image_size is {original['force_image_size']}; expected {size}, vision_config.image_size; "
            "choose an InternVL2.5 checkpoint"
        )
    if original.get("template", CHAT_TEMPLATE) != CHAT_TEMPLATE:
        logger.warning(
            "%s: the checkpoint's chat template is %r; prompts here follow %r, so train before scoring with it",
            where,
            original["template"],
            CHAT_TEMPLATE,
        )


def _vision_config(vision: Mapping[str, Any], where: str) -> InternVLVisionConfig:
    eps = vision.get("layer_norm_eps", 1e-6)
    has_qk_norm = vision.get("qk_normalization", True)
    if has_qk_norm and eps != QK_NORM_EPS:
        raise ModelError(
            f"{where}: vision_config.layer_norm_eps is {eps} with qk_normalization; expected {QK_NORM_EPS}, "
            "the only value that the native query and key norms have; choose an InternVL2.5 checkpoint"
        )
    if vision.get("norm_type", "rms_norm") not in ("layer_norm", "rms_norm"):
        raise ModelError(
            f"{where}: vision_config.norm_type is {vision['norm_type']!r}; expected layer_norm or rms_norm"
        )
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "image_size", "patch_size")
    return InternVLVisionConfig(
        **{name: _field(vision, name, "vision_config", where) for name in sizes},
        num_channels=vision.get("num_channels", 3),
        hidden_act=vision.get("hidden_act", "gelu"),
        norm_type=vision.get("norm_type", "rms_norm"),
        layer_norm_eps=eps,
        attention_bias=vision.get("qkv_bias", False),
        use_qk_norm=has_qk_norm,
        attention_dropout=vision.get("attention_dropout", 0.0),
        projection_dropout=vision.get("dropout", 0.0),
        use_mean_pooling=True,  # else the native tower ends in a norm that the original has not
    )


def _text_config(original: Mapping[str, Any], is_tied: bool, where: str) -> PreTrainedConfig:
    text = _section(original, "llm_config", where)
    heads = _field(text, "num_attention_heads", "llm_config", where)
    sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "max_position_embeddings")
    fields: dict[str, Any] = {name: _field(text, name, "llm_config", where) for name in sizes}
    fields |= {
        "num_attention_heads": heads,
        "num_key_value_heads": text.get("num_key_value_heads") or heads,
        "hidden_act": text.get("hidden_act", "silu"),
        "rms_norm_eps": text.get("rms_norm_eps", 1e-6),
        "initializer_range": text.get("initializer_range", 0.02),
        "rope_parameters": _rope_parameters(text, where),
        "tie_word_embeddings": is_tied,
        **{name: text.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }
    if text_architecture(original, where) == INTERNLM2:
        return LlamaConfig(**fields, attention_bias=text.get("bias", True))
    window = ("use_sliding_window", "sliding_window", "max_window_layers")
    return Qwen2Config(**fields, **{name: text[name] for name in window if name in text})


def _rope_parameters(text: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Rotary positions: plain, or stretched (linear, dynamic NTK)."""
    theta = float(text.get("rope_theta", 10000.0))
    scaling = text.get("rope_scaling")
    if not scaling:
        return {"rope_type": "default", "rope_theta": theta}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind not in ("linear", "dynamic"):
        raise ModelError(f"{where}: llm_config.rope_scaling is {scaling}; expected the type linear or dynamic, or null")
    return {"rope_type": kind, "rope_theta": theta, "factor": float(scaling["factor"])}


def _section(original: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(original.get(name), dict):
        raise ModelError(f"{where}: no {name}; expected a config.json of the original InternVL layout")
    return original[name]


def _field(section: Mapping[str, Any], name: str, section_name: str, where: str) -> Any:
    if section.get(name) is None:
        raise ModelError(f"{where}: {section_name}.{name} is missing; restore the file that came with the weights")
    return section[name]
