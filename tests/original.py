"""Tiny random checkpoints in the original InternVL layout, with real tokenizers; names and shapes as published ones'

`write_original_checkpoint(folder, "internlm2", "300m")` and so on; weights are drawn by numpy from a seed.
"""

import io
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

SIDE, PATCH = 32, 8
TEXT_FAMILIES = ("internlm2", "qwen2")
VISION_TYPES = ("300m", "6b")
SPECIAL = ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>"]
NUM_UNUSED = 4
CORPUS = [
    "Opacity in the right lower lobe; SpO2 92%, 38.5 C, BP 120/80 mmHg.",
    "Cardiomegaly with pleural effusion: CT comes first, then a biopsy (3-5 mm).",
    "폐렴이 의심됩니다. 흉부 X선에서 우하엽 음영 증가.",
    "### Question:\nsystem user assistant\n### Solution Process:\nStep 1: + right, - wrong, = neutral",
    "    indented    text\n\n\nand    runs   of  spaces\t\ttabs",
    "The patient is 63 years old — or so — 2019-04-12, 1,234.5 ng/mL, p = 0.05, 10^9/L.",
]


def vision_config(kind: str) -> dict[str, Any]:
    """300m: LayerNorm, biases, no query and key norm; 6b: the opposite of each."""
    is_small = kind == "300m"
    return {
        "architectures": ["InternVisionModel"],
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "image_size": SIDE,
        "patch_size": PATCH,
        "norm_type": "layer_norm" if is_small else "rms_norm",
        "qkv_bias": is_small,
        "qk_normalization": not is_small,
        "layer_norm_eps": 1e-06,
        "hidden_act": "gelu",
        "drop_path_rate": 0.1,
    }


def text_config(family: str, vocab_size: int) -> dict[str, Any]:
    common = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "hidden_act": "silu",
        "rope_theta": 1000000.0,
        "tie_word_embeddings": False,
    }
    if family == "internlm2":
        own = {"bias": False, "rms_norm_eps": 1e-05, "rope_scaling": {"type": "dynamic", "factor": 2.0}}
        return common | own | {"architectures": ["InternLM2ForCausalLM"], "bos_token_id": 1, "pad_token_id": 2}
    return common | {"architectures": ["Qwen2ForCausalLM"], "rms_norm_eps": 1e-06, "use_sliding_window": False}


def original_config(family: str, vision: str, vocab_size: int) -> dict[str, Any]:
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": SIDE,
        "llm_config": text_config(family, vocab_size),
        "max_dynamic_patch": 12,
        "min_dynamic_patch": 1,
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "torch_dtype": "float32",
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "use_thumbnail": True,
        "vision_config": vision_config(vision),
    }


