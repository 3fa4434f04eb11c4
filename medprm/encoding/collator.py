"""Examples to a padded batch.

In: examples of any length and number of steps. Out: a dict of tensors. Axes: B sequences, T tokens, S steps, K label
tokens, M tiles of the whole batch. Padding stands on the right, so that a sequence's positions do not depend on its
neighbours. Targets are held beside the ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medprm.encoding.encoder import Encoded
from medprm.encoding.targets import Targets

UNKNOWN = -100


@dataclass(frozen=True)
class Example:
    """One solution ready for a batch: ids, pixel values (tiles, 3, H, W) or None, targets."""

    encoded: Encoded
    pixel_values: np.ndarray | None
    targets: Targets


@dataclass(frozen=True)
class Collator:
    """Callable for a DataLoader. `num_labels` is K."""

    pad_id: int
    num_labels: int

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """
        input_ids, attention_mask (B, T); label_positions (B, S), padded with 0; labels (B, S), the most likely
        column, -100 where unknown or padded; targets (B, S, K) and weights (B, S), 0 there; pixel_values (M, 3, H, W),
        absent where no example has an image.
        """
        num_tokens = max(len(example.encoded.input_ids) for example in examples)
        num_steps = max(len(example.encoded.label_positions) for example in examples)
        shape = (len(examples), num_steps)
        batch = {
            "input_ids": torch.full((len(examples), num_tokens), self.pad_id),
            "attention_mask": torch.zeros((len(examples), num_tokens), dtype=torch.long),
            "label_positions": torch.zeros(shape, dtype=torch.long),
            "labels": torch.full(shape, UNKNOWN),
            "targets": torch.zeros((*shape, self.num_labels)),
            "weights": torch.zeros(shape),
        }
        for row, example in enumerate(examples):
            self._fill(batch, row, example)
        tiles = [example.pixel_values for example in examples if example.pixel_values is not None]
        if tiles:
            batch["pixel_values"] = torch.from_numpy(np.concatenate(tiles))
        return batch

    def _fill(self, batch: dict[str, torch.Tensor], row: int, example: Example) -> None:
        ids, positions = example.encoded.input_ids, example.encoded.label_positions
        assert len(positions) == len(example.targets.rows), "one target per step"
        batch["input_ids"][row, : len(ids)] = torch.tensor(ids)
        batch["attention_mask"][row, : len(ids)] = 1
        batch["label_positions"][row, : len(positions)] = torch.tensor(positions)
        for step, (target, weight) in enumerate(zip(example.targets.rows, example.targets.weights, strict=True)):
            if target is None:
                continue
            assert len(target) == self.num_labels, f"target {target} for {self.num_labels} label tokens"
            batch["labels"][row, step] = target.index(max(target))
            batch["targets"][row, step] = torch.tensor(target)
            batch["weights"][row, step] = weight
