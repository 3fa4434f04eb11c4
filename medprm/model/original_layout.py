"""Weights in the original InternVL layout: read into the native model shard by shard, and written back.

In: a folder with config.json and *.safetensors. Out: the native model; never is more than the weights and one shard
in memory. Everything is checked from the files' headers before a weight is read. Pickled weights are never opened.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText, InternVLConfig, InternVLForConditionalGeneration
from transformers.initialization import no_init_weights

from medprm.model.errors import ModelError
from medprm.model.key_map import Entry, Shape, join, key_map, split
from medprm.model.original_config import native_config, text_architecture

INDEX_FILE = "model.safetensors.index.json"
WEIGHT_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
HEADS = ("language_model.output.weight", "language_model.lm_head.weight")
MAX_SHARD_BYTES = 4 * 2**30


class Stored(NamedTuple):
    """Where a tensor lies and what it is."""

    file: Path
    shape: Shape
    dtype: str


def load_original(
    folder: Path,
    original: Mapping[str, Any],
    image_token_id: int,
    dtype: torch.dtype | None = None,
    attn_implementation: str = "sdpa",
) -> InternVLForConditionalGeneration:
    """The native model with the weights of `folder`, in `dtype` (None: as they are stored). Raises ModelError."""
    stored = read_headers(folder)
    where = str(folder / "config.json")
    is_tied = bool(original.get("llm_config", {}).get("tie_word_embeddings")) and not stored.keys() & set(HEADS)
    config = native_config(original, image_token_id, is_tied, where)
    with no_init_weights():  # the memory is only promised until a weight is written
        model = AutoModelForImageTextToText.from_config(
            config, dtype=dtype or stored_dtype(folder, stored), attn_implementation=attn_implementation
        )
    if is_tied:
        model.tie_weights()
    # Under ZeRO-3 the shape of a weight is that of nothing, and its whole shape is beside it.
    shapes = {name: tuple(getattr(weight, "ds_shape", weight.shape)) for name, weight in model.named_parameters()}
    entries = key_map(shapes, text_architecture(original, where))
    check_tensors(folder, stored, entries)
    _fill(model, stored, entries)
    return model.eval()


def native_shapes(config: InternVLConfig) -> dict[str, Shape]:
    """Names and shapes of the native weights, without making them; tied weights once."""
    with torch.device("meta"), no_init_weights():
        model = InternVLForConditionalGeneration(config)
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    if config.tie_word_embeddings:
        del shapes["lm_head.weight"]
    return shapes


def read_headers(folder: Path) -> dict[str, Stored]:
    """Every tensor of the folder's safetensors files by name."""
    stored: dict[str, Stored] = {}
    for file in _weight_files(folder):
        with _opened(file) as shard:
            for name in shard.offset_keys():
                if name in stored:
                    raise ModelError(f"model {folder}: {name} is in {stored[name].file.name} and in {file.name}")
                part = shard.get_slice(name)
                stored[name] = Stored(file, tuple(part.get_shape()), part.get_dtype())
    return stored


def check_tensors(folder: Path, stored: Mapping[str, Stored], entries: Mapping[str, Entry]) -> None:
    """A key too few leaves random weights, one too many or of another shape means another network: all are errors."""
    wrong = [
        f"{name} is {_shown(stored[name].shape)}, expected {_shown(entry.shape)}"
        for name, entry in entries.items()
        if name in stored and stored[name].shape != entry.shape
    ]
    problems = {
        "missing": sorted(entries.keys() - stored.keys()),
        "unexpected": sorted(stored.keys() - entries.keys()),
        "of the wrong shape": wrong,
    }
    found = [f"{_counted(names)} {problem}: {_first(names)}" for problem, names in problems.items() if names]
    if found:
        raise ModelError(
            f"model {folder}: {'; '.join(found)}; config.json and weights must be of one checkpoint: get it again"
        )


