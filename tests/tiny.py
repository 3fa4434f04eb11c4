"""Tiny real parts for tests: a tokenizer, an InternVL of two layers, cases with images. Everything is seeded."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage
from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig, PreTrainedTokenizerBase
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

from medprm.cases.schema import CaseSolutions, Record, from_json
from medprm.encoding.encoder import Encoder
from medprm.encoding.settings import EncodingSettings
from medprm.images.settings import ImageSettings
from medprm.model.loading import LoadedModel
from medprm.model.tiny import build_tokenizer

TILE_SIZE = 32
TOKENS_PER_TILE = 4
IMAGE_SETTINGS = ImageSettings(tile_size=TILE_SIZE, max_tiles=4)
WORDS = ["opacity", "effusion", "nodule", "left", "right", "lower", "lobe", "heart", "enlarged", "clear", "fever"]


@lru_cache(maxsize=1)
def tiny_tokenizer() -> PreTrainedTokenizerBase:
    texts = [
        " ".join(WORDS),
        "Question: What is seen? ### Solution Process: system user assistant Document 1: Context:",
    ]
    return build_tokenizer(texts, vocab_size=400)


def tiny_model(seed: int = 0) -> InternVLForConditionalGeneration:
    """2 vision and 2 text layers of width 32; 32 x 32 pixels in patches of 8 are 4 visual tokens a tile."""
    tokenizer = tiny_tokenizer()
    vision = InternVLVisionConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=TILE_SIZE,
        patch_size=8,
        attention_bias=True,
        layer_scale_init_value=1.0,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=TOKENS_PER_TILE,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = InternVLForConditionalGeneration(config)
        for parameter in model.parameters():
            # The default of 0.02 makes every score 0.5 to four digits: no difference would show.
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def tiny_loaded(seed: int = 0, prm: dict[str, Any] | None = None) -> LoadedModel:
    return LoadedModel(tiny_model(seed), tiny_tokenizer(), IMAGE_SETTINGS, TOKENS_PER_TILE, prm)


def tiny_encoder(**settings: Any) -> Encoder:
    return Encoder.from_settings(tiny_tokenizer(), EncodingSettings(**settings), TOKENS_PER_TILE)


def full_record(**changes: Any) -> Record:
    """A record with every field that may enter the prompt and every field that must not."""
    value: dict[str, Any] = {
        "case_id": "case_1",
        "patient_id": "patient_1",
        "modality": "chest_xray",
        "metadata": {"source": "made up", "specialty": "radiology"},
        "clinical_context": {"age": 63, "sex": "M", "symptoms": ["cough", "fever"], "vitals": {"temp": "38.5C"}},
        "images": [{"path": "case_1.png", "view": "PA"}],
        "question": "What is seen?",
        "options": ["pneumonia", "effusion"],
        "documents": [{"document_id": "d1", "text": "opacity with fever is pneumonia"}],
        "gold_standard": {"findings": ["opacity"], "diagnosis": "pneumonia"},
        "solution_id": "s1",
        "generator": "policy A",
        "answer": "A",
        "is_correct": True,
        "solution_steps": [
            {"step_id": 0, "category": "observation", "content": "opacity in the left lower lobe", "label": "correct"},
            {"step_id": 1, "category": "analysis", "content": "heart enlarged", "label": "incorrect"},
            {"step_id": 2, "category": "diagnosis", "content": "pneumonia, so (A)", "label": "unknown"},
        ],
        "annotation_metadata": {"rag_model": "judge"},
    }
    return from_json(value | changes)


def make_cases(folder: Path, num_cases: int, num_solutions: int = 2, seed: int = 0) -> list[CaseSolutions]:
    """Cases with one image each in `folder`, and solutions of 1 to 4 steps with labels, some unknown."""
    generator = np.random.default_rng(seed)
    cases = []
    for number in range(num_cases):
        name = f"{number}.png"
        # Some images are wide: two tiles and a thumbnail.
        size = (TILE_SIZE, TILE_SIZE * (1 + number % 2), 3)
        PillowImage.fromarray(generator.integers(0, 255, size, dtype=np.uint8)).save(folder / name)
        records = [_random_record(generator, number, name, index) for index in range(num_solutions)]
        cases.append(CaseSolutions(records[0].case(), [record.solution() for record in records]))
    return cases


def _random_record(generator: np.random.Generator, number: int, image: str, index: int) -> Record:
    labels = ["correct", *generator.choice(["correct", "incorrect", "unknown"], generator.integers(0, 4))]
    steps = [
        {"step_id": k, "content": " ".join(generator.choice(WORDS, generator.integers(2, 7))), "label": str(label)}
        for k, label in enumerate(labels)
    ]
    return full_record(
        case_id=f"case_{number}",
        patient_id=f"patient_{number}",
        images=[{"path": image}],
        solution_id=f"s{index}",
        solution_steps=steps,
    )
