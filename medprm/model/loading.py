"""Load and save a model with everything that scoring needs.

In: a folder (or hub id) in transformers' native InternVL layout, safetensors only. Out: `LoadedModel`. A trained PRM's
folder holds `medprm.json` beside the weights: prompt text, label tokens, label kind, threshold, aggregation.
Remote code is never run and pickled weights are never opened.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, InternVLConfig, InternVLForConditionalGeneration, PreTrainedTokenizerBase

from medprm.errors import InputError
from medprm.images.settings import ImageSettings
from medprm.model.processor import save_image_processor

PRM_FILE = "medprm.json"
IMAGE_FILE = "medprm_images.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class ModelError(InputError):
    """A model folder cannot be used as it is."""


@dataclass
class LoadedModel:
    """A model, its tokenizer, how images are cut for it, and what it was trained as (None: not a PRM yet)."""

    model: InternVLForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    image_settings: ImageSettings
    image_tokens_per_tile: int
    prm: dict[str, Any] | None


def load_checkpoint(
    source: str | Path,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    max_tiles: int | None = None,
    attn_implementation: str = "sdpa",
) -> LoadedModel:
    """Load `source`; `max_tiles` replaces the folder's own limit. Raises ModelError in one line."""
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r}; expected one of {', '.join(DTYPES)}")
    folder = Path(source)
    if folder.is_dir():
        _check_folder(folder)
    elif str(source).count("/") != 1 or str(source).startswith((".", "/")):
        raise ModelError(
            f"model {source}: no such folder; give a folder with config.json, or a hub id such as org/name"
        )
    try:
        # With output_loading_info a pair comes back, which the type stubs do not say.
        loader: Any = InternVLForConditionalGeneration.from_pretrained
        model, report = loader(
            source,
            dtype=DTYPES[dtype],
            attn_implementation=attn_implementation,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except OSError as error:
        raise ModelError(f"model {source}: {str(error).splitlines()[0]}") from error
    _check_report(source, report)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    settings = _image_settings(folder, model.config, max_tiles)
    prm = json.loads((folder / PRM_FILE).read_text()) if (folder / PRM_FILE).is_file() else None
    return LoadedModel(model.to(device), tokenizer, settings, tokens_per_tile(model.config), prm)  # type: ignore[arg-type]


def save_checkpoint(folder: Path, loaded: LoadedModel, prm: dict[str, Any] | None) -> None:
    """Write weights, tokenizer, processor and `medprm.json`; the folder loads with transformers as well."""
    folder.mkdir(parents=True, exist_ok=True)
    loaded.model.save_pretrained(folder, safe_serialization=True)
    save_tokenizer_and_settings(folder, loaded, prm)


def save_tokenizer_and_settings(folder: Path, loaded: LoadedModel, prm: dict[str, Any] | None) -> None:
    """Everything of a checkpoint but the weights."""
    loaded.tokenizer.save_pretrained(folder)
    settings = loaded.image_settings
    fields = {
        "tile_size": settings.tile_size,
        "max_tiles": settings.max_tiles,
        "use_thumbnail": settings.use_thumbnail,
    }
    (folder / IMAGE_FILE).write_text(json.dumps(fields, indent=2) + "\n")
    save_image_processor(folder, settings)
    if prm is not None:
        (folder / PRM_FILE).write_text(json.dumps(prm, indent=2, ensure_ascii=False) + "\n")


def tokens_per_tile(config: InternVLConfig) -> int:
    """Visual tokens of one tile: patches after the pixel shuffle (256 for InternVL2.5)."""
    vision: Any = config.vision_config
    side = int(vision.image_size[0] // vision.patch_size[0] * config.downsample_ratio)
    return side * side


def _image_settings(folder: Path, config: InternVLConfig, max_tiles: int | None) -> ImageSettings:
    vision: Any = config.vision_config
    fields: dict[str, Any] = {"tile_size": int(vision.image_size[0])}
    if (folder / IMAGE_FILE).is_file():
        fields |= json.loads((folder / IMAGE_FILE).read_text())
    if fields["tile_size"] != vision.image_size[0]:
        raise ModelError(
            f"{folder / IMAGE_FILE}: tile_size {fields['tile_size']}; the vision tower was built for "
            f"{vision.image_size[0]} pixels; restore the file that came with the weights"
        )
    if max_tiles:
        fields["max_tiles"] = max_tiles
    return ImageSettings(**fields)


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(f"model {folder}: no config.json; expected a folder in transformers' native InternVL layout")
    kind = json.loads((folder / "config.json").read_text()).get("model_type")
    if kind != "internvl":
        raise ModelError(
            f"model {folder}: model_type {kind!r}; expected 'internvl', transformers' native layout "
            "(checkpoints in the original layout say 'internvl_chat' and must be converted first)"
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model {folder}: no *.safetensors; pickled weights are not opened; save it as safetensors")


def _check_report(source: str | Path, report: dict[str, Any]) -> None:
    """A key too few leaves random weights, a key too many means another architecture: both are errors."""
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if keys := sorted(map(str, report.get(name, ()))):
            raise ModelError(f"model {source}: {len(keys)} {name.replace('_', ' ')}: {', '.join(keys[:3])}, ...")
