"""Batches: nothing is lost or invented by padding, and the first batch can be read."""

import numpy as np
import torch
from tiny import full_record, tiny_encoder, tiny_tokenizer

from medprm.encoding.collator import UNKNOWN, Collator, Example
from medprm.encoding.preview import preview_batch
from medprm.encoding.settings import LabelSettings
from medprm.encoding.targets import step_targets


def example(num_steps: int, num_tiles: int = 1, labels: LabelSettings | None = None) -> Example:
    steps = [
        {"step_id": k, "content": f"step {k}", "label": ["correct", "incorrect", "unknown"][k % 3]}
        for k in range(num_steps)
    ]
    record = full_record(solution_steps=steps, images=[{"path": "x.png"}] if num_tiles else [])
    encoded = tiny_encoder().encode(record.case(), record.step_texts, [num_tiles] if num_tiles else [])
    pixels = np.full((num_tiles, 3, 4, 4), num_steps, dtype=np.float32) if num_tiles else None
    return Example(encoded, pixels, step_targets(record.solution(), labels or LabelSettings()))


COLLATOR = Collator(pad_id=2, num_labels=2)


def test_rows_come_back_unchanged_from_a_padded_batch() -> None:
    examples = [example(1), example(4, num_tiles=2), example(2)]
    batch = COLLATOR(examples)
    for row, one in enumerate(examples):
        num_tokens = int(batch["attention_mask"][row].sum())
        assert batch["input_ids"][row, :num_tokens].tolist() == one.encoded.input_ids
        assert (batch["input_ids"][row, num_tokens:] == 2).all()
        num_steps = len(one.encoded.label_positions)
        assert batch["label_positions"][row, :num_steps].tolist() == one.encoded.label_positions
        assert (batch["labels"][row, num_steps:] == UNKNOWN).all()
        assert (batch["weights"][row, num_steps:] == 0).all()
    assert batch["pixel_values"][:, 0, 0, 0].tolist() == [1, 4, 4, 2]


def test_unknown_steps_are_masked_and_known_ones_are_not() -> None:
    batch = COLLATOR([example(3)])
    assert batch["labels"].tolist() == [[0, 1, UNKNOWN]]
    assert batch["targets"].tolist() == [[[1, 0], [0, 1], [0, 0]]]
    assert batch["weights"].tolist() == [[1, 1, 0]]


def test_a_batch_without_images_has_no_pixel_values() -> None:
    assert "pixel_values" not in COLLATOR([example(1, num_tiles=0)])
    mixed = COLLATOR([example(1, num_tiles=0), example(2, num_tiles=1)])
    assert len(mixed["pixel_values"]) == 1


def test_dtypes_are_those_the_model_reads() -> None:
    batch = COLLATOR([example(2)])
    assert {name: batch[name].dtype for name in ("input_ids", "labels", "targets", "pixel_values")} == {
        "input_ids": torch.int64,
        "labels": torch.int64,
        "targets": torch.float32,
        "pixel_values": torch.float32,
    }


def test_the_preview_marks_each_step_with_the_colour_of_its_label() -> None:
    text = preview_batch(COLLATOR([example(3), example(1)]), tiny_tokenizer(), ("+", "-"))
    first, second = text.split("--- sequence 2")
    green, red, yellow = "\033[32m[target +]", "\033[31m[target -]", "\033[33m[target unknown]"
    assert first.index(green) < first.index(red) < first.index(yellow)
    assert second.count("[target") == 1
    assert "<IMG_CONTEXT> x 4" in first
    plain = preview_batch(COLLATOR([example(3)]), tiny_tokenizer(), ("+", "-"), use_colour=False)
    assert "\033" not in plain
    assert plain.count("assistant\n[target") == 3
