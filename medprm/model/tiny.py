"""The tiny InternVL: the same classes as the 8B model at 1.5 million parameters, for a laptop's CPU.

`shipped_base()` is the pretrained one that comes with the package (made by `python -m medprm.commands.pretrain`).
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

from medprm.encoding.chat import token_id
from medprm.images.settings import ImageSettings

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")
IMAGE_SETTINGS = ImageSettings(tile_size=64, max_tiles=1)
PATCH_SIZE = 8
MAX_POSITIONS = 8192


def shipped_base() -> Path:
    """The folder of the pretrained tiny base."""
    return Path(__file__).parent / "assets" / "tiny"


def build_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """Byte-level BPE with InternVL2.5's control tokens; every byte is in the vocabulary, so nothing is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(  # type: ignore[call-arg]
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        additional_special_tokens=list(SPECIAL_TOKENS[3:]),
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_POSITIONS,
    )


def build_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> InternVLForConditionalGeneration:
    """A random tiny InternVL with a Llama text model, as InternVL2.5-8B has after conversion."""
    vision = InternVLVisionConfig(
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=288,
        image_size=IMAGE_SETTINGS.tile_size,
        patch_size=PATCH_SIZE,
        attention_bias=True,
        layer_scale_init_value=1.0,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=352,
        max_position_embeddings=MAX_POSITIONS,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False,
        bos_token_id=token_id(tokenizer, "<s>"),
        eos_token_id=token_id(tokenizer, "<|im_end|>"),
        pad_token_id=token_id(tokenizer, "</s>"),
    )
    patches = (IMAGE_SETTINGS.tile_size // PATCH_SIZE) ** 2
    config = InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=token_id(tokenizer, "<IMG_CONTEXT>"),
        image_seq_length=patches // 4,
        downsample_ratio=0.5,
        tie_word_embeddings=False,  # the default ties silently, whatever the text config says
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = InternVLForConditionalGeneration(config)
        positions = model.model.vision_tower.embeddings.position_embeddings
        torch.nn.init.normal_(positions, std=0.05)  # from zero, patches could not tell where they are
    return model
