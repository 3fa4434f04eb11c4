"""Examples to a padded batch: one solution a row, or rows of trees.

In: examples of any length and number of steps. Out: a dict of tensors. Axes: B rows, T tokens, S steps of a row, K
label tokens, M tiles of the whole batch. Padding stands on the right, so that a token's position does not depend on
its neighbours. Targets are held beside the ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medprm.encoding.encoder import Encoded
from medprm.encoding.targets import Targets
from medprm.encoding.tree import Tree

UNKNOWN = -100


@dataclass(frozen=True)
class Example:
    """One solution ready for a batch: ids, pixel values (tiles, 3, H, W) or None, targets."""

    encoded: Encoded
    pixel_values: np.ndarray | None
    targets: Targets


@dataclass(frozen=True)
class TreeExample:
    """Solutions of one case ready for a batch; `targets[n]` belongs to sequence n of the tree."""

    tree: Tree
    pixel_values: np.ndarray | None
    targets: tuple[Targets, ...]


# What shares a row: trees that do not see each other.
Row = Sequence[TreeExample]


@dataclass(frozen=True)
class Collator:
    """Callable for a DataLoader: one solution a row. `num_labels` is K."""

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
        batch = {
            "input_ids": torch.full((len(examples), num_tokens), self.pad_id),
            "attention_mask": torch.zeros((len(examples), num_tokens), dtype=torch.long),
            **_empty_targets(len(examples), num_steps, self.num_labels),
        }
        for row, example in enumerate(examples):
            ids = example.encoded.input_ids
            batch["input_ids"][row, : len(ids)] = torch.tensor(ids)
            batch["attention_mask"][row, : len(ids)] = 1
            _fill_targets(batch, row, 0, example.encoded.label_positions, example.targets)
        return batch | stack_tiles([example.pixel_values for example in examples])


@dataclass(frozen=True)
class TreeCollator:
    """Callable for a DataLoader: each example is a row of trees. `num_labels` is K."""

    pad_id: int
    num_labels: int

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """
        input_ids, position_ids (a token's depth on its path), subtree_ends (medprm.encoding.tree) (B, T);
        label_positions, labels, targets, weights as in `Collator`, solution after solution, so that a step which
        several solutions share is there once for each of them; pixel_values (M, 3, H, W) of each case once.
        """
        num_steps = max(sum(len(steps) for one in row for steps in one.tree.label_positions) for row in rows)
        batch = lay_out_trees([[one.tree for one in row] for row in rows], self.pad_id)
        batch |= _empty_targets(len(rows), num_steps, self.num_labels)
        for row, trees in enumerate(rows):
            begin, step = 0, 0
            for one in trees:
                for positions, targets in zip(one.tree.label_positions, one.targets, strict=True):
                    _fill_targets(batch, row, step, [begin + position for position in positions], targets)
                    step += len(positions)
                begin += len(one.tree)
        return batch | stack_tiles([one.pixel_values for row in rows for one in row])


def lay_out_trees(rows: Sequence[Sequence[Tree]], pad_id: int) -> dict[str, torch.Tensor]:
    """input_ids, position_ids, subtree_ends (B, T): the trees of each row one behind the other."""
    shape = (len(rows), max(sum(map(len, row)) for row in rows))
    batch = {
        "input_ids": torch.full(shape, pad_id),
        "position_ids": torch.zeros(shape, dtype=torch.long),
        "subtree_ends": torch.full(shape, shape[1]),  # padding is a chain that nothing else sees
    }
    for row, trees in enumerate(rows):
        begin = 0
        for tree in trees:
            place = slice(begin, begin + len(tree))
            batch["input_ids"][row, place] = torch.from_numpy(tree.input_ids)
            batch["position_ids"][row, place] = torch.from_numpy(tree.depths)
            batch["subtree_ends"][row, place] = torch.from_numpy(tree.subtree_ends) + begin
            begin += len(tree)
        batch["position_ids"][row, begin:] = torch.arange(shape[1] - begin)
    return batch


def _empty_targets(num_rows: int, num_steps: int, num_labels: int) -> dict[str, torch.Tensor]:
    return {
        "label_positions": torch.zeros((num_rows, num_steps), dtype=torch.long),
        "labels": torch.full((num_rows, num_steps), UNKNOWN),
        "targets": torch.zeros((num_rows, num_steps, num_labels)),
        "weights": torch.zeros((num_rows, num_steps)),
    }


def _fill_targets(
    batch: dict[str, torch.Tensor], row: int, begin: int, positions: Sequence[int], targets: Targets
) -> None:
    """The steps of one solution, from column `begin` on."""
    assert len(positions) == len(targets.rows), "one target per step"
    num_labels = batch["targets"].shape[-1]
    batch["label_positions"][row, begin : begin + len(positions)] = torch.tensor(positions)
    for step, (target, weight) in enumerate(zip(targets.rows, targets.weights, strict=True), start=begin):
        if target is None:
            continue
        assert len(target) == num_labels, f"target {target} for {num_labels} label tokens"
        batch["labels"][row, step] = target.index(max(target))
        batch["targets"][row, step] = torch.tensor(target)
        batch["weights"][row, step] = weight


def stack_tiles(values: Sequence[np.ndarray | None]) -> dict[str, torch.Tensor]:
    """Tiles in the order of their image tokens: row by row, case by case."""
    tiles = [one for one in values if one is not None]
    return {"pixel_values": torch.from_numpy(np.concatenate(tiles))} if tiles else {}
