"""The loss of a PRM: cross-entropy over the label tokens (or all), at the label positions only.

Axes: B sequences, S steps, K label tokens. Everything in float32. A sum, not a mean: the caller divides by the number
of labelled steps over all ranks and accumulated batches, so that the loss does not depend on how a batch is cut.
"""

import torch

from medprm.encoding.collator import UNKNOWN


def summed_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    is_normalised: bool = False,
) -> torch.Tensor:
    """Sum over labelled steps of weight x cross-entropy with a (soft) target row.

    logits and targets (B, S, K), labels and weights (B, S); a step with label -100 is masked. `is_normalised`: the
    logits are log-probabilities already, over more than the label tokens.
    """
    log_probabilities = logits.float() if is_normalised else torch.log_softmax(logits.float(), dim=-1)
    cross_entropy = -(targets.float() * log_probabilities).sum(-1)
    is_labelled = labels != UNKNOWN
    # `where`, not a product: a masked position may hold anything, and 0 x inf is not 0.
    return torch.where(is_labelled, weights.float() * cross_entropy, torch.zeros_like(cross_entropy)).sum()
