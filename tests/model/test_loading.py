"""A checkpoint comes back as it was saved; what is missing, over or foreign is one clear error."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_loaded

from medprm.model.loading import ModelError, load_checkpoint, save_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model", tiny_loaded(), {"prompt": {"name": "medprm"}})
    return tmp_path / "model"


def test_round_trip(saved: Path) -> None:
    before, after = tiny_loaded(), load_checkpoint(saved)
    for (name, mine), (_, theirs) in zip(before.model.named_parameters(), after.model.named_parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    assert after.image_settings == before.image_settings
    assert after.image_tokens_per_tile == before.image_tokens_per_tile
    assert after.prm == {"prompt": {"name": "medprm"}}
    text = "effusion <|im_start|>\n+ 12"
    assert after.tokenizer(text).input_ids == before.tokenizer(text).input_ids


def test_output_head_is_not_tied(saved: Path) -> None:
    model = load_checkpoint(saved).model
    assert not torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_wrong_keys_are_refused(saved: Path, change: str) -> None:
    file = saved / "model.safetensors"
    tensors = load_file(file)
    if change == "missing":
        del tensors[next(name for name in tensors if name.endswith("lm_head.weight"))]
    else:
        tensors["model.language_model.layers.9.extra.weight"] = torch.zeros(2)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"{change} keys"):
        load_checkpoint(saved)


def test_pickled_weights_are_refused(saved: Path) -> None:
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled weights"):
        load_checkpoint(saved)


def test_another_kind_of_model_is_named(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"model_type": "llava"}))
    with pytest.raises(ModelError, match="model_type 'llava'; expected 'internvl' .* or 'internvl_chat'"):
        load_checkpoint(saved)


def test_a_wrong_shape_is_refused(saved: Path) -> None:
    file = saved / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("lm_head.weight"))
    save_file(tensors | {name: torch.zeros(3, 32)}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="mismatched keys"):
        load_checkpoint(saved)


def test_stored_dtype_is_kept(saved: Path) -> None:
    loaded = load_checkpoint(saved, dtype="bfloat16")
    save_checkpoint(saved.with_name("half"), loaded, None)
    assert load_checkpoint(saved.with_name("half"), dtype="stored").model.dtype == torch.bfloat16
    with pytest.raises(ModelError, match="dtype 'int8'; expected one of float32, bfloat16, float16, stored"):
        load_checkpoint(saved, dtype="int8")


def test_a_hub_id_without_network_is_one_line() -> None:
    with pytest.raises(ModelError, match="model OpenGVLab/NoSuchModel: ") as caught:
        load_checkpoint("OpenGVLab/NoSuchModel")
    assert "\n" not in str(caught.value)


def test_missing_folder_is_named() -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_checkpoint("./nowhere")
