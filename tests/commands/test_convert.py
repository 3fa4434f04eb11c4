"""`convert` there and back gives the same files; its mistakes are one line."""

import json
from pathlib import Path

import pytest
import torch
from original import TEXT_FAMILIES, VISION_TYPES, write_original_checkpoint
from safetensors.torch import load_file
from tiny import tiny_loaded

from medprm.commands.convert import main
from medprm.model.loading import load_checkpoint, save_checkpoint
from medprm.model.original_layout import INDEX_FILE


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize(("family", "vision"), list(zip(TEXT_FAMILIES, VISION_TYPES, strict=True)))
def test_there_and_back(family: str, vision: str, tmp_path: Path) -> None:
    source, native, again = (str(tmp_path / name) for name in ("source", "native", "again"))
    weights = write_original_checkpoint(Path(source), family, vision, dtype=torch.bfloat16)
    assert main([source, native, "--to", "native", "--dtype", "bfloat16"]) == 0
    assert main([native, again, "--to", "original", "--shard-gib", "0.00005"]) == 0
    found = tensors_of(Path(again))
    assert found.keys() == weights.keys()
    for name, tensor in weights.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name
    index = json.loads((Path(again) / INDEX_FILE).read_text())
    assert index["weight_map"].keys() == weights.keys() and len(set(index["weight_map"].values())) > 1
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in weights.values())
    kept = [file for file in Path(source).iterdir() if file.suffix in (".json", ".model", ".txt")]
    for file in kept:
        if file.name not in ("config.json", INDEX_FILE):
            assert (Path(again) / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_trained_prm_goes_back(tmp_path: Path) -> None:
    """Saved as training saves it, in another dtype, with its prompt and threshold."""
    write_original_checkpoint(tmp_path / "base", "internlm2", "300m", dtype=torch.bfloat16)
    loaded = load_checkpoint(tmp_path / "base")
    with torch.no_grad():
        loaded.model.lm_head.weight[0] += 1
    save_checkpoint(tmp_path / "prm", loaded, {"threshold": 0.4})
    assert main([str(tmp_path / "prm"), str(tmp_path / "out"), "--to", "original"]) == 0
    back = load_checkpoint(tmp_path / "out")
    assert back.prm == {"threshold": 0.4}
    assert torch.equal(back.model.lm_head.weight, loaded.model.lm_head.weight)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == "float32"
    assert back.image_settings == loaded.image_settings


def test_the_original_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A native checkpoint that does not hold its original's files, such as those on the hub."""
    weights = write_original_checkpoint(tmp_path / "base", "qwen2", "300m")
    loaded = load_checkpoint(tmp_path / "base")
    loaded.original_files = {}
    save_checkpoint(tmp_path / "native", loaded, None)
    arguments = [str(tmp_path / "native"), str(tmp_path / "out"), "--to", "original"]
    assert main(arguments) == 2
    assert "give --like FOLDER" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.draft").exists()
    assert main([*arguments, "--like", str(tmp_path / "base")]) == 0
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tensors_of(tmp_path / "out").items())


def test_another_networks_original_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_original_checkpoint(tmp_path / "base", "qwen2", "300m")
    save_checkpoint(tmp_path / "native", tiny_loaded(), None)
    arguments = [str(tmp_path / "native"), str(tmp_path / "out"), "--to", "original", "--like", str(tmp_path / "base")]
    assert main(arguments) == 2
    assert "of another network than the weights" in capsys.readouterr().err


def test_an_existing_target_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    assert main([str(tmp_path), str(tmp_path / "out"), "--to", "native"]) == 2
    assert "exists; expected a new folder" in capsys.readouterr().err
