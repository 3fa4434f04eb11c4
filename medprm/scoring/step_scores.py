"""The model's logits of the label tokens at the label positions, and P(+) from them.

The one forward that training and scoring share. Axes: B rows, T tokens, S steps, K label tokens, V vocabulary. No
other logits are computed unless the loss is to be over the whole vocabulary: hidden states are taken at the label
positions (`logits_to_keep`), and of the output head only the rows of the label tokens are used.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from medprm.model.tree_attention import tree_inputs


def label_logits(
    model: nn.Module, inputs: Mapping[str, Any], label_positions: torch.Tensor, label_ids: Sequence[int]
) -> torch.Tensor:
    """`label_positions` (B, S), any value where padded -> logits (B, S, K) float32, columns as in `label_ids`.

    `inputs` goes to the model's forward, `subtree_ends` (B, T) as the attention of its trees. A cache is made only
    where `inputs` brings one: a cache that the configuration switches on would break the isolation of packed sequences.
    """
    with only_label_rows(model, label_ids):
        return _logits_at(model, inputs, label_positions)


def label_log_probabilities(
    model: nn.Module, inputs: Mapping[str, Any], label_positions: torch.Tensor, label_ids: Sequence[int]
) -> torch.Tensor:
    """The same as log-probabilities among the whole vocabulary, which costs every row of the output head."""
    return torch.log_softmax(_logits_at(model, inputs, label_positions), dim=-1)[..., list(label_ids)]


def _logits_at(model: nn.Module, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
    inputs = {"use_cache": False, **inputs}
    if "subtree_ends" in inputs:
        inputs |= tree_inputs(model, inputs.pop("subtree_ends"))
    return model(**inputs, logits_to_keep=positions).logits.float()


@contextmanager
def only_label_rows(model: nn.Module, label_ids: Sequence[int]) -> Iterator[None]:
    """Within it the output head gives the columns of `label_ids` alone: (..., hidden) -> (..., K).

    The module stays in place, so that hooks on it (ZeRO-3 gathers its weights by one) and its name are as before.
    """
    inner: Any = model
    while hasattr(inner, "module"):
        inner = inner.module
    head = inner.get_output_embeddings()
    rows = torch.tensor(list(label_ids))
    is_plain = type(head) is nn.Linear
    assert "forward" not in vars(head), "the output head's forward is replaced already"

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        wanted = rows.to(hidden.device)
        if not is_plain:  # adapters on the head, four-bit weights
            return type(head).forward(head, hidden).index_select(-1, wanted)
        bias = None if head.bias is None else head.bias[wanted]
        return functional.linear(hidden, head.weight[wanted], bias)

    head.forward = forward
    try:
        yield
    finally:
        del head.forward


def step_scores(logits: torch.Tensor) -> torch.Tensor:
    """Logits (..., K) with "+" in column 0 -> P(+) in [0, 1], float32, softmax over the label tokens only."""
    return torch.softmax(logits.float(), dim=-1)[..., 0]
