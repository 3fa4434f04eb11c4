"""Training: trees against padded batches of the same solutions, forward, backward and optimiser step.

python benchmarks/training.py [--json FILE]
Our own unpacked path is the other side: same model, same labelled steps, same loss (checked to 1e-5). CPU seconds, one
thread. The peer, TRL 1.13.0's PRMTrainer, needs an environment of its own: benchmarks/training_trl.py.
"""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import Found, Side, measure, ratio, run_sizes, show
from workload import make_work

from medprm.encoding.collator import Collator, TreeCollator
from medprm.encoding.settings import LabelSettings
from medprm.encoding.tokens import LabelTokens
from medprm.model.tree_attention import use_tree_attention
from medprm.scoring.step_scores import label_logits
from medprm.training.dataset import build_dataset
from medprm.training.loss import summed_loss
from medprm.training.packing import pack_dataset

SIZES = {"7 x 8": (7, 8), "13 x 16": (13, 16)}  # tiles x solutions
PADDED_BATCH = 8  # solutions in one padded forward
MAX_ROW_TOKENS = 16_384
Batch = dict[str, torch.Tensor]


class Trained(NamedTuple):
    """What an optimiser step needs."""

    model: Any
    optimizer: torch.optim.Optimizer
    label_ids: tuple[int, ...]

    def step(self, batches: list[Batch]) -> float:
        """One optimiser step over the batches; the summed loss."""
        total = 0.0
        for batch in batches:
            inputs = dict(batch)
            targets = {name: inputs.pop(name) for name in ("labels", "targets", "weights")}
            positions = inputs.pop("label_positions")
            loss = summed_loss(label_logits(self.model, inputs, positions, self.label_ids), **targets)
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total


def compare(num_tiles: int, num_candidates: int, num_runs: int) -> Found:
    """One size: a table, ratios, and what was compared."""
    with tempfile.TemporaryDirectory() as folder:
        work = make_work(Path(folder), num_tiles, num_candidates)
        dataset = build_dataset(work.cases, work.encoder, LabelSettings(), work.root, work.loaded.image_settings)
        packed = pack_dataset(dataset, "tree", MAX_ROW_TOKENS)
        pad_id = int(work.loaded.tokenizer.pad_token_id)  # type: ignore[arg-type]
        model: Any = work.loaded.model.train()
        use_tree_attention(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
        trained = Trained(model, optimizer, LabelTokens.look_up(work.loaded.tokenizer).ids)

        def alone() -> list[Batch]:
            indices = range(len(dataset))
            chunks = [indices[begin : begin + PADDED_BATCH] for begin in range(0, len(dataset), PADDED_BATCH)]
            return [Collator(pad_id, 2)([dataset[index] for index in chunk]) for chunk in chunks]

        def tree() -> list[Batch]:
            return [TreeCollator(pad_id, 2)([packed[index]]) for index in range(len(packed))]

        lengths = [len(dataset.encode(index).input_ids) for index in range(len(dataset))]
        tree_lengths = [len(one.tree) for index in range(len(packed)) for one in packed[index]]
        sides = {
            "tree": Side(lambda: trained.step(tree()), *tokens_and_padding(tree(), tree_lengths)),
            "padded": Side(lambda: trained.step(alone()), *tokens_and_padding(alone(), lengths)),
        }
        found = measure(sides, num_runs)
        difference = abs(trained.step(alone()) - trained.step(tree())) / dataset.counts.num_steps
        assert difference < 1e-5, f"the losses differ by {difference} a step"
    name = f"{num_tiles} tiles x {num_candidates} solutions"
    tables = {f"training {name}": show(f"training {name}: losses equal to {difference:.1e} a step", found)}
    ratios = {f"training {name}: padded / tree": ratio(found, "padded", "tree")}
    ratios[f"training {name}: token arithmetic"] = sum(lengths) / sum(tree_lengths)
    figures = {name: {"steps_labelled": dataset.counts.num_steps, "difference_of_losses_a_step": difference}}
    return Found(tables, ratios, figures)


def tokens_and_padding(batches: list[Batch], lengths: list[int]) -> tuple[int, int]:
    """What is read, and what stands beside it in the batches."""
    return sum(lengths), sum(one["input_ids"].numel() for one in batches) - sum(lengths)


if __name__ == "__main__":
    run_sizes(__doc__, compare, SIZES)
