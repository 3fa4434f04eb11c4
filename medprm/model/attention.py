"""Which of transformers' attention implementations is used where the settings say `auto`."""

import logging

import torch
from transformers.utils.import_utils import is_flash_attn_2_available, is_flash_attn_3_available

logger = logging.getLogger(__name__)


def resolve_attention(choice: str, is_on_gpu: bool, is_half: bool) -> str:
    """`choice` itself unless it is auto: flash attention where it is installed and can run, else sdpa.

    Flash attention needs a GPU and a half-precision format; `is_half` says whether the model computes in one.
    """
    if choice != "auto":
        return choice
    chosen = "sdpa"
    if is_on_gpu and is_half and torch.cuda.is_available():
        if is_flash_attn_3_available():
            chosen = "flash_attention_3"
        elif is_flash_attn_2_available():
            chosen = "flash_attention_2"
    logger.info("attention: %s", chosen)
    return chosen
