"""The model's logits of the label tokens at the label positions, and P(+) from them.

The one forward that training and scoring share. Axes: B sequences, T tokens, S steps, K label tokens, V vocabulary.
No logits are computed elsewhere: `logits_to_keep` takes one row of positions per sequence.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


def label_logits(
    model: nn.Module, inputs: Mapping[str, Any], label_positions: torch.Tensor, label_ids: Sequence[int]
) -> torch.Tensor:
    """`label_positions` (B, S), any value where padded -> logits (B, S, K) float32, columns as in `label_ids`.

    `inputs` goes to the model's forward. A cache is made only where `inputs` brings one: a cache that the
    configuration switches on would break the isolation of packed sequences.
    """
    outputs = model(**{"use_cache": False, **inputs}, logits_to_keep=label_positions)
    columns = torch.tensor(list(label_ids), device=outputs.logits.device)
    return outputs.logits.index_select(-1, columns).float()


def step_scores(logits: torch.Tensor) -> torch.Tensor:
    """Logits (..., K) with "+" in column 0 -> P(+) in [0, 1], float32, softmax over the label tokens only."""
    return torch.softmax(logits.float(), dim=-1)[..., 0]
