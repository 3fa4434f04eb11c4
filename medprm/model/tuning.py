"""Which weights are trained: all, all but frozen parts, or adapters beside frozen weights.

In: a model and TuningSettings. Out: the model to train. The frozen weights of `qlora` are held in four bits
(arXiv 2305.14314); not yet run.
"""

import logging
from importlib import util
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from medprm.errors import InputError
from medprm.model.architectures import part_of
from medprm.model.lora import LoraFields, apply_lora

logger = logging.getLogger(__name__)


class TuningFields(LoraFields, Protocol):
    """The fields of the tuning settings that are read here."""

    kind: str
    freeze_vision: bool
    freeze_projector: bool
    freeze_text: bool


def tuned(model: PreTrainedModel, settings: TuningFields) -> Any:
    """The model with the weights that are trained set free."""
    if settings.kind == "qlora" and not any(parameter.is_meta for parameter in model.parameters()):
        to_four_bits(model, settings.target_modules)
    if settings.kind != "full":
        return apply_lora(model, settings)
    for part in ("vision", "projector"):
        if getattr(settings, f"freeze_{part}") and all(part_of(name) != part for name, _ in model.named_parameters()):
            raise InputError(f"tuning.freeze_{part} is true but the model reads text only; leave it out")
    for name, parameter in model.named_parameters():
        if getattr(settings, f"freeze_{part_of(name)}"):
            parameter.requires_grad_(False)
    return model


def check_four_bits() -> None:
    """Raises InputError where weights in four bits cannot be trained beside."""
    if not torch.cuda.is_available():
        raise InputError("tuning=qlora but there is no GPU: four-bit weights need one; choose tuning=lora")
    if util.find_spec("bitsandbytes") is None:
        raise InputError(
            "tuning=qlora needs the package bitsandbytes: pip install 'medprm[qlora]', or choose tuning=lora"
        )


def to_four_bits(model: PreTrainedModel, names: list[str]) -> None:
    """The named linear layers of the text model in nf4; they are quantised when the model moves to the GPU."""
    check_four_bits()
    import bitsandbytes  # type: ignore[import-not-found]  # heavy and optional

    num_replaced = 0
    for path, layer in list(model.named_modules()):
        parent, _, name = path.rpartition(".")
        if part_of(path) != "text" or name not in names or not isinstance(layer, torch.nn.Linear):
            continue
        four_bit = bitsandbytes.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
        )
        four_bit.weight = bitsandbytes.nn.Params4bit(
            layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
        )
        four_bit.bias = layer.bias
        setattr(model.get_submodule(parent), name, four_bit)
        num_replaced += 1
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # peft asks for this name
    logger.info("%d linear layers of the text model in four bits", num_replaced)
