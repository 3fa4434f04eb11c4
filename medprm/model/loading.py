"""Load and save a model with everything that scoring needs.

In: a folder or hub id, in transformers' native InternVL layout, in the original one, or of a Llama, which reads text
alone; safetensors only. Out: `LoadedModel`. A trained PRM's folder holds `medprm.json` beside the weights: prompt text,
label tokens, label kind, threshold, aggregation. Where the model came from the original layout, `original/` keeps what
writing it again needs. Remote code is never run and pickled weights are never opened.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from transformers import (
    AutoTokenizer,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
)

from medprm.encoding.chat import INTERNVL2_5, check_control_tokens, token_id
from medprm.images.settings import ImageSettings
from medprm.model.errors import ModelError
from medprm.model.original_config import ORIGINAL_MODEL_TYPE, original_image_settings, text_architecture
from medprm.model.original_layout import INDEX_FILE, load_original
from medprm.model.original_tokenizer import original_tokenizer
from medprm.model.processor import save_image_processor

__all__ = ["LoadedModel", "ModelError", "load_checkpoint", "save_checkpoint"]

PRM_FILE = "medprm.json"
NATIVE_MODEL_TYPE = "internvl"
TEXT_MODEL_TYPE = "llama"
# What the Llama 3 family reserves for padding; it has no pad token by name.
PAD_TOKENS = ("<|finetune_right_pad_id|>", "<|reserved_special_token_0|>")
IMAGE_FILE = "medprm_images.json"
ORIGINAL_FOLDER = "original"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AS_STORED = "stored"
HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "merges.txt")
# What an original folder holds beside the weights and is no code.
KEPT_SUFFIXES = (".json", ".model", ".txt", ".jinja")
MAX_KEPT_BYTES = 32 * 2**20


@dataclass
class LoadedModel:
    """A model, its tokenizer, how images are cut for it, and what it was trained as (None: not a PRM yet).

    A text model has 0 image tokens per tile. `original_files`: config.json and tokenizer of the original layout by
    name, where the model came from it.
    """

    model: InternVLForConditionalGeneration | LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase
    image_settings: ImageSettings
    image_tokens_per_tile: int
    prm: dict[str, Any] | None
    original_files: Mapping[str, bytes] = field(default_factory=dict)


def load_checkpoint(
    source: str | Path,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    max_tiles: int | None = None,
    attn_implementation: str = "sdpa",
) -> LoadedModel:
    """Load `source`; `max_tiles` replaces the folder's own limit; dtype "stored" leaves the weights as they are.

    Raises ModelError in one line.
    """
    if dtype not in (*DTYPES, AS_STORED):
        raise ModelError(f"dtype {dtype!r}; expected one of {', '.join([*DTYPES, AS_STORED])}")
    folder = local_folder(source)
    read = _read_original if model_type(folder) == ORIGINAL_MODEL_TYPE else _read_native
    loaded = read(folder, DTYPES.get(dtype), attn_implementation)
    if max_tiles and not loaded.image_tokens_per_tile:
        raise ModelError(f"model {source}: max_tiles is {max_tiles} but the model reads text only; leave it out")
    if max_tiles:
        loaded.image_settings = replace(loaded.image_settings, max_tiles=max_tiles)
    loaded.model.to(device)  # type: ignore[arg-type]
    return loaded


def local_folder(source: str | Path) -> Path:
    """`source` if it is a folder, else the hub's checkpoint of that name, downloaded without code and pickles."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    if str(source).count("/") != 1 or str(source).startswith((".", "/")):
        raise ModelError(
            f"model {source}: no such folder; give a folder with config.json, or a hub id such as org/name"
        )
    try:
        return Path(snapshot_download(str(source), allow_patterns=list(HUB_FILES)))
    except (OSError, HfHubHTTPError) as error:
        raise ModelError(f"model {source}: {str(error).splitlines()[0]}") from error


def model_type(folder: Path) -> str:
    """The layout of the folder's checkpoint; raises ModelError for any that is not read here."""
    file = folder / "config.json"
    if not file.is_file():
        raise ModelError(f"model {folder}: no config.json; expected a checkpoint's folder, native or original layout")
    kind = json.loads(file.read_text(encoding="utf-8")).get("model_type")
    if kind not in (NATIVE_MODEL_TYPE, ORIGINAL_MODEL_TYPE, TEXT_MODEL_TYPE):
        raise ModelError(
            f"model {folder}: model_type {kind!r}; expected {NATIVE_MODEL_TYPE!r} (transformers' native layout) or "
            f"{ORIGINAL_MODEL_TYPE!r} (the original layout of InternVL2.5), or {TEXT_MODEL_TYPE!r} (text alone)"
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"model {folder}: no *.safetensors; pickled weights (.bin) are not opened, because a pickle can run code; "
            "take a revision with safetensors, or save it as safetensors on a machine that trusts it"
        )
    return kind


