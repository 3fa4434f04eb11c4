"""Evidence for a case: search by words and by meaning, fused by rank, packed whole into a budget of tokens.

In: a case and its steps. Out: passages, best first. A query is made of question, options and clinical context (and the
step's text, for the judge), never of the gold standard, an answer or a label. Fusion: reciprocal ranks with k = 60
(Cormack, Clarke and Buettcher 2009).
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from medprm.annotation.dense import DenseIndex
from medprm.annotation.evidence_packing import EvidencePacker
from medprm.annotation.found_store import FoundStore
from medprm.annotation.lexical import LexicalIndex
from medprm.annotation.passages import Passage, own_passages, read_collections
from medprm.annotation.server_judge import SYSTEM, judge_prompt
from medprm.annotation.settings import RetrievalSettings
from medprm.cases.schema import Case
from medprm.encoding.turns import render_context
from medprm.errors import InputError

logger = logging.getLogger(__name__)

RANK_OFFSET = 60
NUM_SEARCHED = 50  # of each index, before fusion


class Index(Protocol):
    """Whatever ranks passages for a query; another `name` may answer otherwise."""

    name: str

    def search(self, query: str, num_best: int) -> list[int]: ...


class Retriever:
    """All collections, searched together; `found_file` keeps what was found."""

    def __init__(self, passages: Sequence[Passage], indexes: Sequence[Index], num_best: int, found_file: Path) -> None:
        self.passages = passages
        self.indexes = indexes
        self.num_best = num_best
        asked = [*(index.name for index in indexes), str(RANK_OFFSET), str(NUM_SEARCHED), str(num_best)]
        self.found_store = FoundStore(found_file, " ".join(asked))

    @property
    def num_searched(self) -> int:
        """Queries that were not known from before."""
        return self.found_store.num_put

    def search(self, query: str) -> list[Passage]:
        """The best passages of all indexes together."""
        return self._search_all([query])[query]

    def for_steps(self, case: Case, steps: Sequence[str]) -> list[Passage]:
        """What is found for the case and for each of its steps, one passage of each query in turn, without repeats."""
        queries = [case_query(case), *(step_query(case, step) for step in steps)]
        found = self._search_all(queries)
        merged: dict[str, Passage] = {}
        for rank in range(self.num_best):
            for query in queries:
                if rank < len(found[query]):
                    merged.setdefault(found[query][rank].passage_id, found[query][rank])
        return list(merged.values())

    def _search_all(self, queries: Sequence[str]) -> dict[str, list[Passage]]:
        """Each query once; those of an earlier solution or run are not searched again."""
        places = self.found_store.get(queries)
        missing = [query for query in dict.fromkeys(queries) if query not in places]
        new = {query: self._search(query) for query in missing}
        self.found_store.put(new)
        return {query: [self.passages[place] for place in found] for query, found in (places | new).items()}

    def _search(self, query: str) -> list[int]:
        rankings = [index.search(query, max(self.num_best, NUM_SEARCHED)) for index in self.indexes]
        return fuse_rankings(rankings)[: self.num_best]


class EvidenceFinder:
    """What a judge is shown for a solution; `shows_answer`: the reference answer stands beside it."""

    def __init__(self, retriever: Retriever, packer: EvidencePacker, shows_answer: bool = False) -> None:
        self.retriever = retriever
        self.packer = packer
        self.shows_answer = shows_answer

    def say_sums(self) -> None:
        """What was searched, found and left out over the run."""
        num_long = sum(one.num_long_queries for one in self.retriever.indexes if isinstance(one, DenseIndex))
        logger.info(
            "%d queries searched; %d of them are over the query encoder's window", self.retriever.num_searched, num_long
        )
        self.packer.say_sums()

    def close(self) -> None:
        self.retriever.found_store.close()

    def for_solution(self, case: Case, solution_id: str, steps: Sequence[str]) -> list[Passage]:
        """The case's own documents and what is found for its steps, within the budget."""
        found = self.retriever.for_steps(case, steps)
        beside = (SYSTEM, judge_prompt(case, steps, [], self.shows_answer))
        return self.packer.pack([*own_passages(case), *found], beside, solution_id)


def open_evidence(
    settings: RetrievalSettings,
    collections: Mapping[str, str],
    indexes: Path,
    found_file: Path,
    shows_answer: bool = False,
) -> EvidenceFinder:
    """Read the collections and open their indexes below `indexes`: by words and, with an encoder, by meaning."""
    if not collections:
        raise InputError("retrieval.collections is empty; name at least one: retrieval.collections.guidelines=FILE")
    passages = read_collections(collections, settings.max_passage_words)
    logger.info("%d passages of %s are searched", len(passages), ", ".join(collections))
    opened: list[Index] = [LexicalIndex(passages, indexes)]
    if settings.dense.passage_encoder is not None:
        opened.append(DenseIndex(passages, settings.dense, indexes))
    retriever = Retriever(passages, opened, settings.num_passages, found_file)
    return EvidenceFinder(retriever, EvidencePacker(settings), shows_answer)


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
