"""Evidence for a case: search by words and by meaning, fused by rank, packed whole into a budget of tokens.

In: a case, or a case and a step. Out: `Evidence` candidates as passages with their rank. A query is made of question,
options and clinical context (and the step's text, for the judge), never of the gold standard, an answer or a label.
Fusion: reciprocal ranks with k = 60 (Cormack, Clarke and Buettcher 2009).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from medprm.annotation.lexical import LexicalIndex
from medprm.annotation.passages import Passage
from medprm.cases.schema import Case
from medprm.encoding.turns import render_context

RANK_OFFSET = 60
NUM_SEARCHED = 50  # of each index, before fusion


class Index(Protocol):
    """Whatever ranks passages for a query."""

    def search(self, query: str, num_best: int) -> list[int]: ...


class Packed(NamedTuple):
    """Passages that fit into the budget, by rank, and how many of those found did not."""

    passages: list[Passage]
    num_left_out: int


class Retriever:
    """All collections, searched together."""

    def __init__(self, passages: Sequence[Passage], folder: Path, dense: Index | None = None) -> None:
        self.passages = passages
        self.indexes: list[Index] = [LexicalIndex(passages, folder), *([dense] if dense else [])]

    def search(self, query: str, num_best: int) -> list[Passage]:
        """The best passages of all indexes together."""
        rankings = [index.search(query, max(num_best, NUM_SEARCHED)) for index in self.indexes]
        return [self.passages[place] for place in fuse_rankings(rankings)[:num_best]]

    def for_steps(self, case: Case, steps: Sequence[str], num_best: int) -> list[Passage]:
        """What is found for the case and for each of its steps, one passage of each query in turn, without repeats."""
        queries = [case_query(case), *(step_query(case, step) for step in steps)]
        found = [self.search(query, num_best) for query in queries]
        merged: dict[str, Passage] = {}
        for rank in range(num_best):
            for ranking in found:
                if rank < len(ranking):
                    merged.setdefault(ranking[rank].passage_id, ranking[rank])
        return list(merged.values())


def fuse_rankings(rankings: Sequence[Sequence[int]]) -> list[int]:
    """Places by the sum of 1 / (60 + rank) over the rankings; at equal sums in order of place."""
    scores: defaultdict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, place in enumerate(ranking, start=1):
            scores[place] += 1.0 / (RANK_OFFSET + rank)
    return sorted(scores, key=lambda place: (-scores[place], place))


def case_query(case: Case) -> str:
    """What is asked and what is known."""
    return " ".join([case.question, *case.options, render_context(case.clinical_context)]).strip()


def step_query(case: Case, step: str) -> str:
    """The step first: what it claims is to be checked."""
    return f"{step} {case.question} {render_context(case.clinical_context)}".strip()


def pack_passages(passages: Sequence[Passage], max_tokens: int, count_tokens: Callable[[str], int]) -> Packed:
    """Whole passages by rank until the budget is full; one that does not fit is passed over for the next."""
    kept, used = [], 0
    for one in passages:
        size = count_tokens(f"{one.title or ''} {one.text}")
        if used + size <= max_tokens:
            kept.append(one)
            used += size
    return Packed(kept, len(passages) - len(kept))


def rough_tokens(text: str) -> int:
    """An upper guess where the judge's tokenizer is not at hand: three bytes a token, one more for the join."""
    return len(text.encode()) // 3 + 1
