"""The loss: cross-entropy over the label tokens, soft targets and weights included, unknown steps out."""

import math

import torch

from medprm.encoding.collator import UNKNOWN
from medprm.training.loss import summed_loss


def random_batch(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((3, 4, 2), generator=generator)
    share = torch.rand((3, 4), generator=generator)
    targets = torch.stack([share, 1 - share], dim=-1)
    labels = targets.argmax(-1)
    labels[0, 2] = labels[2, 3] = UNKNOWN
    return {"logits": logits, "labels": labels, "targets": targets, "weights": torch.rand((3, 4), generator=generator)}


def test_golden_number() -> None:
    """-(0.7 log 0.75 + 0.3 log 0.25) x 2, by hand."""
    logits = torch.tensor([[[math.log(3.0), 0.0]]])
    loss = summed_loss(logits, torch.tensor([[0]]), torch.tensor([[[0.7, 0.3]]]), torch.tensor([[2.0]]))
    assert math.isclose(float(loss), -2 * (0.7 * math.log(0.75) + 0.3 * math.log(0.25)), rel_tol=1e-6)


def test_hard_targets_equal_cross_entropy() -> None:
    batch = random_batch()
    labels = batch["labels"]
    targets = torch.nn.functional.one_hot(labels.clamp(min=0), 2).float()
    expected = torch.nn.functional.cross_entropy(
        batch["logits"].flatten(0, 1), labels.flatten(), ignore_index=UNKNOWN, reduction="sum"
    )
    torch.testing.assert_close(summed_loss(batch["logits"], labels, targets, torch.ones(3, 4)), expected)


def test_masked_steps_reach_neither_loss_nor_gradient() -> None:
    batch = random_batch()
    batch["logits"].requires_grad_()
    loss = summed_loss(**batch)
    loss.backward()
    gradient = batch["logits"].grad
    assert gradient is not None
    masked = batch["labels"] == UNKNOWN
    assert (gradient[masked] == 0).all()
    assert (gradient[~masked] != 0).all()
    with torch.no_grad():
        batch["logits"][masked] = float("inf")
    torch.testing.assert_close(summed_loss(**batch), loss)


def test_rows_add_up() -> None:
    batch = random_batch()
    parts = [summed_loss(**{name: value[row : row + 1] for name, value in batch.items()}) for row in range(3)]
    torch.testing.assert_close(torch.stack(parts).sum(), summed_loss(**batch))


def test_half_precision_logits_are_summed_in_float32() -> None:
    batch = random_batch()
    half = batch | {"logits": batch["logits"].bfloat16()}
    exact = batch | {"logits": batch["logits"].bfloat16().float()}
    assert summed_loss(**half).dtype == torch.float32
    assert summed_loss(**half) == summed_loss(**exact)
