"""Pretrain the tiny base on lessons: next-token loss on what the assistant says.

In: PretrainSettings. Out: a LoadedModel that has read films, contexts and passages, and has seen solutions.
Axes: B batch, T tokens.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerBase

from medprm.encoding.chat import encode_segment, leading_ids
from medprm.images.tiles import pixel_values, split_tiles
from medprm.model.lessons import Lesson, draw_lesson
from medprm.model.loading import LoadedModel, tokens_per_tile
from medprm.model.tiny import IMAGE_SETTINGS, build_model, build_tokenizer

logger = logging.getLogger(__name__)

PRETRAINING_SEED = 90_000  # far from the seeds of any phantom set
GENERAL_WORDS = (
    "the of and to in a is that for with as on are this be by from or at an which patient patients was not have has "
    "can step answer option options correct incorrect because therefore question given most likely diagnosis disease "
    "treatment symptoms history blood pressure heart lung liver kidney cell cells acute chronic syndrome infection "
    "deficiency increased decreased normal abnormal present absent finding no evidence radiograph chest projection "
    "Effusion Infiltration Atelectasis Cardiomegaly Consolidation Pneumothorax Nodule Emphysema Mass Fibrosis Edema "
    "Pleural Thickening Pneumonia Hernia shows year old male female vitals laboratory note Step Answer Question"
)


@dataclass(frozen=True)
class PretrainSettings:
    """How long and how fast the base is pretrained."""

    seed: int = 0
    num_steps: int = 2200
    batch_size: int = 32
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    weight_decay: float = 0.05
    solution_share: float = 0.2  # of the batches that are whole solutions
    bf16: bool = False  # compute in bfloat16: a little faster where the processor has it
    vocab_size: int = 1152


def new_base(settings: PretrainSettings) -> LoadedModel:
    """An untrained base with its tokenizer."""
    tokenizer = build_tokenizer(_tokenizer_texts(settings), settings.vocab_size)
    model = build_model(tokenizer, settings.seed)
    return LoadedModel(model, tokenizer, IMAGE_SETTINGS, tokens_per_tile(model.config), None)


def pretrain(base: LoadedModel, settings: PretrainSettings) -> LoadedModel:
    """Train `base` in place and return it; deterministic for a seed and a number of threads."""
    model, tokenizer = base.model, base.tokenizer
    num_parameters = sum(p.numel() for p in model.parameters())
    logger.info("%d tokens in the vocabulary, %d parameters", len(tokenizer), num_parameters)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step, settings))
    batches = lesson_batches(tokenizer, settings, base.image_tokens_per_tile)
    recent: list[float] = []
    model.train()
    for step, batch in zip(range(1, settings.num_steps + 1), batches, strict=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bf16):
            loss = lesson_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        recent.append(loss.item())
        if step % 50 == 0 or step == settings.num_steps:
            logger.info("step %d of %d, loss %.4f", step, settings.num_steps, float(np.mean(recent[-50:])))
    model.eval()
    return base


def lesson_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean cross entropy over the trained tokens; batch ids, trained (B, T), pixel_values (B, 3, H, W).

    Rows are padded on the right, where a causal model does not look: no mask is needed.
    """
    ids = batch["input_ids"]
    hidden = model.model(input_ids=ids, pixel_values=batch["pixel_values"], use_cache=False).last_hidden_state
    wanted = batch["trained"][:, 1:]
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[:, :-1][wanted]).float(), ids[:, 1:][wanted])


def lesson_batches(
    tokenizer: PreTrainedTokenizerBase, settings: PretrainSettings, num_image_tokens: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches, drawn in a process beside the training."""
    dataset = _Lessons(tokenizer, settings, num_image_tokens)
    yield from DataLoader(dataset, batch_size=None, num_workers=1, prefetch_factor=4)


class _Lessons(IterableDataset):
    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: PretrainSettings, num_image_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.settings = settings
        self.num_image_tokens = num_image_tokens

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        rng = np.random.default_rng([PRETRAINING_SEED, self.settings.seed])
        while True:
            is_solution = bool(rng.random() < self.settings.solution_share)  # one kind a batch: little padding
            lessons = [draw_lesson(rng, self.num_image_tokens, is_solution) for _ in range(self.settings.batch_size)]
            yield collate_lessons(self.tokenizer, lessons)


def collate_lessons(tokenizer: PreTrainedTokenizerBase, lessons: list[Lesson]) -> dict[str, torch.Tensor]:
    """Right-padded ids and trained positions (B, T), one tile each (B, 3, H, W)."""
    rows = [_encode(tokenizer, lesson) for lesson in lessons]
    length = max(len(ids) for ids, _ in rows)
    assert tokenizer.pad_token_id is not None, "the tokenizer pads"
    ids = torch.full((len(rows), length), int(tokenizer.pad_token_id))  # type: ignore[arg-type]
    trained = torch.zeros((len(rows), length), dtype=torch.bool)
    for row, (row_ids, row_trained) in enumerate(rows):
        ids[row, : len(row_ids)] = torch.tensor(row_ids)
        trained[row, : len(row_ids)] = torch.tensor(row_trained)
    tiles = [split_tiles(lesson.film, IMAGE_SETTINGS.tile_size, IMAGE_SETTINGS.max_tiles)[0] for lesson in lessons]
    return {"input_ids": ids, "trained": trained, "pixel_values": torch.from_numpy(pixel_values(tiles))}


def _encode(tokenizer: PreTrainedTokenizerBase, lesson: Lesson) -> tuple[list[int], list[bool]]:
    ids, trained = list(leading_ids(tokenizer)), []
    trained = [False] * len(ids)
    for piece in lesson.pieces:
        new = _piece_ids(tokenizer, piece.text)
        ids += new
        trained += [piece.is_trained] * len(new)
    return ids, trained


@lru_cache(maxsize=100_000)
def _piece_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return encode_segment(tokenizer, text, is_user_text=False)


def _tokenizer_texts(settings: PretrainSettings) -> list[str]:
    """A sample of lessons, and general words for texts that are not the phantom's."""
    rng = np.random.default_rng([PRETRAINING_SEED, settings.seed, 1])
    lessons = [draw_lesson(rng, 1, number % 2 == 0) for number in range(600)]
    judging = "Judge each step of the medical solution: + if right so far, - if wrong.\n### Solution Process:\n"
    texts = ["".join(piece.text for piece in lesson.pieces) + judging for lesson in lessons]
    return texts + [f"a {word} {word} {word}" for word in GENERAL_WORDS.split()] * 20


def _warm_cosine(step: int, settings: PretrainSettings) -> float:
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.num_steps - settings.warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
