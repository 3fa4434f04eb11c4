"""The parity harness runs a folder of modelling code; here the reference implementation takes the original's place."""

import sys
from pathlib import Path

import pytest
from original import write_original_checkpoint

from medprm.commands.parity import compare, main

MODELLING = """
from types import SimpleNamespace
import torch
from reference_internvl import reference_logits
from .configuration_internvl_chat import InternVLChatConfig

class InternVLChatModel(torch.nn.Module):
    def __init__(self, config, use_flash_attn=True):
        super().__init__()
        assert isinstance(config, InternVLChatConfig) and not use_flash_attn
        self.config = config

    def load_state_dict(self, weights, strict):
        assert strict
        self.weights = weights

    def forward(self, pixel_values, input_ids, image_flags, **others):
        assert image_flags.all()
        logits = reference_logits(
            self.weights, self.config.fields, self.img_context_token_id, input_ids, pixel_values
        )
        return SimpleNamespace(logits=logits * SCALE)
"""
CONFIGURATION = """
class InternVLChatConfig:
    def __init__(self, **fields):
        self.fields = fields
"""


def write_code(folder: Path, scale: float = 1.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "modeling_internvl_chat.py").write_text(MODELLING.replace("SCALE", str(scale)))
    (folder / "configuration_internvl_chat.py").write_text(CONFIGURATION)
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_original_checkpoint(tmp_path / "checkpoint", "internlm2", "6b")
    return tmp_path / "checkpoint"


@pytest.fixture(autouse=True)
def fresh_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of another folder is not taken from the modules of an earlier test."""
    for name in ("", ".modeling_internvl_chat", ".configuration_internvl_chat"):
        monkeypatch.delitem(sys.modules, f"original_code{name}", raising=False)


def test_agreement(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkpoint), "--code", str(write_code(tmp_path / "code"))]) == 0
    assert "largest difference" in capsys.readouterr().out


def test_disagreement_is_seen(checkpoint: Path, tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", scale=1.001)
    assert main([str(checkpoint), "--code", str(code)]) == 1
    found = compare(checkpoint, code)
    assert found.largest_difference == pytest.approx(found.largest_logit * 0.001, rel=0.05)


def test_a_folder_without_code(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkpoint), "--code", str(checkpoint)]) == 2
    assert "no modeling_internvl_chat.py" in capsys.readouterr().err


def test_code_that_needs_more(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = write_code(tmp_path / "code")
    (code / "configuration_internvl_chat.py").write_text("import no_such_package_at_all")
    assert main([str(checkpoint), "--code", str(code)]) == 2
    assert "no_such_package_at_all" in capsys.readouterr().err
