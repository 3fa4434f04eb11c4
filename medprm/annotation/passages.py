"""Collections of evidence: files to passages.

In: JSON Lines, Parquet (fields document_id or id, text; title, source, licence, redistributable where known), a text
file, or a folder of text files; or the documents of a case. Out: `Passage`. Passages over the window are split at
sentences and counted; none is dropped.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet

from medprm.cases.parsing import parse_json
from medprm.cases.schema import Case
from medprm.errors import InputError

logger = logging.getLogger(__name__)

OWN_DOCUMENTS = "case"  # collection of the documents that stand in the record
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
TEXT_SUFFIXES = (".txt", ".md")
ID_FIELDS = ("document_id", "id")
LICENCE_FIELDS = ("licence", "license")
READ_FIELDS = (*ID_FIELDS, *LICENCE_FIELDS, "text", "title", "source", "redistributable")


class Passage(NamedTuple):
    """One piece of evidence. `passage_id` is unique over all collections: collection/document, #part where split."""

    passage_id: str
    collection: str
    text: str
    title: str | None = None
    source: str | None = None
    licence: str | None = None
    # Whether the text may be passed on; None: nobody has said.
    redistributable: bool | None = None

    @property
    def whole_text(self) -> str:
        """Title and text as they are searched and counted."""
        return f"{self.title or ''} {self.text}".strip()


class _Row(NamedTuple):
    """One document as its file has it, and where that is."""

    place: str
    fields: Mapping[str, Any]


def read_collections(collections: Mapping[str, str], max_words: int) -> list[Passage]:
    """All passages in order; InputError where a file or a field is missing, or an id comes twice."""
    if OWN_DOCUMENTS in collections:
        raise InputError(f"retrieval.collections.{OWN_DOCUMENTS}: the name of a case's own documents; choose another")
    passages = [one for name, path in collections.items() for one in read_collection(name, Path(path), max_words)]
    seen: set[str] = set()
    for one in passages:
        if one.passage_id in seen:
            raise InputError(f"retrieval.collections: passage {one.passage_id!r} stands there twice; rename one")
        seen.add(one.passage_id)
    return passages


def read_collection(name: str, path: Path, max_words: int) -> list[Passage]:
    """The passages of one collection; what was split, not read or not for passing on stands in the log."""
    passages: list[Passage] = []
    places: dict[str, str] = {}
    not_read: set[str] = set()
    num_split = 0
    for row in _rows(name, path):
        document_id = _document_id(row)
        if document_id in places:
            raise InputError(
                f"{row.place}: document {document_id!r} stands there twice, before at {places[document_id]}"
            )
        places[document_id] = row.place
        found = _passages_of(name, document_id, row, max_words)
        passages += found
        num_split += len(found) > 1
        not_read.update(set(row.fields) - set(READ_FIELDS))
    if not passages:
        raise InputError(f"retrieval.collections.{name}: {path}: no passage in it")
    logger.info(
        "collection %s: %d documents, %d passages (%d documents of over %d words were split)%s",
        *(name, len(places), len(passages), num_split, max_words),
        f"; fields not read: {', '.join(sorted(not_read))}" if not_read else "",
    )
    if num_kept := sum(one.redistributable is False for one in passages):
        logger.warning(
            "collection %s: %d passages are marked as not redistributable; nor are records that quote them",
            *(name, num_kept),
        )
    return passages


def own_passages(case: Case) -> list[Passage]:
    """The documents of the record as passages: they are given, not searched for."""
    return [
        Passage(f"{OWN_DOCUMENTS}/{one.document_id}", OWN_DOCUMENTS, one.text, one.title, one.source)
        for one in case.documents
    ]


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
        digest.update(json.dumps([one.passage_id, one.title, one.text], ensure_ascii=False).encode())
    return digest.hexdigest()


def _rows(name: str, path: Path) -> Iterable[_Row]:
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.suffix in TEXT_SUFFIXES and one.is_file())
        return (_Row(str(one), {"id": str(one.relative_to(path)), "text": _text(one)}) for one in files)
    if not path.is_file():
        raise InputError(f"retrieval.collections.{name}: {path}: no such file or folder")
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if path.suffix == ".jsonl":
        return _json_rows(path)
    if path.suffix in TEXT_SUFFIXES:
        return [_Row(str(path), {"id": path.stem, "text": _text(path)})]
    raise InputError(f"retrieval.collections.{name}: {path}: expected .jsonl, .parquet, .txt, .md or a folder")


def _document_id(row: _Row) -> str:
    given = _first(row.fields, ID_FIELDS)
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise InputError(f"{row.place}: no document_id (or id): {str(dict(row.fields))[:120]}")
    return str(given)


def _passages_of(name: str, document_id: str, row: _Row, max_words: int) -> list[Passage]:
    text = row.fields.get("text")
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{row.place}: document {document_id!r} has no text; leave it out, or give it one")
    named = {
        "title": row.fields.get("title"),
        "source": row.fields.get("source"),
        "licence": _first(row.fields, LICENCE_FIELDS),
    }
    for field, value in named.items():
        if value is not None and not isinstance(value, str):
            raise InputError(f"{row.place}: {field} is {value!r}; expected text or nothing")
    redistributable = row.fields.get("redistributable")
    if redistributable is not None and not isinstance(redistributable, bool):
        raise InputError(f"{row.place}: redistributable is {redistributable!r}; expected true, false or nothing")
    pieces = [text] if len(text.split()) <= max_words else split_text(text, max_words)
    return [
        Passage(
            f"{name}/{document_id}" + (f"#{number}" if len(pieces) > 1 else ""),
            *(name, piece, named["title"], named["source"], named["licence"], redistributable),
        )
        for number, piece in enumerate(pieces)
    ]


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _parquet_rows(path: Path) -> Iterator[_Row]:
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    for number, fields in enumerate(table.to_pylist(), start=1):
        yield _Row(f"{path} row {number}", fields)


def _json_rows(path: Path) -> Iterator[_Row]:
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{path}:{number}"
            try:
                fields = parse_json(line.decode("utf-8"), place)
            except UnicodeDecodeError:
                raise InputError(f"{place}: not UTF-8; save it as UTF-8") from None
            if not isinstance(fields, dict):
                raise InputError(f"{place}: expected a JSON object a line")
            yield _Row(place, fields)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; save it as UTF-8") from None
