"""`python -m medprm.commands.parity CHECKPOINT --code FOLDER`: the native model against the original's own code.

In: a checkpoint in the original layout, and a folder with the original's modelling code: `internvl_chat/` of
OpenGVLab/InternVL, or the .py files of a hub repository. Out: the largest difference of logits in single precision.
The code in FOLDER **is run**: give one that you have read. Its class is built directly and filled by `load_state_dict`.
"""

import argparse
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from medprm.errors import InputError
from medprm.model.loading import LoadedModel, load_checkpoint

MODELLING = "modeling_internvl_chat"
CONFIGURATION = "configuration_internvl_chat"
GITHUB_PACKAGE = "internvl.model.internvl_chat"
TOLERANCE = 1e-5


class Parity(NamedTuple):
    """How far the two models' logits are apart, and how large they are."""

    largest_difference: float
    largest_logit: float


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        found = compare(given.checkpoint, given.code, given.num_tokens, given.seed)
    except InputError as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2
    print(f"largest difference {found.largest_difference:.2e} at logits up to {found.largest_logit:.2f}")
    return 0 if found.largest_difference <= given.tolerance else 1


@torch.inference_mode()
def compare(checkpoint: Path, code: Path, num_tokens: int = 64, seed: int = 0) -> Parity:
    """Both models on one random tile and random tokens."""
    loaded = load_checkpoint(checkpoint)
    ids, pixels = _inputs(loaded, num_tokens, seed)
    native = loaded.model(input_ids=ids, pixel_values=pixels).logits
    original = original_model(checkpoint, code, int(loaded.model.config.image_token_id))
    theirs = original(
        pixel_values=pixels,
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        position_ids=torch.arange(ids.shape[1])[None],
        image_flags=torch.ones(len(pixels), 1, dtype=torch.long),
        use_cache=False,
        return_dict=True,
    ).logits
    return Parity(float((native - theirs).abs().max()), float(theirs.abs().max()))


def original_model(checkpoint: Path, code: Path, image_token_id: int) -> Any:
    """The original's own model in single precision, with every weight of the checkpoint."""
    modelling, configuration = original_code(code)
    fields = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    model = modelling.InternVLChatModel(configuration.InternVLChatConfig(**fields), use_flash_attn=False)
    weights = {name: one.float() for file in checkpoint.glob("*.safetensors") for name, one in load_file(file).items()}
    model.load_state_dict(weights, strict=True)
    model.img_context_token_id = image_token_id
    return model.float().eval()


def original_code(folder: Path) -> tuple[ModuleType, ModuleType]:
    """The modules of model and configuration, from either form of the folder."""
    folder = folder.resolve()
    if (folder / f"{MODELLING}.py").is_file():
        package = "original_code"
        spec = importlib.util.spec_from_loader(package, None, is_package=True)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        module.__path__ = [str(folder)]  # its files import each other relatively
        sys.modules[package] = module
    elif (folder / GITHUB_PACKAGE.replace(".", "/") / f"{MODELLING}.py").is_file():
        package = GITHUB_PACKAGE
        sys.path.insert(0, str(folder))
    else:
        raise InputError(
            f"--code {folder}: no {MODELLING}.py; give internvl_chat/ of OpenGVLab/InternVL, or the hub's .py files"
        )
    try:
        return importlib.import_module(f"{package}.{MODELLING}"), importlib.import_module(f"{package}.{CONFIGURATION}")
    except ImportError as error:
        raise InputError(f"--code {folder}: {error}; install what the original's code needs (timm, einops)") from error


def _inputs(loaded: LoadedModel, num_tokens: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (1, T) with one tile's image tokens from the second on, and the tile (1, 3, side, side)."""
    generator = torch.Generator().manual_seed(seed)
    num_image_tokens, config = loaded.image_tokens_per_tile, loaded.model.config
    text_config: Any = config.text_config
    ids = torch.randint(3, min(text_config.vocab_size, 256), (1, num_tokens + num_image_tokens), generator=generator)
    ids[ids == config.image_token_id] = 3
    ids[0, 1 : 1 + num_image_tokens] = config.image_token_id
    side = loaded.image_settings.tile_size
    return ids, torch.randn(1, 3, side, side, generator=generator)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.parity", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint in the original layout")
    parser.add_argument("--code", type=Path, required=True, help="folder with the original's modelling code; it is run")
    parser.add_argument("--num-tokens", type=int, default=64, help="random text tokens beside the tile's")
    parser.add_argument("--seed", type=int, default=0, help="of tokens and pixels")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="exit code 1 above this difference")
    return parser


if __name__ == "__main__":
    sys.exit(main())
