"""The number format of the weights where the settings say `auto`."""

import torch


def resolve_dtype(choice: str, device: str) -> str:
    """`choice` itself unless it is auto: bfloat16 on a GPU that computes in it, else float32."""
    if choice != "auto":
        return choice
    is_on_gpu = device.startswith("cuda")
    return "bfloat16" if is_on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
