"""The made-up work of the benchmarks: a small InternVL, cases with one large image, candidates of a stated length.

A tile gives 64 visual tokens instead of 256, and solutions are as much shorter: 13 tiles to a solution of about 62
tokens, as 3,328 image tokens to 250.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

from medprm.cases.schema import CaseSolutions, Record, from_json
from medprm.encoding.encoder import Encoder
from medprm.encoding.settings import EncodingSettings
from medprm.images.settings import ImageSettings
from medprm.model.loading import LoadedModel, load_checkpoint, tokens_per_tile
from medprm.model.tiny import shipped_base

TILE = 128
GRIDS = {1: (1, 1), 3: (2, 1), 5: (2, 2), 7: (3, 2), 13: (4, 3)}  # tiles with the thumbnail -> columns, rows
STEPS_PER_SOLUTION = 5
WORDS = ["opacity", "effusion", "nodule", "left", "right", "lower", "upper", "lobe", "heart", "clear", "fever", "cough"]


class Work(NamedTuple):
    """A model, its encoder, and cases below `root`."""

    loaded: LoadedModel
    encoder: Encoder
    cases: list[CaseSolutions]
    root: Path


def make_work(root: Path, num_tiles: int, num_candidates: int, num_cases: int = 1, seed: int = 0) -> Work:
    """`num_cases` cases of one image in `num_tiles` tiles, with candidates of five steps and about 62 tokens."""
    generator = np.random.default_rng(seed)
    loaded = small_model()
    columns, rows = GRIDS[num_tiles]
    cases = []
    for number in range(num_cases):
        name = f"{num_tiles}_{number}.png"
        pixels = generator.integers(0, 255, (rows * TILE, columns * TILE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
        records = [_record(generator, number, name, index) for index in range(num_candidates)]
        cases.append(CaseSolutions(records[0].case(), [one.solution() for one in records]))
    encoder = Encoder.from_settings(loaded.tokenizer, EncodingSettings(), loaded.image_tokens_per_tile)
    return Work(loaded, encoder, cases, root)


def _record(generator: np.random.Generator, number: int, image: str, index: int) -> Record:
    steps = [
        {
            "step_id": k,
            "content": str(generator.choice(WORDS)),
            "label": str(generator.choice(["correct", "incorrect"])),
        }
        for k in range(STEPS_PER_SOLUTION)
    ]
    return from_json(
        {
            "case_id": f"case_{number}",
            "modality": "chest_xray",
            "question": "What is seen?",
            "images": [{"path": image}],
            "solution_id": f"s{index}",
            "solution_steps": steps,
        }
    )


def small_model(seed: int = 0) -> LoadedModel:
    """Random weights, 1.5 million parameters, the shipped tokenizer; 64 visual tokens a tile."""
    base = load_checkpoint(shipped_base())
    tokenizer = base.tokenizer
    vision = InternVLVisionConfig(
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=192,
        image_size=TILE,
        patch_size=8,
        attention_bias=True,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=352,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
        pad_token_id=int(tokenizer.pad_token_id),  # type: ignore[arg-type]
    )
    config = InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=64,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = InternVLForConditionalGeneration(config)
    return LoadedModel(model, tokenizer, ImageSettings(TILE, 12), tokens_per_tile(config), None)
