"""The Trainer: what a step does does not depend on how its batch is cut, and a resumed run is the same run."""

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import PLAIN, tiny_dataset, tiny_trainer, weights
from safetensors.torch import load_file

from medprm.encoding.collator import UNKNOWN, Collator
from medprm.training.checkpoints import find_resumable
from medprm.training.packing import pack_dataset
from medprm.training.trainer import PRMTrainer


def losses(trainer: PRMTrainer) -> list[float]:
    return [one["loss"] for one in trainer.state.log_history if "loss" in one]


def assert_same_weights(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], tolerance: float) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        difference = float((value - two[name]).abs().max())
        assert difference <= tolerance, f"{name} differs by {difference}"


def gradients(trainer: PRMTrainer, batches: list[dict[str, Any]]) -> tuple[float, torch.Tensor]:
    """Loss and gradient of one optimiser step over `batches`, with the Trainer's own count."""
    model: Any = trainer.model
    model.zero_grad()
    count = trainer._get_num_items_in_batch(batches, torch.device("cpu"))
    parts = [trainer.compute_loss(model, batch, num_items_in_batch=count) for batch in batches]
    total = torch.stack(parts).sum()
    total.backward()
    return total.item(), torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])


@pytest.mark.parametrize("cuts", [[1] * 6, [2, 4], [5, 1], [6]])
def test_loss_and_gradients_do_not_depend_on_batching_padding_or_order(tmp_path: Path, cuts: list[int]) -> None:
    """Tolerance 1e-5: float32 sums in another order; measured 6e-7 on gradients up to 1.9."""
    dataset = tiny_dataset(tmp_path, 3)
    trainer = tiny_trainer(tmp_path, dataset)
    collator = Collator(pad_id=2, num_labels=2)
    examples = [dataset[index] for index in range(6)]
    loss, gradient = gradients(trainer, [collator(examples)])
    shuffled = [examples[index] for index in (4, 0, 5, 2, 1, 3)]
    bounds = np.cumsum([0, *cuts])
    batches = [collator(shuffled[begin:end]) for begin, end in pairwise(bounds)]
    other_loss, other_gradient = gradients(trainer, batches)
    assert other_loss == pytest.approx(loss, abs=1e-5)
    torch.testing.assert_close(other_gradient, gradient, atol=1e-5, rtol=1e-4)
    assert gradient.abs().max() > 1e-2


def test_the_loss_is_the_mean_over_labelled_steps(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, 3)
    trainer = tiny_trainer(tmp_path, dataset)
    batch = Collator(pad_id=2, num_labels=2)([dataset[index] for index in range(6)])
    assert (batch["labels"][:, 0] != UNKNOWN).all(), "the first column counts, too"
    with torch.no_grad():
        loss, outputs = trainer.compute_loss(
            trainer.model,
            batch,
            return_outputs=True,
            num_items_in_batch=trainer._get_num_items_in_batch([batch], "cpu"),
        )
    expected = torch.nn.functional.cross_entropy(
        outputs["logits"].flatten(0, 1), batch["labels"].flatten(), ignore_index=UNKNOWN
    )
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("packing", ["none", "tree"])
def test_over_the_whole_vocabulary_the_loss_is_transformers_own(tmp_path: Path, packing: str) -> None:
    """transformers shifts its labels: the token that is meant stands behind the position that it is read at."""
    dataset = tiny_dataset(tmp_path, 3)
    trainer = tiny_trainer(tmp_path, dataset, packing=packing, loss="full_vocabulary")
    model: Any = trainer.model
    batch = Collator(pad_id=2, num_labels=2)([dataset[index] for index in range(len(dataset))])
    # The last label is read at the last token: one more column holds the token that is meant.
    inputs = {name: torch.nn.functional.pad(batch[name], (0, 1)) for name in ("input_ids", "attention_mask")}
    labels = torch.full_like(inputs["input_ids"], UNKNOWN)
    for row, step in (batch["labels"] != UNKNOWN).nonzero().tolist():
        label = int(batch["labels"][row, step])
        labels[row, batch["label_positions"][row, step] + 1] = trainer.label_tokens.ids[label]
    expected = model(**inputs, pixel_values=batch["pixel_values"], labels=labels, use_cache=False).loss
    expected.backward()
    head = model.lm_head.weight.grad.clone()
    rows: Any = trainer.train_dataset
    loss, gradient = gradients(trainer, [trainer.data_collator([rows[index] for index in range(len(rows))])])
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(model.lm_head.weight.grad, head, rtol=1e-5, atol=1e-5 * float(head.abs().max()))
    own, _ = gradients(tiny_trainer(tmp_path, dataset), [batch])
    assert loss > own + 0.5, "among two tokens a label is likelier than among all"
    assert gradient.isfinite().all()


def test_accumulation_equals_one_large_batch(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path)
    results = []
    for batch_size, accumulated in ((4, 1), (2, 2), (1, 4)):
        trainer = tiny_trainer(
            tmp_path, dataset, max_steps=3, per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulated, **PLAIN,
        )  # fmt: skip
        before = weights(trainer)
        trainer.train()
        results.append((weights(trainer), losses(trainer)))
    with pytest.raises(AssertionError):
        assert_same_weights(before, results[0][0], 1e-3)
    for other, other_losses in results[1:]:
        # Three steps of gradient descent; measured 1.2e-7.
        assert_same_weights(results[0][0], other, 1e-5)
        assert other_losses == pytest.approx(results[0][1], abs=1e-3)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path, tiny_dataset(tmp_path, 4), max_steps=12, per_device_train_batch_size=8, learning_rate=3e-3
    )
    trainer.train()
    assert losses(trainer)[-1] < 0.7 * losses(trainer)[0]


