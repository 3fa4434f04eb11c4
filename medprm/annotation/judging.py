"""What every judge gives back, and what is checked of it: one verdict a step, quotes that stand in the passage.

In: a case, its solutions' steps, the evidence they were shown. Out: one `JudgeVerdict` a step, as the record keeps it,
with what was refused or cut in its `extra`. A judge that could not be understood gives unknown for every step, never a
label.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from medprm.annotation.passages import Passage
from medprm.cases.schema import Case, Evidence, JudgeVerdict, Label

MOST_CITATIONS = 20  # of one verdict; more are refused
MOST_REASON_CHARACTERS = 1000
# In the `extra` of a verdict, where there are any.
NUM_REFUSED, NUM_CUT = "num_refused_citations", "num_cut_characters"


class Citation(NamedTuple):
    """A quote and the passage that it is said to stand in."""

    passage_id: str
    quote: str


class StepVerdict(NamedTuple):
    """What a judge says of one step."""

    verdict: Label
    reason: str
    citations: tuple[Citation, ...] = ()


class Judge(Protocol):
    """Whoever reads a solution with evidence."""

    model: str

    def judge(
        self, case: Case, solution_id: str, steps: Sequence[str], passages: Sequence[Passage]
    ) -> list[JudgeVerdict]: ...


def as_verdicts(
    said: Sequence[StepVerdict], passages: Sequence[Passage], model: str, prompt_hash: str | None = None
) -> list[JudgeVerdict]:
    """Verdicts with their citations checked: one that does not stand in its passage is left out and counted."""
    by_id = {one.passage_id: one for one in passages}
    verdicts = []
    for one in said:
        good = [cited for cited in one.citations if stands_in(cited, by_id.get(cited.passage_id))][:MOST_CITATIONS]
        lost = {
            NUM_REFUSED: len(one.citations) - len(good),
            NUM_CUT: max(0, len(one.reason) - MOST_REASON_CHARACTERS),
        }
        verdicts.append(
            JudgeVerdict(
                verdict=one.verdict,
                model=model,
                prompt_hash=prompt_hash,
                reason=one.reason[:MOST_REASON_CHARACTERS] or None,
                citations=tuple(as_evidence(cited, by_id[cited.passage_id]) for cited in good),
                extra={name: num for name, num in lost.items() if num} or None,
            )
        )
    return verdicts


def as_evidence(citation: Citation, passage: Passage) -> Evidence:
    """A citation as the record keeps it, with the licence of what it quotes where that is known."""
    terms = {"licence": passage.licence, "redistributable": passage.redistributable}
    terms = {name: value for name, value in terms.items() if value is not None}
    given = {"source": passage.source or passage.collection, "quote": citation.quote, "document_id": passage.passage_id}
    return Evidence.model_validate(given | ({"extra": terms} if terms else {}))


def all_unknown(num_steps: int, model: str, reason: str, prompt_hash: str | None = None) -> list[JudgeVerdict]:
    """The verdicts of a judge that could not be understood."""
    verdict = JudgeVerdict(verdict="unknown", model=model, prompt_hash=prompt_hash, reason=reason)
    return [verdict] * num_steps


def stands_in(citation: Citation, passage: Passage | None) -> bool:
    """Whether the quote stands in the passage word for word; case, spaces and punctuation at its ends do not count."""
    quote = _normal(citation.quote)
    return passage is not None and bool(quote) and quote in _normal(passage.text)


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" .,;:\"'“”‘’").casefold()
