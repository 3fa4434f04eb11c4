"""LoRA: only adapters are trained, and merging them changes no output."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from medprm.model.lora import adapter_state, apply_lora, merge_lora, with_adapters
from medprm.model.settings import TuningSettings
from medprm.scoring.step_scores import label_logits, step_scores


@dataclass
class _Fields:
    r: int = 4
    lora_alpha: int = 8
    lora_dropout: float = 0.0
    target_modules: list[str] = field(default_factory=lambda: ["q_proj", "down_proj"])


def test_merged_equals_unmerged() -> None:
    adapted = apply_lora(tiny_model(), _Fields())
    names = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert names
    assert all("lora_" in name and "language_model" in name for name in names)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # zero at the start: the merge would be trivial
    ids = torch.tensor([tiny_tokenizer()("effusion left lower").input_ids])
    adapted.eval()
    with torch.inference_mode():
        before = adapted(input_ids=ids).logits
        after = merge_lora(adapted)(input_ids=ids).logits
        plain = tiny_model()(input_ids=ids).logits
    assert torch.allclose(before, after, atol=1e-4)  # measured 2e-6 at logits of size 10
    assert not torch.allclose(after, plain, atol=1e-2)


def test_merged_scores_are_unmerged_scores() -> None:
    """All linear layers of the text model adapted."""
    settings = _Fields(target_modules=TuningSettings().target_modules)
    adapted = apply_lora(tiny_model(), settings)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    ids = torch.tensor([tiny_tokenizer()("effusion left lower opacity right nodule").input_ids])
    positions = torch.tensor([[2, ids.shape[1] - 1]])

    def scores(model: Any) -> torch.Tensor:
        with torch.inference_mode():
            return step_scores(label_logits(model.eval(), {"input_ids": ids}, positions, [10, 20]))

    before, plain = scores(adapted), scores(tiny_model())
    rebuilt = merge_lora(with_adapters(tiny_model(), settings, adapter_state(adapted)))
    after = scores(merge_lora(adapted))
    assert (before - after).abs().max() < 1e-5
    assert (scores(rebuilt) - after).abs().max() < 1e-5
    assert (after - plain).abs().max() > 1e-2


def test_adapters_of_another_rank_do_not_fit() -> None:
    adapters = adapter_state(apply_lora(tiny_model(), _Fields()))
    with pytest.raises(RuntimeError, match="size mismatch"):
        with_adapters(tiny_model(), _Fields(r=2), adapters)