def test_evaluation_does_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, 4)

    def step_metrics(scores: np.ndarray, is_correct: np.ndarray) -> dict[str, float]:
        assert scores.shape == is_correct.shape
        return {"num_steps": float(len(scores)), "brier": float(((scores - is_correct) ** 2).mean())}

    found = []
    for batch_size in (1, 3, 8):
        trainer = tiny_trainer(tmp_path, dataset, step_metrics, per_device_eval_batch_size=batch_size)
        metrics = trainer.evaluate()
        found.append([metrics[name] for name in ("eval_loss", "eval_brier", "eval_num_steps")])
    labels = dataset.counts.steps_by_label
    assert found[0][2] == labels["+"] + labels["-"]
    for other in found[1:]:
        assert other == pytest.approx(found[0], abs=1e-5)


def test_the_cache_is_off_in_every_configuration(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, tiny_dataset(tmp_path, 1))
    config: Any = trainer.model.config  # type: ignore[union-attr]
    assert config.use_cache is False
    assert config.text_config.use_cache is False


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, 4)
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 2, "max_steps": 6, "save_strategy": "steps", "save_steps": 3,
        "learning_rate": 1e-3,
    }  # fmt: skip
    straight = tiny_trainer(tmp_path, dataset, **settings)
    straight.train()
    expected = weights(straight)

    # What a kill while the last checkpoint was written leaves behind.
    (tmp_path / "run" / "checkpoint-6" / "trainer_state.json").write_text('{"global_st')
    checkpoint = find_resumable(tmp_path / "run")
    assert checkpoint == tmp_path / "run" / "checkpoint-3"
    resumed = tiny_trainer(tmp_path, dataset, **settings)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.state.global_step == 6
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected[name]), name
    at_three = load_file(checkpoint / "model.safetensors")
    assert not torch.equal(at_three["language_model.lm_head.weight"], expected["lm_head.weight"])
    shutil.rmtree(tmp_path / "run")


def test_the_best_weights_of_a_run_are_loaded_at_its_end(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, 2)
    trainer = tiny_trainer(
        tmp_path, dataset, max_steps=4, learning_rate=1e-3, lr_scheduler_type="constant", warmup_steps=0.0,
        eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1, save_total_limit=None,
        trainer_extra={"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": True},
    )  # fmt: skip
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert best is not None
    assert not best.endswith("checkpoint-4")
    saved = load_file(Path(best) / "model.safetensors")
    assert torch.equal(weights(trainer)["lm_head.weight"], saved["language_model.lm_head.weight"])


def two_processes(
    folder: Path, packing: str, tuning: str, num_rows: int
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Weights and losses of runs.py on two ranks with `num_rows` rows each."""
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {
        "PYTHONPATH": f"{root / 'tests'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    program = str(Path(__file__).with_name("runs.py"))
    done = subprocess.run(
        [*command, program, str(folder), packing, tuning, str(num_rows)],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert (folder / "two.safetensors").is_file(), done.stderr[-3000:]
    two = load_file(folder / "two.safetensors")
    return two, two.pop("losses").tolist()


@pytest.mark.distributed
@pytest.mark.parametrize("packing", ["none", "tree"])
def test_two_processes_equal_one(tmp_path: Path, packing: str) -> None:
    """2 ranks x 2 rows against 1 x 4: the same weights after 3 steps, though the ranks' label counts differ."""
    two, two_losses = two_processes(tmp_path, packing, "full", 2)
    dataset = tiny_dataset(tmp_path)
    trainer = tiny_trainer(tmp_path, dataset, max_steps=3, per_device_train_batch_size=4, packing=packing, **PLAIN)
    trainer.train()
    # Measured 1.2e-7.
    assert_same_weights(weights(trainer), two, 1e-5)
    assert losses(trainer) == pytest.approx(two_losses, abs=1e-3)


@pytest.mark.distributed
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_trees_on_two_processes_equal_solutions_alone_on_one(tmp_path: Path, tuning: str) -> None:
    """Every step is over the whole set, so that both take the same solutions in it."""
    dataset = tiny_dataset(tmp_path)
    num_rows, is_odd = divmod(len(pack_dataset(dataset, "tree", 400)), 2)
    assert not is_odd, "a rank would repeat a row"
    two, two_losses = two_processes(tmp_path, "tree", tuning, num_rows)
    trainer = tiny_trainer(
        tmp_path, dataset, tuning=tuning, max_steps=3, per_device_train_batch_size=len(dataset), **PLAIN
    )
    before = weights(trainer)
    trainer.train()
    with pytest.raises(AssertionError):
        assert_same_weights(before, two, 1e-3)
    assert_same_weights(weights(trainer), two, 1e-5)
    assert losses(trainer) == pytest.approx(two_losses, abs=1e-3)
