"""Whether an answer is the reference answer.

In: answers as text, a kind, settings. Out: whether they mean the same; `AnswerMatcher` does it for cases, and asks a
judge about open answers, and a metric about findings, where it has one. What cannot be read is None: unparsed, neither
right nor wrong.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from medprm.cases.answers.choice import canonical_choice
from medprm.cases.answers.diagnosis import canonical_diagnosis
from medprm.cases.answers.findings import token_overlap
from medprm.cases.answers.icd10 import at_level, canonical_code
from medprm.cases.answers.kinds import kind_of, reference_answer
from medprm.cases.answers.number import canonical_quantity, quantities_match, read_quantity
from medprm.cases.answers.reading import parse_answer
from medprm.cases.answers.synonyms import read_synonyms
from medprm.cases.answers.wording import normalise
from medprm.cases.answers.yes_no import canonical_yes_no
from medprm.cases.schema import Case
from medprm.cases.settings import AnswerSettings, Kind
from medprm.errors import InputError


def answers_match(
    answer: str | None,
    gold: str | None,
    options: Sequence[str] = (),
    kind: Kind | None = None,
    settings: AnswerSettings = AnswerSettings(),
) -> bool:
    """Whether two answers mean the same. None, and what cannot be read as an answer of its kind, never matches."""
    if answer is None or gold is None:
        return False
    if kind == "number":
        one, reference = read_quantity(answer), read_quantity(gold)
        return one is not None and reference is not None and quantities_match(one, reference, settings)
    if kind == "findings":
        assert settings.findings_metric == "token_f1", (
            f"{settings.findings_metric} scores cases: AnswerMatcher(metric=)"
        )
        return token_overlap(answer, gold).f1 >= settings.findings_least
    canonical = canonical_answer(answer, options, kind, settings)
    return canonical is not None and canonical == canonical_answer(gold, options, kind, settings)


def canonical_answer(
    answer: str,
    options: Sequence[str] = (),
    kind: Kind | None = None,
    settings: AnswerSettings = AnswerSettings(),
) -> str | None:
    """What equal answers have in common; None where it cannot be read as an answer of its kind.

    Numbers within the tolerance of each other, and findings with enough words in common, need not have it in common:
    their canonical text is exact.
    """
    kind = kind or ("choice" if options else "open")
    if kind == "choice":
        return canonical_choice(answer, options)
    if kind == "yes_no":
        return canonical_yes_no(answer)
    if kind == "number":
        quantity = read_quantity(answer)
        return None if quantity is None else canonical_quantity(quantity)
    if kind == "icd10":
        code = canonical_code(answer)
        return None if code is None else at_level(code, settings.icd10_level)
    if kind == "diagnosis":
        return canonical_diagnosis(answer, read_synonyms(settings.synonyms))
    return normalise(answer) or None if kind == "findings" else normalise(answer)  # without a word nothing was found


class AnswerJudge(Protocol):
    """Whoever says whether an open answer means the same as the reference; None where that cannot be said."""

    def means_same(self, case: Case, answer: str, reference: str) -> bool | None: ...


class FindingsMetric(Protocol):
    """How much findings say what the reference says, in [0, 1]; None where the metric has no score for the two."""

    def score(self, answer: str, reference: str) -> float | None: ...


@dataclass(frozen=True)
class AnswerMatcher:
    """Reads and compares the answers of cases.

    `judge` is asked about open ones, `metric` about findings, each where the words are others than the reference's.
    """

    settings: AnswerSettings = field(default_factory=AnswerSettings)
    judge: AnswerJudge | None = None
    metric: FindingsMetric | None = None

    def read(self, case: Case, text: str) -> str | None:
        """The answer that the last step of a solution gives; None where it is unparsed."""
        return parse_answer(text, case.options, kind_of(case, self.settings))

    def is_right(self, case: Case, answer: str | None) -> bool | None:
        """Whether an answer is the reference answer; None where there is none, or the answer cannot be compared."""
        kind = kind_of(case, self.settings)
        reference = reference_answer(case, kind)
        if answer is None or reference is None:
            return None
        canonical = canonical_answer(answer, case.options, kind, self.settings)
        if canonical is None:
            return None
        if kind == "findings" and self.metric is not None:
            if canonical == canonical_answer(reference, case.options, kind, self.settings):
                return True
            score = self.metric.score(answer, reference)
            return None if score is None else score >= self.settings.findings_least
        is_same = answers_match(answer, reference, case.options, kind, self.settings)
        if kind != "open" or self.judge is None or is_same:
            return is_same
        return self.judge.means_same(case, answer, reference)

    def check(self, cases: Iterable[Case]) -> dict[str, int]:
        """How many cases ask for each kind. InputError for a reference of another kind, a setting without use."""
        counts: Counter[str] = Counter()
        for case in cases:
            kind = kind_of(case, self.settings)
            counts[kind] += 1
            counts["without a reference answer"] += reference_answer(case, kind) is None
            self._check_reference(case, kind)
        if counts["diagnosis"]:
            read_synonyms(self.settings.synonyms)
        counted = {kind: count for kind, count in sorted(counts.items()) if count}
        for name, kind in self.settings.given().items():
            if not counts[kind]:
                raise InputError(
                    f"answers.{name}={getattr(self.settings, name)} but no case asks for an answer of kind {kind} "
                    f"({counted}); leave it out"
                )
        return counted

    def _check_reference(self, case: Case, kind: Kind) -> None:
        reference = reference_answer(case, kind)
        where = f"case {case.case_id}: answers.kind={self.settings.kind}"
        if kind == "choice" and not case.options:
            raise InputError(f"{where} but it has no options; choose answers.kind=auto or another kind")
        if reference is None:
            return
        canonical = canonical_answer(reference, case.options, kind, self.settings)
        if kind == "choice" and canonical not in {normalise(option) for option in case.options}:
            raise InputError(f"{where}: its reference answer {reference!r} is none of its options {list(case.options)}")
        if canonical is None:
            raise InputError(
                f"{where} but its reference answer {reference!r} is none of that kind; choose another kind"
            )