def stored_dtype(folder: Path, stored: Mapping[str, Stored]) -> torch.dtype:
    """The one dtype of all weights."""
    found = sorted({one.dtype for one in stored.values()})
    if len(found) != 1 or found[0] not in WEIGHT_DTYPES:
        raise ModelError(
            f"model {folder}: weights of dtype {', '.join(found)}; expected one of {', '.join(WEIGHT_DTYPES)} for all; "
            "name the dtype to convert to"
        )
    return WEIGHT_DTYPES[found[0]]


def write_original(
    folder: Path,
    model: InternVLForConditionalGeneration,
    original: Mapping[str, Any],
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write `model`'s weights under the original names. Raises ModelError where `original` is another network's."""
    config: Any = model.config
    where = "the original config.json"
    expected = native_shapes(native_config(original, config.image_token_id, config.tie_word_embeddings, where))
    weights = model.state_dict()
    if config.tie_word_embeddings:
        del weights["lm_head.weight"]
    different = [name for name in expected.keys() | weights.keys() if _shape(weights, name) != expected.get(name)]
    if different:
        raise ModelError(f"{where} is of another network than the weights: {_first(sorted(different))} differ")
    entries = key_map(expected, text_architecture(original, where))
    shards = _shards(entries, next(iter(weights.values())).element_size(), max_shard_bytes)
    names = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {
            entry.original: join(entry, [weights[one] for one in entry.natives], _head_dim(config)).contiguous()
            for entry in shard
        }
        save_file(tensors, folder / file, metadata={"format": "pt"})
        names |= dict.fromkeys(tensors, file)
    num_bytes = sum(weights[one].nbytes for entry in entries.values() for one in entry.natives)
    index = {"metadata": {"total_size": num_bytes}, "weight_map": names}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n")


def _weight_files(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise ModelError(f"{index}: names {name}, which is not in the folder; get the checkpoint again")
    return [folder / name for name in names]


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        opened = safe_open(file, framework="pt")
    except SafetensorError as error:
        raise ModelError(f"{file}: not a whole safetensors file ({error}); get it again") from error
    with opened as shard:
        yield shard


def _fill(model: InternVLForConditionalGeneration, stored: Mapping[str, Stored], entries: Mapping[str, Entry]) -> None:
    """Copy every tensor into its weights, one file open at a time."""
    weights = dict(model.named_parameters())
    head_dim = _head_dim(model.config)
    for file in sorted({one.file for one in stored.values()}):
        with _opened(file) as shard:
            for name in shard.offset_keys():
                targets = [weights[native] for native in entries[name].natives]
                parts = split(entries[name], shard.get_tensor(name), head_dim)
                with torch.no_grad(), _gathered(targets):
                    for target, part in zip(targets, parts, strict=True):
                        target.copy_(part)


@contextmanager
def _gathered(weights: Sequence[torch.Tensor]) -> Iterator[None]:
    """Under ZeRO-3 a weight is whole only while it is gathered; what is written to it then is shared out again."""
    if not hasattr(weights[0], "ds_id"):
        yield
        return
    import deepspeed  # heavy, and only ZeRO-3 needs it  # pyright: ignore[reportMissingImports]

    with deepspeed.zero.GatheredParameters(list(weights), modifier_rank=0):
        yield


def _head_dim(config: Any) -> int:
    return config.text_config.hidden_size // config.text_config.num_attention_heads


def _shards(entries: Mapping[str, Entry], num_bytes: int, max_shard_bytes: int) -> list[list[Entry]]:
    """The tensors in order, a new shard where the next would exceed the limit."""
    shards: list[list[Entry]] = [[]]
    size = 0
    for entry in entries.values():
        entry_bytes = torch.Size(entry.shape).numel() * num_bytes
        if shards[-1] and size + entry_bytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(entry)
        size += entry_bytes
    return shards


def _shape(weights: Mapping[str, torch.Tensor], name: str) -> Shape | None:
    return tuple(weights[name].shape) if name in weights else None


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} {'key' if len(names) == 1 else 'keys'}"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _shown(shape: Shape) -> str:
    return " x ".join(map(str, shape))
