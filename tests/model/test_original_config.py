"""An original configuration in native terms; what the native model would do otherwise is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from original import original_config, write_original_checkpoint

from medprm.images.settings import ImageSettings
from medprm.model.errors import ModelError
from medprm.model.loading import load_checkpoint
from medprm.model.original_config import native_config, original_image_settings
from medprm.model.original_layout import native_shapes

# The published sizes of InternVL2.5-8B.
VISION_8B = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
TEXT_8B = {"vocab_size": 92553, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
TEXT_8B |= {"num_key_value_heads": 8, "intermediate_size": 14336, "max_position_embeddings": 32768}


def config_8b() -> dict[str, Any]:
    config = original_config("internlm2", "300m", 92553) | {"force_image_size": 448}
    config["vision_config"] |= VISION_8B | {"image_size": 448, "patch_size": 14}
    config["llm_config"] |= TEXT_8B
    return config


def edited(change: dict[str, Any]) -> dict[str, Any]:
    """A tiny configuration with `section__key` set."""
    config = original_config("internlm2", "6b", 600)
    for name, value in change.items():
        section, _, key = name.rpartition("__")
        (config[section] if section else config)[key] = value
    return config


def test_internvl2_5_8b() -> None:
    native = native_config(config_8b(), 92546, False, "config.json")
    shapes = native_shapes(native)
    assert len(shapes) == 733
    total = 0
    for shape in shapes.values():
        count = 1
        for size in shape:
            count *= size
        total += count
    assert total == 8_075_365_376
    assert native.image_seq_length == 256 and native.image_token_id == 92546
    text: Any = native.text_config
    assert text.rope_parameters == {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 2.0}
    assert text.rms_norm_eps == 1e-5 and not text.attention_bias
    assert not native.tie_word_embeddings and not text.tie_word_embeddings


def test_how_images_are_cut(tmp_path: Path) -> None:
    settings = ImageSettings(**original_image_settings(config_8b(), "config.json"))
    assert settings == ImageSettings(tile_size=448, max_tiles=12, use_thumbnail=True)
    whole = original_image_settings(config_8b() | {"dynamic_image_size": False}, "config.json")
    assert whole["max_tiles"] == 1
    write_original_checkpoint(tmp_path, "internlm2", "300m")
    loaded = load_checkpoint(tmp_path, max_tiles=6)
    assert loaded.image_settings == ImageSettings(tile_size=32, max_tiles=6) and loaded.image_tokens_per_tile == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ps_version": "v1"}, "ps_version is 'v1'; expected 'v2'"),
        ({"pad2square": True}, "pad2square is True; expected False"),
        ({"use_llm_lora": 16}, "use_llm_lora is 16; expected 0"),
        ({"force_image_size": 448}, "force_image_size is 448; expected 32"),
        ({"quantization_config": {"bits": 4}}, "the weights are quantized"),
        ({"llm_config": None}, "no llm_config"),
        ({"llm_config__architectures": ["Phi3ForCausalLM"]}, "expected InternLM2ForCausalLM or Qwen2ForCausalLM"),
        ({"llm_config__rope_scaling": {"type": "yarn", "factor": 4.0}}, "expected the type linear or dynamic"),
        ({"llm_config__hidden_size": None}, r"llm_config\.hidden_size is missing"),
        ({"vision_config__layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05 with qk_normalization"),
        ({"vision_config__norm_type": "batch_norm"}, "norm_type is 'batch_norm'; expected layer_norm or rms_norm"),
    ],
)
def test_what_differs_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        native_config(edited(change), 5, False, "config.json")


def test_a_smallest_grid_is_refused() -> None:
    with pytest.raises(ModelError, match="min_dynamic_patch is 2; expected 1"):
        original_image_settings(edited({"min_dynamic_patch": 2}), "config.json")


def test_another_chat_template_is_said(caplog: pytest.LogCaptureFixture) -> None:
    native_config(edited({"template": "internlm2-chat"}), 5, False, "config.json")
    assert "the checkpoint's chat template is 'internlm2-chat'" in caplog.text


def test_a_tokenizer_of_another_checkpoint(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, "qwen2", "300m")
    config = json.loads((tmp_path / "config.json").read_text())
    config["llm_config"]["vocab_size"] -= 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"llm_config.vocab_size is \d+; expected more than \d+, the highest id"):
        load_checkpoint(tmp_path)
