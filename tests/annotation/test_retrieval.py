"""Collections, the index and its cache, fusion, packing; a query holds nothing of the gold standard."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from medprm.annotation.lexical import LexicalIndex, words_of
from medprm.annotation.passages import Passage, read_collection, read_collections, split_text
from medprm.annotation.retrieval import Retriever, case_query, fuse_rankings, pack_passages, rough_tokens, step_query
from medprm.cases.schema import Case, ClinicalContext, GoldStandard
from medprm.errors import InputError

TEXTS = [
    "Effusion is fluid in the pleural space.",
    "Pneumothorax is air.",
    "CT comes first for the lung.",
    "Fluid, fluid.",
]
PASSAGES = [Passage(f"g/{i}", "g", text) for i, text in enumerate(TEXTS)]


def test_every_kind_of_file(tmp_path: Path) -> None:
    rows = [{"document_id": "a", "text": "One.", "source": "s"}, {"document_id": "b", "text": "Two."}]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    (tmp_path / "texts" / "deep").mkdir(parents=True)
    (tmp_path / "texts" / "a.txt").write_text("One.")
    (tmp_path / "texts" / "deep" / "b.md").write_text("Two.")
    for name in ("x.jsonl", "x.parquet", "texts"):
        assert [one.text for one in read_collection("c", tmp_path / name, 100)] == ["One.", "Two."]
    with pytest.raises(InputError, match="no such file"):
        read_collection("c", tmp_path / "none.jsonl", 100)
    (tmp_path / "y.jsonl").write_text("\n".join(map(json.dumps, rows * 2)))
    with pytest.raises(InputError, match="twice"):
        read_collections({"c": str(tmp_path / "y.jsonl")}, 100)
    (tmp_path / "bad.jsonl").write_text('{"document_id": "a"}\n')
    with pytest.raises(InputError, match="no document_id"):
        read_collection("c", tmp_path / "bad.jsonl", 100)


def test_long_passages_are_split_and_nothing_is_lost() -> None:
    text = " ".join(f"Sentence {n} has six words here." for n in range(50)) + " " + "word " * 40
    pieces = split_text(text, 25)
    assert all(len(one.split()) <= 25 for one in pieces)
    assert " ".join(pieces).split() == text.split()


def test_search_and_cache(tmp_path: Path) -> None:
    index = LexicalIndex(PASSAGES, tmp_path)
    assert index.search("fluid", 4) == [3, 0]
    assert index.search("lungs", 4) == [2]
    assert index.search("zebra", 4) == [] and index.search("", 4) == []
    before = index.folder.stat().st_mtime_ns
    assert LexicalIndex(PASSAGES, tmp_path).folder.stat().st_mtime_ns == before
    assert LexicalIndex(PASSAGES[:3], tmp_path).folder != index.folder
    assert words_of("The effusions of glass") == ["effusion", "glass"]


def test_fusion_is_by_rank() -> None:
    assert fuse_rankings([[1, 2, 3], [3, 1]]) == [1, 3, 2]
    assert fuse_rankings([[5], [4]]) == [4, 5]


def test_packing_takes_whole_passages() -> None:
    packed = pack_passages(PASSAGES, 14, lambda text: len(text.split()))
    assert [one.text for one in packed.passages] == [TEXTS[0], TEXTS[1], TEXTS[3]] and packed.num_left_out == 1
    assert rough_tokens("a" * 300) > 75


def test_queries_hold_no_gold() -> None:
    case = Case(
        case_id="CASE-ID", modality="text", question="Which?", options=("x", "y"),
        clinical_context=ClinicalContext(symptoms=("cough",)),
        gold_standard=GoldStandard(answer="GOLD", diagnosis="GOLD", findings=("GOLD",)),
    )  # fmt: skip
    for query in (case_query(case), step_query(case, "It is fluid.")):
        assert "GOLD" not in query and "CASE-ID" not in query and "cough" in query
    assert "x y" in case_query(case) and step_query(case, "It is fluid.").startswith("It is fluid.")


def test_each_query_has_its_turn(tmp_path: Path) -> None:
    case = Case(case_id="a", modality="text", question="What is air?")
    found = Retriever(PASSAGES, tmp_path).for_steps(case, ["fluid", "lung"], 2)
    assert [one.passage_id for one in found][:3] == ["g/1", "g/3", "g/2"]
    assert len(found) == len({one.passage_id for one in found})
