"""LoRA: train small adapters beside frozen weights, and merge them for scoring.

In: a model and TuningSettings. Out: a peft model, or the merged model. Source: arXiv 2106.09685.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

import torch
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from peft import PeftModel

logger = logging.getLogger(__name__)


class LoraFields(Protocol):
    """The fields of the tuning settings that are read here."""

    r: int
    lora_alpha: int
    lora_dropout: float
    target_modules: list[str]


def apply_lora(model: PreTrainedModel, settings: LoraFields) -> "PeftModel":
    """Adapters on the named linear layers of the text model; everything else is frozen."""
    from peft import LoraConfig, get_peft_model  # heavy, and only LoRA needs it

    names = "|".join(settings.target_modules)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        # InternVL's text model by its name; a text model's layers begin the name.
        target_modules=rf"(.*language_model.*|model\.layers\..*)\.({names})",
    )
    adapted = get_peft_model(model, config)
    trained, total = adapted.get_nb_trainable_parameters()
    logger.info("LoRA: %d of %d parameters are trained (%.2f %%)", trained, total, 100 * trained / total)
    return adapted  # type: ignore[return-value]


def adapter_state(model: "PeftModel") -> dict[str, torch.Tensor]:
    """The adapters' weights in float32 on the CPU. Sharded ones are gathered: every process has to call it."""
    trained = {name: value for name, value in model.named_parameters() if "lora_" in name}
    with _gathered(list(trained.values())):
        return {name: value.detach().float().cpu().clone() for name, value in trained.items()}


def with_adapters(model: PreTrainedModel, settings: LoraFields, adapters: dict[str, torch.Tensor]) -> "PeftModel":
    """A base with adapters of `adapter_state` beside its weights."""
    adapted = apply_lora(model, settings)
    missing = adapted.load_state_dict(adapters, strict=False)
    lacking = [name for name in missing.missing_keys if "lora_" in name]
    assert not lacking and not missing.unexpected_keys, (lacking[:1], missing.unexpected_keys[:1])
    return adapted


def _gathered(parameters: list[torch.nn.Parameter]) -> AbstractContextManager[None]:
    if not any(hasattr(one, "ds_id") for one in parameters):
        return nullcontext()
    from deepspeed import zero  # heavy, and there where a parameter is DeepSpeed's  # pyright: ignore[reportMissingImports]

    return zero.GatheredParameters(parameters)


def merge_lora(model: "PeftModel") -> PreTrainedModel:
    """The plain model with the adapters folded into its weights."""
    merged = model.merge_and_unload()  # type: ignore[operator]
    assert isinstance(merged, torch.nn.Module), type(merged)
    return merged  # type: ignore[return-value]
