"""LoRA: train small adapters beside frozen weights, and merge them for scoring.

In: a model and TuningSettings. Out: a peft model, or the merged model. Source: arXiv 2106.09685.
"""

import logging
from typing import TYPE_CHECKING, Protocol

import torch
from transformers import InternVLForConditionalGeneration

if TYPE_CHECKING:
    from peft import PeftModel

logger = logging.getLogger(__name__)


class LoraFields(Protocol):
    """The fields of the tuning settings that are read here."""

    r: int
    lora_alpha: int
    lora_dropout: float
    target_modules: list[str]


def apply_lora(model: InternVLForConditionalGeneration, settings: LoraFields) -> "PeftModel":
    """Adapters on the named linear layers of the text model; everything else is frozen."""
    from peft import LoraConfig, get_peft_model  # heavy, and only LoRA needs it

    names = "|".join(settings.target_modules)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=rf".*language_model.*\.({names})",
    )
    adapted = get_peft_model(model, config)
    trained, total = adapted.get_nb_trainable_parameters()
    logger.info("LoRA: %d of %d parameters are trained (%.2f %%)", trained, total, 100 * trained / total)
    return adapted  # type: ignore[return-value]


def merge_lora(model: "PeftModel") -> InternVLForConditionalGeneration:
    """The plain model with the adapters folded into its weights."""
    merged = model.merge_and_unload()  # type: ignore[operator]
    assert isinstance(merged, torch.nn.Module), type(merged)
    return merged  # type: ignore[return-value]
