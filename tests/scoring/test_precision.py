"""The number format that `auto` stands for."""

import pytest
import torch

from medprm.scoring.precision import resolve_dtype
from medprm.scoring.settings import ScoringSettings


@pytest.mark.parametrize("is_supported", [True, False])
def test_auto_is_bfloat16_where_a_gpu_computes_in_it(is_supported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_supported)
    chosen = ScoringSettings().dtype
    assert resolve_dtype(chosen, "cuda:1") == ("bfloat16" if is_supported else "float32")
    assert resolve_dtype(chosen, "cpu") == "float32"


def test_what_is_asked_for_is_kept() -> None:
    assert resolve_dtype("float32", "cuda:0") == "float32"
    assert resolve_dtype("bfloat16", "cpu") == "bfloat16"
