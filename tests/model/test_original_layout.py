"""A checkpoint in the original layout gives the original's logits, comes back bit-equal, and is refused when wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import GOLDEN_FILE, golden_inputs, golden_positions
from original import TEXT_FAMILIES, VISION_TYPES, random_weights, write_original_checkpoint, write_shards
from reference_internvl import reference_logits
from safetensors.torch import load_file, save_file

from medprm.model.errors import ModelError
from medprm.model.loading import LoadedModel, load_checkpoint, save_checkpoint
from medprm.model.original_layout import load_original, read_headers, write_original

COMBINATIONS = [(family, vision) for family in TEXT_FAMILIES for vision in VISION_TYPES]


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


def edit_config(folder: Path, **changes: Any) -> None:
    """Set keys, `section__key` inside a section."""
    config = config_of(folder)
    for name, value in changes.items():
        section, _, key = name.rpartition("__")
        (config[section] if section else config)[key] = value
    (folder / "config.json").write_text(json.dumps(config))


@torch.inference_mode()
def logits_of(loaded: LoadedModel, ids: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    return loaded.model(input_ids=ids, pixel_values=pixels).logits


def difference(folder: Path, weights: dict[str, torch.Tensor], num_tokens: int = 40) -> float:
    """The largest difference of logits to the reference."""
    loaded = load_checkpoint(folder)
    image_token_id = loaded.model.config.image_token_id
    ids, pixels = golden_inputs(image_token_id, num_tokens)
    expected = reference_logits(weights, config_of(folder), image_token_id, ids, pixels)
    assert expected.std() > 0.3, "logits without spread would agree whatever the weights"
    return float((logits_of(loaded, ids, pixels) - expected).abs().max())


@pytest.mark.parametrize(("family", "vision"), COMBINATIONS)
def test_logits_are_the_references(family: str, vision: str, tmp_path: Path) -> None:
    weights = write_original_checkpoint(tmp_path, family, vision)
    # Measured 6e-6 at logits of size 4; each differs from float64 by 3e-6. A wrong order of heads gives 1e-1 and more.
    assert difference(tmp_path, weights) <= 1e-5


def test_beyond_the_trained_length(tmp_path: Path) -> None:
    """Dynamic NTK stretches the positions; without it the logits are others."""
    weights = write_original_checkpoint(tmp_path, "internlm2", "300m")
    assert difference(tmp_path, weights, num_tokens=100) <= 1e-5
    ids, pixels = golden_inputs(load_checkpoint(tmp_path).model.config.image_token_id, 100)
    stretched = logits_of(load_checkpoint(tmp_path), ids, pixels)
    edit_config(tmp_path, llm_config__rope_scaling=None)
    assert (logits_of(load_checkpoint(tmp_path), ids, pixels) - stretched).abs().max() > 1e-3


def test_an_earlier_vision_layer(tmp_path: Path) -> None:
    weights = write_original_checkpoint(tmp_path, "qwen2", "300m")
    edit_config(tmp_path, select_layer=-2)
    assert difference(tmp_path, weights) <= 1e-5


@pytest.mark.parametrize(("family", "vision"), COMBINATIONS)
def test_golden_logits(family: str, vision: str, tmp_path: Path) -> None:
    """Made by the reference: python tests/model/golden.py."""
    golden = json.loads(GOLDEN_FILE.read_text())[f"{family}_{vision}"]
    write_original_checkpoint(tmp_path, family, vision)
    loaded = load_checkpoint(tmp_path)
    logits = golden_positions(logits_of(loaded, *golden_inputs(loaded.model.config.image_token_id)))
    # Stored with six decimals.
    assert torch.allclose(logits, torch.tensor(golden), rtol=0, atol=1.2e-5)


def test_the_output_head_is_the_checkpoints(tmp_path: Path) -> None:
    """A configuration that says tied does not win over a head in the file: that would be silent and wrong."""
    weights = write_original_checkpoint(tmp_path, "qwen2", "300m")
    edit_config(tmp_path, llm_config__tie_word_embeddings=True)
    loaded = load_checkpoint(tmp_path)
    assert torch.equal(loaded.model.lm_head.weight, weights["language_model.lm_head.weight"])
    assert not loaded.model.config.tie_word_embeddings and not loaded.model.config.text_config.tie_word_embeddings


def test_a_tied_checkpoint(tmp_path: Path) -> None:
    """Without a head in the file: tied if the configuration says so, else a key is missing."""
    weights = write_original_checkpoint(tmp_path / "tied", "qwen2", "300m")
    del weights["language_model.lm_head.weight"]
    write_shards(tmp_path / "tied", weights, 3)
    with pytest.raises(ModelError, match=r"1 key missing: language_model\.lm_head\.weight"):
        load_checkpoint(tmp_path / "tied")
    edit_config(tmp_path / "tied", llm_config__tie_word_embeddings=True)
    assert difference(tmp_path / "tied", weights) <= 1e-5
    loaded = load_checkpoint(tmp_path / "tied", dtype="stored")
    assert loaded.model.lm_head.weight is loaded.model.get_input_embeddings().weight
    save_checkpoint(tmp_path / "native", loaded, None)
    native = load_checkpoint(tmp_path / "native", dtype="stored")
    (tmp_path / "again").mkdir()
    write_original(tmp_path / "again", native.model, json.loads(native.original_files["config.json"]))
    assert same_tensors(tmp_path / "tied", tmp_path / "again")


def same_tensors(first: Path, second: Path) -> bool:
    tensors = [
        {name: one for file in folder.glob("*.safetensors") for name, one in load_file(file).items()}
        for folder in (first, second)
    ]
    assert tensors[0].keys() == tensors[1].keys()
    return all(
        torch.equal(one, tensors[1][name]) and one.dtype == tensors[1][name].dtype for name, one in tensors[0].items()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("family", "vision"), COMBINATIONS)
def test_round_trip_is_bit_equal(family: str, vision: str, dtype: torch.dtype, tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path / "original", family, vision, dtype=dtype)
    loaded = load_checkpoint(tmp_path / "original", dtype="stored")
    assert loaded.model.dtype == dtype
    save_checkpoint(tmp_path / "native", loaded, None)
    native = load_checkpoint(tmp_path / "native", dtype="stored")
    for (name, mine), (_, theirs) in zip(loaded.model.named_parameters(), native.model.named_parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    assert native.image_settings == loaded.image_settings
    (tmp_path / "again").mkdir()
    config = json.loads(native.original_files["config.json"])
    write_original(tmp_path / "again", native.model, config, max_shard_bytes=40_000)
    assert len(list((tmp_path / "again").glob("*.safetensors"))) > 1
    assert same_tensors(tmp_path / "original", tmp_path / "again")


def test_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    weights = write_original_checkpoint(tmp_path, "internlm2", "300m", dtype=torch.bfloat16)
    model = load_checkpoint(tmp_path, dtype="float32").model
    assert model.dtype == torch.float32
    head = weights["language_model.output.weight"]
    assert torch.equal(model.lm_head.weight, head.float())


def test_mixed_dtypes_need_a_choice(tmp_path: Path) -> None:
    weights = write_original_checkpoint(tmp_path, "qwen2", "300m")
    write_shards(tmp_path, weights | {"mlp1.0.bias": weights["mlp1.0.bias"].half()}, 2)
    with pytest.raises(ModelError, match=r"weights of dtype F16, F32; .* name the dtype"):
        load_checkpoint(tmp_path, dtype="stored")
    load_checkpoint(tmp_path, dtype="float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("removed", r"1 key missing: mlp1\.3\.bias"),
        ("added", r"1 key unexpected: mlp1\.9\.bias"),
        ("shape", r"1 key of the wrong shape: mlp1\.3\.bias is 5, expected 32"),
    ],
)
def test_wrong_keys_are_refused(change: str, message: str, tmp_path: Path) -> None:
    weights = write_original_checkpoint(tmp_path, "internlm2", "300m")
    if change == "removed":
        del weights["mlp1.3.bias"]
    elif change == "added":
        weights["mlp1.9.bias"] = torch.zeros(2)
    else:
        weights["mlp1.3.bias"] = torch.zeros(5)
    write_shards(tmp_path, weights, 2)
    for file in tmp_path.glob("*-of-00003.safetensors"):
        file.unlink()
    with pytest.raises(ModelError, match=message) as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, "internlm2", "300m")
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelError, match="names model-00002-of-00003.safetensors, which is not in the folder"):
        load_checkpoint(tmp_path)


def test_an_index_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path / "inside", "qwen2", "300m", num_shards=1)
    shard = tmp_path / "inside" / "model-00001-of-00001.safetensors"
    shard.rename(tmp_path / "outside.safetensors")
    save_file({"x": torch.zeros(1)}, shard)
    index = tmp_path / "inside" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../outside.safetensors"}}))
    with pytest.raises(ModelError, match="which is not in the folder"):
        load_checkpoint(tmp_path / "inside")


def test_a_torn_shard_is_named(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, "qwen2", "300m")
    file = tmp_path / "model-00001-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="model-00001-of-00003.safetensors: not a whole safetensors file"):
        load_checkpoint(tmp_path)


def test_a_tensor_in_two_files(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, "qwen2", "300m", num_shards=1)
    (tmp_path / "model.safetensors.index.json").unlink()
    save_file({"mlp1.0.bias": torch.zeros(128)}, tmp_path / "second.safetensors")
    with pytest.raises(ModelError, match=r"mlp1\.0\.bias is in model-00001-of-00001.safetensors and in second"):
        read_headers(tmp_path)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, "qwen2", "300m", num_shards=1)
    (tmp_path / "model-00001-of-00001.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled weights .* take a revision with safetensors"):
        load_checkpoint(tmp_path)


def test_another_networks_configuration_is_refused(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, "qwen2", "300m")
    loaded = load_checkpoint(tmp_path)
    edit_config(tmp_path, llm_config__intermediate_size=96)
    with pytest.raises(ModelError, match="of another network than the weights"):
        write_original(tmp_path, loaded.model, config_of(tmp_path))


def test_code_of_a_checkpoint_never_runs(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, "internlm2", "300m")
    for name in ("modeling_internvl_chat.py", "tokenization_internlm2.py", "configuration_internvl_chat.py"):
        (tmp_path / name).write_text("raise SystemExit('the code of a checkpoint was run')")
    loaded = load_checkpoint(tmp_path)
    assert not [name for name in loaded.original_files if name.endswith(".py")]


MEASURE = """
import re, sys
from pathlib import Path

def kibibytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

from medprm.model.loading import load_checkpoint
before = kibibytes("VmRSS")
loaded = load_checkpoint(sys.argv[1], dtype="stored")
print(before, kibibytes("VmHWM"), sum(weight.nbytes for weight in loaded.model.parameters()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_the_weights_and_one_shard(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, "internlm2", "300m", num_shards=1)
    next(tmp_path.glob("*.safetensors")).unlink()
    edit_config(tmp_path, llm_config__hidden_size=2048, llm_config__num_attention_heads=16)
    edit_config(tmp_path, llm_config__num_key_value_heads=8, llm_config__num_hidden_layers=10)
    edit_config(tmp_path, llm_config__intermediate_size=6144)
    weights = {name: one.to(torch.bfloat16) for name, one in random_weights(config_of(tmp_path), 0).items()}
    write_shards(tmp_path, weights, 4)
    largest = max(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
    del weights
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    )
    before, peak, num_bytes = map(int, done.stdout.split())
    above = (peak - before) * 1024
    sizes = [f"{size / 2**20:.0f} MiB" for size in (num_bytes, largest, above)]
    print(f"weights {sizes[0]}, largest shard {sizes[1]}, peak {sizes[2]} above imports")
    assert num_bytes > 900 * 2**20
    assert above <= num_bytes + largest + 300e6


def test_load_original_needs_no_tokenizer(tmp_path: Path) -> None:
    """The weights alone, for whoever has a tokenizer of their own."""
    weights = write_original_checkpoint(tmp_path, "qwen2", "6b")
    model = load_original(tmp_path, config_of(tmp_path), 3)
    assert torch.equal(model.lm_head.weight, weights["language_model.lm_head.weight"])
    assert model.config.image_token_id == 3
