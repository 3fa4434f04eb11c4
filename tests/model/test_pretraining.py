"""Lessons train what the assistant says and nothing else; the same seed gives the same base."""

import numpy as np
import torch
from tiny import tiny_tokenizer

from medprm.model.lessons import draw_lesson
from medprm.model.pretraining import PretrainSettings, collate_lessons, lesson_loss, new_base, pretrain
from medprm.model.tiny import build_model


def test_only_the_assistant_is_trained() -> None:
    tokenizer = tiny_tokenizer()
    lessons = [draw_lesson(np.random.default_rng(seed), 4, seed % 2 == 0) for seed in range(6)]
    batch = collate_lessons(tokenizer, lessons)
    for row, lesson in enumerate(lessons):
        trained = batch["input_ids"][row][batch["trained"][row]]
        said = "".join(piece.text for piece in lesson.pieces if piece.is_trained)
        assert tokenizer.decode(trained.tolist()) == said
        assert said.endswith("<|im_end|>")
        assert "user" not in said


def test_loss_does_not_depend_on_padding() -> None:
    tokenizer = tiny_tokenizer()
    model = build_model(tokenizer, 0).eval()
    lessons = [draw_lesson(np.random.default_rng(seed), 16, True) for seed in (1, 2)]
    batches = [collate_lessons(tokenizer, [lesson]) for lesson in lessons]
    counts = [int(batch["trained"].sum()) for batch in batches]
    with torch.inference_mode():
        alone = [lesson_loss(model, batch) for batch in batches]
        together = lesson_loss(model, collate_lessons(tokenizer, lessons))
    expected = (alone[0] * counts[0] + alone[1] * counts[1]) / sum(counts)
    assert torch.isclose(together, expected, atol=1e-5)


def test_same_seed_gives_the_same_base() -> None:
    settings = PretrainSettings(num_steps=2, batch_size=2, vocab_size=400)
    torch.manual_seed(1)
    first = pretrain(new_base(settings), settings)
    torch.manual_seed(2)
    second = pretrain(new_base(settings), settings)
    for mine, theirs in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
