"""Collections: every kind of file, what is refused and where, what is split, and what the log says of it."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from medprm.annotation.passages import OWN_DOCUMENTS, own_passages, read_collection, read_collections, split_text
from medprm.cases.schema import Case, Document
from medprm.errors import InputError

ROWS = [
    {"document_id": "a", "text": "One.", "source": "s", "title": "T", "licence": "CC BY 4.0", "redistributable": True},
    {"document_id": "b", "text": "Two."},
]


def write_jsonl(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_every_kind_of_file(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl", *ROWS)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "x.parquet")
    (tmp_path / "texts" / "deep").mkdir(parents=True)
    (tmp_path / "texts" / "a.txt").write_text("One.")
    (tmp_path / "texts" / "deep" / "b.md").write_text("Two.")
    for name in ("x.jsonl", "x.parquet", "texts"):
        assert [one.text for one in read_collection("c", tmp_path / name, 100)] == ["One.", "Two."]
    assert [one.text for one in read_collection("c", tmp_path / "texts" / "a.txt", 100)] == ["One."]
    first, second = read_collection("c", tmp_path / "x.parquet", 100)
    assert (first.passage_id, first.source, first.title) == ("c/a", "s", "T")
    assert (first.licence, first.redistributable) == ("CC BY 4.0", True)
    assert (second.licence, second.redistributable) == (None, None)


def test_both_spellings_and_numbers_as_ids(tmp_path: Path) -> None:
    rows = [{"id": number, "text": "x", "license": "MIT"} for number in (0, 1)]
    found = read_collection("c", write_jsonl(tmp_path / "x.jsonl", *rows), 100)
    assert [one.passage_id for one in found] == ["c/0", "c/1"] and found[0].licence == "MIT"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"document_id": "b"}, "document 'b' has no text"),
        ({"document_id": "b", "text": " \n"}, "document 'b' has no text"),
        ({"text": "x"}, "no document_id"),
        ({"document_id": ["b"], "text": "x"}, "no document_id"),
        ({"document_id": "a", "text": "x"}, "document 'a' stands there twice, before at .*x.jsonl:1"),
        ({"document_id": "b", "text": "x", "licence": 4}, "licence is 4; expected text"),
        ({"document_id": "b", "text": "x", "redistributable": "no"}, "redistributable is 'no'; expected true, false"),
        ('{"document_id": "b", "text": NaN}', "NaN"),
        ("[]", "expected a JSON object a line"),
        ("{", "broken JSON"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, row: object, message: str) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", {"document_id": "a", "text": "One."}, row)
    with pytest.raises(InputError, match=f"x.jsonl:2.*{message}"):
        read_collection("c", path, 100)
    if isinstance(row, dict) and "twice" not in message and not isinstance(row.get("document_id"), list):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "x.parquet")
        with pytest.raises(InputError, match=f"x.parquet row 1: .*{message}"):
            read_collection("c", tmp_path / "x.parquet", 100)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Ödem".encode("latin-1"))
    (tmp_path / "latin.jsonl").write_bytes('{"id": "a", "text": "Ödem"}'.encode("latin-1"))
    (tmp_path / "x.parquet").write_text("no")
    (tmp_path / "x.csv").write_text("a,b")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("latin.txt", "not UTF-8"),
        ("latin.jsonl", "latin.jsonl:1: not UTF-8"),
        ("x.parquet", "not a Parquet file"),
        ("x.csv", "expected .jsonl, .parquet"),
        ("none.jsonl", "no such file"),
        ("empty", "no passage in it"),
    ):
        with pytest.raises(InputError, match=message):
            read_collection("c", tmp_path / name, 100)


def test_ids_are_unique_over_all_collections(tmp_path: Path) -> None:
    one = write_jsonl(tmp_path / "x.jsonl", {"id": "b/c", "text": "x"})
    two = write_jsonl(tmp_path / "y.jsonl", {"id": "c", "text": "x"})
    assert len(read_collections({"a": str(one), "b": str(two)}, 100)) == 2
    with pytest.raises(InputError, match="'a/b/c' stands there twice"):
        read_collections({"a": str(one), "a/b": str(two)}, 100)
    with pytest.raises(InputError, match="the name of a case's own documents"):
        read_collections({OWN_DOCUMENTS: str(one)}, 100)


def test_long_passages_are_split_and_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = " ".join(f"Sentence {n} has six words here." for n in range(50)) + " " + "word " * 40
    pieces = split_text(text, 25)
    assert all(len(one.split()) <= 25 for one in pieces)
    assert " ".join(pieces).split() == text.split()
    caplog.set_level("INFO")
    rows = [{"id": "a#1", "text": text, "redistributable": False, "chapter": 3}, {"id": "b", "text": "x"}]
    found = read_collection("c", write_jsonl(tmp_path / "x.jsonl", *rows), 25)
    assert [one.passage_id for one in found] == [f"c/a#1#{n}" for n in range(len(pieces))] + ["c/b"]
    assert not any(one.redistributable for one in found[:-1]) and found[-1].redistributable is None
    assert f"2 documents, {len(pieces) + 1} passages (1 documents of over 25 words were split)" in caplog.text
    assert "fields not read: chapter" in caplog.text
    assert f"{len(pieces)} passages are marked as not redistributable" in caplog.text


def test_a_case_s_own_documents_are_passages() -> None:
    document = Document(document_id="d", text="Text.", title="Title", source="Guideline")
    (found,) = own_passages(Case(case_id="a", modality="text", question="?", documents=(document,)))
    assert (found.passage_id, found.whole_text, found.source) == ("case/d", "Title Text.", "Guideline")
