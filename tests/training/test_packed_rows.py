"""Trees = alone: loss, gradients and validation metrics do not depend on what shares a row.

Limits of the project: loss 1e-6, the gradient of every tensor to 1e-5 of its norm (measured 1.2e-6: float32 sums in
another order).
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from runs import adapted_model, tiny_trainer
from tiny import IMAGE_SETTINGS, tiny_encoder
from trees import branching_cases

from medprm.cases.schema import CaseSolutions
from medprm.encoding.chat import EncodingError
from medprm.encoding.collator import UNKNOWN, Collator, TreeCollator
from medprm.encoding.settings import LabelSettings
from medprm.model.tree_attention import use_tree_attention
from medprm.training.dataset import StepDataset, build_dataset
from medprm.training.packing import pack_dataset
from medprm.training.trainer import PRMTrainer

KINDS: dict[str, dict[str, Any]] = {
    "hybrid": {"kind": "hybrid", "use_confidence": True},
    "soft": {"kind": "soft"},
    "advantage": {"kind": "advantage"},
}


def dataset_of(cases: list[CaseSolutions], folder: Path, kind: str = "hybrid", **encoding: Any) -> StepDataset:
    labels = LabelSettings(**KINDS[kind])
    return build_dataset(cases, tiny_encoder(**encoding), labels, folder, IMAGE_SETTINGS)


class Step(NamedTuple):
    """Loss and gradients of one optimiser step."""

    loss: float
    gradients: dict[str, torch.Tensor]


def step_of(trainer: PRMTrainer, batches: list[dict[str, Any]]) -> Step:
    """One optimiser step over `batches`."""
    model: Any = trainer.model
    model.zero_grad()
    count = trainer._get_num_items_in_batch(batches, torch.device("cpu"))
    total = torch.stack([trainer.compute_loss(model, dict(one), num_items_in_batch=count) for one in batches]).sum()
    total.backward()
    gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    return Step(total.item(), gradients)


def assert_same(one: Step, two: Step) -> None:
    assert two.loss == pytest.approx(one.loss, abs=1e-6)
    assert one.gradients.keys() == two.gradients.keys()
    largest = max(float(gradient.norm()) for gradient in one.gradients.values())
    assert largest > 1e-2, "a gradient of zero would pass any comparison"
    for name, gradient in one.gradients.items():
        # All scores of a query change alike with the bias of the keys: its gradient is 0 and what is found is rounding.
        size = largest if name.endswith("k_proj.bias") else float(gradient.norm())
        assert float((gradient - two.gradients[name]).norm()) <= 1e-5 * size, name


def batches_of(dataset: StepDataset, kind: str, max_row_tokens: int, per_batch: int) -> list[dict[str, Any]]:
    num_labels = len(dataset.labels.texts)
    if kind == "none":
        return [Collator(2, num_labels)([dataset[index] for index in range(len(dataset))])]
    packed = pack_dataset(dataset, kind, max_row_tokens)
    collator = TreeCollator(2, num_labels)
    return [
        collator([packed[index] for index in range(begin, min(begin + per_batch, len(packed)))])
        for begin in range(0, len(packed), per_batch)
    ]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", list(KINDS))
def test_loss_and_gradients_are_those_of_the_solutions_alone(tmp_path: Path, kind: str, seed: int) -> None:
    """0 to 3 images, shared steps with equal and with other labels, unknown ones, soft targets, several cases a row."""
    torch.set_num_threads(1)
    history = "labels" if seed % 4 == 3 else "plus"
    dataset = dataset_of(branching_cases(tmp_path, seed), tmp_path, kind, history=history)
    trainer = tiny_trainer(tmp_path, dataset)
    trainer.label_tokens = trainer.label_tokens.__class__.look_up(
        dataset.encoder.tokenizer, dataset.encoder.chat, dataset.labels.texts
    )
    alone = step_of(trainer, batches_of(dataset, "none", 0, 0))
    for packing, max_row_tokens, per_batch in (("tree", 4000, 1), ("tree", 300, 2), ("sequence", 700, 2)):
        assert_same(alone, step_of(trainer, batches_of(dataset, packing, max_row_tokens, per_batch)))


@pytest.mark.parametrize("backend", ["mask", "gather"])
@pytest.mark.parametrize("is_adapted", [False, True])
def test_also_with_activations_computed_again_and_with_adapters(tmp_path: Path, is_adapted: bool, backend: str) -> None:
    dataset = dataset_of(branching_cases(tmp_path, 11), tmp_path)
    trainer = tiny_trainer(tmp_path, dataset)
    model: Any = trainer.model
    if is_adapted:
        model = trainer.model = adapted_model()
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    alone = step_of(trainer, batches_of(dataset, "none", 0, 0))
    use_tree_attention(model, backend)
    assert_same(alone, step_of(trainer, batches_of(dataset, "tree", 1500, 2)))


def test_a_shared_step_counts_once_for_every_solution_through_it(tmp_path: Path) -> None:
    dataset = dataset_of(branching_cases(tmp_path, 2), tmp_path)
    packed = pack_dataset(dataset, "tree", 4000)
    batch = TreeCollator(2, 2)([packed[index] for index in range(len(packed))])
    counts = dataset.counts.steps_by_label
    labels = batch["labels"]
    assert int((labels == 0).sum()) == counts["+"]
    assert int((labels == 1).sum()) == counts["-"]
    assert int((labels != UNKNOWN).sum()) == counts["+"] + counts["-"]
    row = batch["label_positions"][0][labels[0] != UNKNOWN].tolist()
    assert len(set(row)) < len(row), "no step is shared in this test"


@pytest.mark.parametrize("kind", ["tree", "sequence"])
def test_every_solution_is_in_one_row(tmp_path: Path, kind: str) -> None:
    dataset = dataset_of(branching_cases(tmp_path, 5), tmp_path)
    packed = pack_dataset(dataset, kind, 500)
    indices = [index for row in packed.rows for tree in row for index in tree]
    assert sorted(indices) == list(range(len(dataset)))
    assert len(packed) > 1
    if kind == "sequence":
        assert all(len(tree) == 1 for row in packed.rows for tree in row)


def test_validation_metrics_do_not_depend_on_packing(tmp_path: Path) -> None:
    dataset = dataset_of(branching_cases(tmp_path, 6), tmp_path)

    def step_metrics(scores: np.ndarray, is_correct: np.ndarray) -> dict[str, float]:
        return {"num_steps": float(len(scores)), "brier": float(((scores - is_correct) ** 2).mean())}

    found = []
    for packing in ("none", "tree", "sequence"):
        trainer = tiny_trainer(tmp_path, dataset, step_metrics, per_device_eval_batch_size=2)
        if packing != "none":
            trainer.eval_dataset = pack_dataset(dataset, packing, 700)
            trainer.data_collator = TreeCollator(2, 2)
        metrics = trainer.evaluate()
        found.append([metrics[name] for name in ("eval_loss", "eval_brier", "eval_num_steps")])
    for other in found[1:]:
        assert other == pytest.approx(found[0], abs=1e-5)


def test_a_sequence_longer_than_the_models_positions_is_refused(tmp_path: Path) -> None:
    cases = branching_cases(tmp_path, 7)
    with pytest.raises(EncodingError, match=r"case case_\d solution s\d: a sequence of \d+ tokens .* 40 positions"):
        build_dataset(cases, tiny_encoder(), LabelSettings(), tmp_path, IMAGE_SETTINGS, max_positions=40)
