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


def test_original_layout_is_named(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"model_type": "internvl_chat"}))
    with pytest.raises(ModelError, match="internvl_chat"):
        load_checkpoint(saved)


def test_missing_folder_is_named() -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_checkpoint("./nowhere")