def _read_native(folder: Path, dtype: torch.dtype | None, attn_implementation: str) -> LoadedModel:
    try:
        # With output_loading_info a pair comes back, which the type stubs do not say.
        is_text = model_type(folder) == TEXT_MODEL_TYPE
        loader: Any = (LlamaForCausalLM if is_text else InternVLForConditionalGeneration).from_pretrained
        model, report = loader(
            folder,
            dtype=dtype or "auto",
            attn_implementation=attn_implementation,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are reported, and refused below
            output_loading_info=True,
        )
    except OSError as error:
        raise ModelError(f"model {folder}: {str(error).splitlines()[0]}") from error
    _check_report(folder, report)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    prm = json.loads((folder / PRM_FILE).read_text()) if (folder / PRM_FILE).is_file() else None
    if is_text:
        _name_pad_token(tokenizer)
        return LoadedModel(model, tokenizer, ImageSettings(), 0, prm)
    settings = _image_settings(folder, model.config)
    return LoadedModel(
        model, tokenizer, settings, tokens_per_tile(model.config), prm, original_files(folder / ORIGINAL_FOLDER)
    )


def _name_pad_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """A token for padding, which is masked everywhere; the end of a text where none is reserved."""
    if tokenizer.pad_token_id is None:
        vocabulary = tokenizer.get_vocab()
        tokenizer.pad_token = next((one for one in PAD_TOKENS if one in vocabulary), tokenizer.eos_token)


def _read_original(folder: Path, dtype: torch.dtype | None, attn_implementation: str) -> LoadedModel:
    where = str(folder / "config.json")
    original = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = original_tokenizer(folder, text_architecture(original, where))
    check_control_tokens(tokenizer)
    image_token_id = token_id(tokenizer, INTERNVL2_5.image_token)
    largest, vocab_size = max(tokenizer.get_vocab().values()), original["llm_config"].get("vocab_size", 0)
    if largest >= vocab_size:
        raise ModelError(
            f"{where}: llm_config.vocab_size is {vocab_size}; expected more than {largest}, the highest id; "
            "take both from one checkpoint"
        )
    model = load_original(folder, original, image_token_id, dtype, attn_implementation)
    if model.generation_config is not None:
        model.generation_config.eos_token_id = token_id(tokenizer, INTERNVL2_5.end)
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    settings = ImageSettings(**original_image_settings(original, where))
    prm = json.loads((folder / PRM_FILE).read_text()) if (folder / PRM_FILE).is_file() else None
    return LoadedModel(model, tokenizer, settings, tokens_per_tile(model.config), prm, original_files(folder))


def original_files(folder: Path) -> dict[str, bytes]:
    """The small files of an original checkpoint that are neither weights nor code, by name."""
    if not (folder / "config.json").is_file():
        return {}
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in KEPT_SUFFIXES)
    ours = (INDEX_FILE, PRM_FILE, IMAGE_FILE)
    return {
        file.name: file.read_bytes()
        for file in files
        if file.name not in ours and file.stat().st_size <= MAX_KEPT_BYTES
    }


def save_checkpoint(folder: Path, loaded: LoadedModel, prm: dict[str, Any] | None) -> None:
    """Write weights, tokenizer, processor and `medprm.json`; the folder loads with transformers as well."""
    folder.mkdir(parents=True, exist_ok=True)
    loaded.model.save_pretrained(folder, safe_serialization=True)
    save_tokenizer_and_settings(folder, loaded, prm)


def save_tokenizer_and_settings(folder: Path, loaded: LoadedModel, prm: dict[str, Any] | None) -> None:
    """Everything of a checkpoint but the weights."""
    loaded.tokenizer.save_pretrained(folder)
    if loaded.image_tokens_per_tile:
        _save_image_settings(folder, loaded.image_settings)
    if loaded.original_files:
        write_files(folder / ORIGINAL_FOLDER, loaded.original_files)
    if prm is not None:
        (folder / PRM_FILE).write_text(json.dumps(prm, indent=2, ensure_ascii=False) + "\n")


def _save_image_settings(folder: Path, settings: ImageSettings) -> None:
    fields = {
        "tile_size": settings.tile_size,
        "max_tiles": settings.max_tiles,
        "use_thumbnail": settings.use_thumbnail,
    }
    (folder / IMAGE_FILE).write_text(json.dumps(fields, indent=2) + "\n")
    save_image_processor(folder, settings)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files that `original_files` read."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def tokens_per_tile(config: InternVLConfig) -> int:
    """Visual tokens of one tile: patches after the pixel shuffle (256 for InternVL2.5)."""
    vision: Any = config.vision_config
    side = int(vision.image_size[0] // vision.patch_size[0] * config.downsample_ratio)
    return side * side


def _image_settings(folder: Path, config: InternVLConfig) -> ImageSettings:
    vision: Any = config.vision_config
    fields: dict[str, Any] = {"tile_size": int(vision.image_size[0])}
    if (folder / IMAGE_FILE).is_file():
        fields |= json.loads((folder / IMAGE_FILE).read_text())
    if fields["tile_size"] != vision.image_size[0]:
        raise ModelError(
            f"{folder / IMAGE_FILE}: tile_size {fields['tile_size']}; the vision tower was built for "
            f"{vision.image_size[0]} pixels; restore the file that came with the weights"
        )
    return ImageSettings(**fields)


def _check_report(source: str | Path, report: dict[str, Any]) -> None:
    """A key too few leaves random weights, a key too many means another architecture: both are errors."""
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if keys := sorted(map(str, report.get(name, ()))):
            raise ModelError(f"model {source}: {len(keys)} {name.replace('_', ' ')}: {', '.join(keys[:3])}, ...")
