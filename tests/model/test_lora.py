"""LoRA: only adapters are trained, and merging them changes no output."""

from dataclasses import dataclass, field

import torch
from tiny import tiny_model, tiny_tokenizer

from medprm.model.lora import apply_lora, merge_lora


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
