"""What is trained, which attention is used, and what is said where four-bit weights cannot be."""

from importlib import util

import pytest
import torch
from tiny import tiny_model

from medprm.errors import InputError
from medprm.model import attention
from medprm.model.architectures import count_parameters
from medprm.model.attention import resolve_attention
from medprm.model.settings import TuningSettings
from medprm.model.tuning import check_four_bits, tuned


@pytest.mark.parametrize("part", ["vision", "projector", "text"])
def test_a_frozen_part_stays_and_the_others_are_trained(part: str) -> None:
    counts = count_parameters(tuned(tiny_model(), TuningSettings(**{f"freeze_{part}": True})))
    assert counts[part]["trained"] == 0
    assert all(one["trained"] == one["total"] for name, one in counts.items() if name != part)


def test_four_bits_need_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="there is no GPU"):
        tuned(tiny_model(), TuningSettings(kind="qlora"))


def test_four_bits_need_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'medprm\[qlora\]'"):
        check_four_bits()


@pytest.mark.parametrize(
    ("is_on_gpu", "is_half", "installed", "expected"),
    [
        (True, True, "3", "flash_attention_3"),
        (True, True, "2", "flash_attention_2"),
        (True, True, "", "sdpa"),
        (False, True, "2", "sdpa"),
        (True, False, "2", "sdpa"),
    ],
)
def test_auto_takes_flash_attention_where_it_can_run(
    is_on_gpu: bool, is_half: bool, installed: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: installed == "2")
    monkeypatch.setattr(attention, "is_flash_attn_3_available", lambda: installed == "3")
    assert resolve_attention("auto", is_on_gpu, is_half) == expected
    assert resolve_attention("eager", is_on_gpu, is_half) == "eager"
