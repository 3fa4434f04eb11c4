"""Collections of evidence: files to passages.

In: JSON Lines, Parquet (fields document_id or id, text; title, source, licence where known), a text file, or a folder
of text files. Out: `Passage`. Passages over the window are split at sentences and counted; none is dropped.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet

from medprm.cases.parsing import parse_json
from medprm.errors import InputError

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
TEXT_SUFFIXES = (".txt", ".md")


class Passage(NamedTuple):
    """One piece of evidence. `passage_id` is unique over all collections: collection/document, #part where split."""

    passage_id: str
    collection: str
    text: str
    title: str | None = None
    source: str | None = None


def read_collections(collections: Mapping[str, str], max_words: int) -> list[Passage]:
    """All passages in order; InputError where a file or a field is missing, or an id comes twice."""
    passages = [one for name, path in collections.items() for one in read_collection(name, Path(path), max_words)]
    seen: set[str] = set()
    for one in passages:
        if one.passage_id in seen:
            raise InputError(f"retrieval.collections: passage {one.passage_id!r} stands there twice; rename one")
        seen.add(one.passage_id)
    return passages


def read_collection(name: str, path: Path, max_words: int) -> list[Passage]:
    """The passages of one collection."""
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.suffix in TEXT_SUFFIXES and one.is_file())
        rows: Iterable[Mapping[str, Any]] = ({"id": str(one.relative_to(path)), "text": _text(one)} for one in files)
    elif not path.is_file():
        raise InputError(f"retrieval.collections.{name}: {path}: no such file or folder")
    elif path.suffix == ".parquet":
        rows = pyarrow.parquet.read_table(path).to_pylist()
    elif path.suffix == ".jsonl":
        rows = _json_rows(path)
    elif path.suffix in TEXT_SUFFIXES:
        rows = [{"id": path.stem, "text": _text(path)}]
    else:
        raise InputError(f"retrieval.collections.{name}: {path}: expected .jsonl, .parquet, .txt, .md or a folder")
    passages = [one for row in rows for one in _passages_of(name, path, row, max_words)]
    if not passages:
        raise InputError(f"retrieval.collections.{name}: {path}: no passage in it")
    return passages


def split_text(text: str, max_words: int) -> list[str]:
    """Pieces of at most `max_words` words, cut at sentences, or between words where one sentence is longer."""
    pieces: list[list[str]] = [[]]
    for sentence in SENTENCE_END.split(text.strip()):
        words = sentence.split()
        if pieces[-1] and len(pieces[-1]) + len(words) > max_words:
            pieces.append([])
        while len(words) > max_words:
            pieces[-1], words = words[:max_words], words[max_words:]
            pieces.append([])
        pieces[-1] += words
    return [" ".join(words) for words in pieces if words]


def content_hash(passages: Sequence[Passage]) -> str:
    """sha256 over ids and texts in order."""
    digest = hashlib.sha256()
    for one in passages:
        digest.update(json.dumps(list(one), ensure_ascii=False).encode())
    return digest.hexdigest()


def _passages_of(name: str, path: Path, row: Mapping[str, Any], max_words: int) -> Iterator[Passage]:
    document_id, text = row.get("document_id") or row.get("id"), row.get("text")
    if not isinstance(text, str) or not text.strip() or document_id is None:
        raise InputError(f"{path}: a row has no document_id (or id) with text: {str(dict(row))[:120]}")
    title = row.get("title")
    whole = text if len(text.split()) <= max_words else None
    pieces = [whole] if whole is not None else split_text(text, max_words)
    for number, piece in enumerate(pieces):
        part = f"#{number}" if len(pieces) > 1 else ""
        yield Passage(f"{name}/{document_id}{part}", name, piece, title, row.get("source"))


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            row = parse_json(line, f"{path}:{number}")
            if not isinstance(row, dict):
                raise InputError(f"{path}:{number}: expected a JSON object a line")
            yield row


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; save it as UTF-8") from None
