"""Search by meaning: a small encoder's mean-pooled vectors of passages, kept on disk by content hash.

In: passages, queries, a local folder of an encoder in transformers' layout. Out: places of the passages by falling
cosine. A text over the encoder's window is split into windows, and counted; a passage's score is that of its best
window. Mean pooling: Reimers and Gurevych 2019, section 3.
Axes: W windows, T tokens, D width of the encoder.
"""

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer

from medprm.annotation.passages import Passage
from medprm.errors import InputError

logger = logging.getLogger(__name__)

POOLING = "mean-1"  # name of what `Encoder.embed` does; a change of it needs another name
COMMIT_EVERY = 64  # passages; what a kill may cost
HASHED_SUFFIXES = (".safetensors", ".json", ".txt", ".model")


class SentenceEncoder:
    """An encoder with its tokenizer; `digest` names its files."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            raise InputError(f"retrieval.dense_model={folder}: expected a local folder of an encoder with config.json")
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"retrieval.dense_model={folder}: cannot be loaded ({reason})") from None
        if not self.tokenizer.is_fast:
            raise InputError(f"retrieval.dense_model={folder}: expected a fast tokenizer (tokenizer.json)")
        self.window = min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)
        self.digest = _files_hash(folder)
        self._lock = threading.Lock()  # a fast tokenizer keeps state while it cuts windows

    def embed(self, text: str) -> np.ndarray:
        """Unit vectors of the windows of one text: (W, D) float32. Nothing of the text is cut off."""
        with self._lock, torch.inference_mode():
            given = self.tokenizer(
                text,
                truncation=True,
                max_length=self.window,
                return_overflowing_tokens=True,
                padding=True,
                return_tensors="pt",
            )
            given.pop("overflow_to_sample_mapping")
            hidden = self.model(**given).last_hidden_state.float()  # (W, T, D)
        mask = given["attention_mask"].unsqueeze(-1).float()
        means = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.normalize(means, dim=-1).numpy()


class DenseIndex:
    """An opened index. `num_embedded` passages were computed at opening, the others came from disk."""

    def __init__(self, passages: Sequence[Passage], model: Path, folder: Path) -> None:
        self.encoder = SentenceEncoder(model)
        self.path = folder / f"dense-{self.encoder.digest[:16]}.sqlite"
        self.num_embedded = 0
        windows = self._windows_of(passages)
        self.vectors = np.concatenate(windows)  # (W of all passages, D)
        self.starts = np.cumsum([0, *(len(one) for one in windows)])[:-1]
        self.num_split = sum(len(one) > 1 for one in windows)
        if self.num_split:
            logger.info(
                "%d of %d passages are over the encoder's window of %d tokens: searched by their windows",
                *(self.num_split, len(passages), self.encoder.window),
            )

    def search(self, query: str, num_best: int) -> list[int]:
        """Places by falling cosine with the query (the mean of its windows); at equal ones in file order."""
        if not query.strip():
            return []
        scores = np.maximum.reduceat(self.vectors @ self.encoder.embed(query).mean(axis=0), self.starts)
        return np.argsort(-scores, kind="stable")[:num_best].tolist()

    def _windows_of(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """The vectors of every passage (W, D), from disk where they are there.

        One passage at a time: its vectors must not depend on what else was left to do when a run was stopped.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        texts = [f"{one.title or ''} {one.text}".strip() for one in passages]
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        with closing(sqlite3.connect(self.path, timeout=60)) as database:
            database.execute("create table if not exists vectors (key text primary key, num integer, data blob)")
            known = {key: _from_bytes(num, data) for key, num, data in database.execute("select * from vectors")}
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
            for key, text in tqdm(missing.items(), desc="embed", unit=" passages", disable=not missing):
                known[key] = self.encoder.embed(text)
                row = (key, len(known[key]), known[key].tobytes())
                database.execute("insert or ignore into vectors values (?, ?, ?)", row)
                self.num_embedded += 1
                if self.num_embedded % COMMIT_EVERY == 0:
                    database.commit()
            database.commit()
        return [known[key] for key in keys]


def _from_bytes(num: int, data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.float32).reshape(num, -1)


def _files_hash(folder: Path) -> str:
    """sha256 over the names and bytes of the encoder's files, and the pooling."""
    digest = hashlib.sha256(POOLING.encode())
    for path in sorted(one for one in folder.iterdir() if one.suffix in HASHED_SUFFIXES):
        with open(path, "rb") as content:
            digest.update(f"{path.name} {hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()