def original_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor that a checkpoint of this configuration has."""
    vision, text = config["vision_config"], config["llm_config"]
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    shapes: dict[str, tuple[int, ...]] = {
        "vision_model.embeddings.class_embedding": (1, 1, width),
        "vision_model.embeddings.position_embedding": (1, patches + 1, width),
        "vision_model.embeddings.patch_embedding.weight": (width, 3, vision["patch_size"], vision["patch_size"]),
        "vision_model.embeddings.patch_embedding.bias": (width,),
    }
    for number in range(vision["num_hidden_layers"]):
        layer = {
            "ls1": (width,),
            "ls2": (width,),
            "norm1.weight": (width,),
            "norm2.weight": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "mlp.fc1.weight": (inner, width),
            "mlp.fc1.bias": (inner,),
            "mlp.fc2.weight": (width, inner),
            "mlp.fc2.bias": (width,),
        }
        if vision["norm_type"] == "layer_norm":
            layer |= {"norm1.bias": (width,), "norm2.bias": (width,)}
        if vision["qkv_bias"]:
            layer |= {"attn.qkv.bias": (3 * width,)}
        if vision["qk_normalization"]:
            layer |= {"attn.q_norm.weight": (width,), "attn.k_norm.weight": (width,)}
        shapes |= {f"vision_model.encoder.layers.{number}.{name}": shape for name, shape in layer.items()}
    hidden = text["hidden_size"]
    shapes |= {
        "mlp1.0.weight": (4 * width,),
        "mlp1.0.bias": (4 * width,),
        "mlp1.1.weight": (hidden, 4 * width),
        "mlp1.1.bias": (hidden,),
        "mlp1.3.weight": (hidden, hidden),
        "mlp1.3.bias": (hidden,),
    }
    return shapes | _text_shapes(text)


def _text_shapes(text: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, inner, vocab = text["hidden_size"], text["intermediate_size"], text["vocab_size"]
    key_width = hidden // text["num_attention_heads"] * text["num_key_value_heads"]
    if text["architectures"] == ["InternLM2ForCausalLM"]:
        shapes = {"model.tok_embeddings.weight": (vocab, hidden), "output.weight": (vocab, hidden)}
        layer = {
            "attention.wqkv.weight": (hidden + 2 * key_width, hidden),
            "attention.wo.weight": (hidden, hidden),
            "attention_norm.weight": (hidden,),
            "ffn_norm.weight": (hidden,),
            "feed_forward.w1.weight": (inner, hidden),
            "feed_forward.w2.weight": (hidden, inner),
            "feed_forward.w3.weight": (inner, hidden),
        }
    else:
        shapes = {"model.embed_tokens.weight": (vocab, hidden), "lm_head.weight": (vocab, hidden)}
        layer = {
            "self_attn.q_proj.weight": (hidden, hidden),
            "self_attn.q_proj.bias": (hidden,),
            "self_attn.k_proj.weight": (key_width, hidden),
            "self_attn.k_proj.bias": (key_width,),
            "self_attn.v_proj.weight": (key_width, hidden),
            "self_attn.v_proj.bias": (key_width,),
            "self_attn.o_proj.weight": (hidden, hidden),
            "input_layernorm.weight": (hidden,),
            "post_attention_layernorm.weight": (hidden,),
            "mlp.gate_proj.weight": (inner, hidden),
            "mlp.up_proj.weight": (inner, hidden),
            "mlp.down_proj.weight": (hidden, inner),
        }
    shapes["model.norm.weight"] = (hidden,)
    for number in range(text["num_hidden_layers"]):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    return {f"language_model.{name}": shape for name, shape in shapes.items()}


def random_weights(config: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Large enough that every weight shows in the logits, small enough that they stay of size one."""
    generator = np.random.RandomState(seed)
    weights = {}
    for name, shape in original_shapes(config).items():
        drawn = generator.standard_normal(shape).astype(np.float32)
        is_scale = len(shape) == 1 and not name.endswith("bias")
        weights[name] = torch.from_numpy(1 + 0.2 * drawn if is_scale else 0.15 * drawn)
    return weights


def write_original_checkpoint(
    folder: Path, family: str, vision: str, seed: int = 0, num_shards: int = 3, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Write the folder; returns its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = write_internlm2_tokenizer(folder) if family == "internlm2" else write_qwen2_tokenizer(folder)
    config = original_config(family, vision, vocab_size)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    weights = {name: tensor.to(dtype) for name, tensor in random_weights(config, seed).items()}
    write_shards(folder, weights, num_shards)
    return weights


def write_shards(folder: Path, weights: dict[str, torch.Tensor], num_shards: int) -> None:
    index = {}
    for number in range(num_shards):
        file = f"model-{number + 1:05}-of-{num_shards:05}.safetensors"
        names = list(weights)[number::num_shards]
        save_file({name: weights[name] for name in names}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


@lru_cache(maxsize=1)
def sentencepiece_model() -> bytes:
    """A model of InternLM2's kind: byte-pair encoding with byte fallback, nothing normalised, with unused pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(  # type: ignore[attr-defined]
        sentence_iterator=iter(CORPUS * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=620,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_digits=False,
        allow_whitespace_only_pieces=True,
        character_coverage=0.98,
        user_defined_symbols=["Ｅ", "——", *(f"[UNUSED_TOKEN_{number}]" for number in range(NUM_UNUSED))],
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def write_internlm2_tokenizer(folder: Path) -> int:
    """tokenizer.model and tokenizer_config.json; the first special tokens replace unused pieces. Returns the size."""
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    processor = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    unused = [processor.piece_to_id(f"[UNUSED_TOKEN_{number}]") for number in range(NUM_UNUSED)]
    num_new = len(SPECIAL) - 2
    ids = [*unused[2:], *range(processor.vocab_size(), processor.vocab_size() + num_new)]
    added = dict(enumerate(("<unk>", "<s>", "</s>"))) | dict(zip(ids, SPECIAL, strict=True))
    settings = {
        "tokenizer_class": "InternLM2Tokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "model_max_length": 8192,
        "added_tokens_decoder": {str(number): _added(token) for number, token in added.items()},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return processor.vocab_size() + num_new


def write_qwen2_tokenizer(folder: Path) -> int:
    """vocab.json, merges.txt and tokenizer_config.json, as Qwen2's is shipped. Returns the size."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))  # type: ignore
    tokenizer.model.save(str(folder))
    size = tokenizer.get_vocab_size()
    special = ["<|endoftext|>", *SPECIAL]
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": 8192,
        "added_tokens_decoder": {str(size + number): _added(token) for number, token in enumerate(special)},
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return size + len(special)


def _added(token: str) -> dict[str, Any]:
    return {
        "content": token,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }
