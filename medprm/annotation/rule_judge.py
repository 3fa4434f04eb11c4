"""The built-in judge of the phantom's sentences: reads context and passages, and cannot see the film.

In: a case, steps, the passages retrieved for them. Out: verdicts with citations. It knows how the phantom's sentences
are built and nothing of its rules: those it takes from the passages, word for word. What it would have to see the film
for gets `unseen`. Guidelines differ: only that which the case's own documents come from holds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from medprm.annotation.judging import Citation, StepVerdict, as_verdicts
from medprm.annotation.passages import Passage
from medprm.cases.schema import Case, JudgeVerdict, Label
from medprm.encoding.turns import render_context

MODEL = "rule_judge-1"

TEST_RULE = re.compile(r"for the (?P<key>[a-z ]+?) (?P<value>\S+) comes first", re.IGNORECASE)
SIGN_RULE = re.compile(r"the sign of (?P<key>[a-z ]+) stands for (?P<value>[a-z ]+)", re.IGNORECASE)
CLUE_RULE = re.compile(r"(?P<key>[a-z ]+) points to (?P<value>[a-z ]+)", re.IGNORECASE)
DIAGNOSIS_RULE = re.compile(r"(?P<key>[a-z]+ with [a-z ]+) suggests (?P<value>[a-z ]+)", re.IGNORECASE)

FINDING = re.compile(r"(?:There is|The film shows) (?P<finding>[a-z]+)(?: in the (?:right|left) [a-z]+ zone)?\.$")
MECHANISM = re.compile(r"(?:Here this means|The sign stands for) (?P<claim>.+)\.$")
CONTEXT = re.compile(r"(?:The history of (?P<a>.+) points to (?P<b>.+)|With (?P<c>.+), (?P<d>.+) is likely)\.$")
DIAGNOSIS = re.compile(r"(?:The most likely diagnosis is|Together this suggests) (?P<claim>.+)\.$")
GUIDELINE = re.compile(r"The disease is of the (?P<place>[a-z]+), and (?P<rule>for the .+ comes first)\.$")
ANSWER = re.compile(r"The answer is (?P<claim>.+)\.$")


@dataclass
class _Facts:
    """The rules that the passages state: key -> (value, citation), all in small letters."""

    tests: dict[str, tuple[str, Citation]] = field(default_factory=dict)
    signs: dict[str, tuple[str, Citation]] = field(default_factory=dict)
    clues: dict[str, tuple[str, Citation]] = field(default_factory=dict)
    diagnoses: dict[str, tuple[str, Citation]] = field(default_factory=dict)


@dataclass
class _Claims:
    """What the solution has said so far."""

    finding: str | None = None
    cause: str | None = None
    diagnosis: str | None = None
    test: str | None = None


class RuleJudge:
    """A `Judge`."""

    model = MODEL

    def __init__(self, unseen: Label) -> None:
        self.unseen: Label = unseen

    def judge(
        self, case: Case, solution_id: str, steps: Sequence[str], passages: Sequence[Passage]
    ) -> list[JudgeVerdict]:
        facts, claims = read_facts(case, passages), _Claims()
        context = render_context(case.clinical_context).casefold()
        verdicts = [self._step(step, context, case.question, facts, claims) for step in steps]
        return as_verdicts(verdicts, passages, self.model)

    def _step(self, step: str, context: str, question: str, facts: _Facts, claims: _Claims) -> StepVerdict:
        if found := FINDING.match(step):
            claims.finding = found["finding"]
        elif found := MECHANISM.match(step):
            return _compare(facts.signs, claims.finding, found["claim"])
        elif found := CONTEXT.match(step):
            return self._context(found["a"] or found["c"], found["b"] or found["d"], context, facts, claims)
        elif found := DIAGNOSIS.match(step):
            claims.diagnosis = found["claim"]
            return _compare(facts.diagnoses, _together(context, facts, claims), found["claim"])
        elif found := GUIDELINE.match(step):
            rule = TEST_RULE.match(found["rule"])
            assert rule is not None, step
            claims.test = rule["value"]
            return _compare(facts.tests, rule["key"], rule["value"])
        elif found := ANSWER.match(step):
            return self._answer(found["claim"], context, question, facts, claims)
        return StepVerdict(self.unseen, "the film would have to be seen")

    def _context(self, clue: str, cause: str, context: str, facts: _Facts, claims: _Claims) -> StepVerdict:
        claims.cause = cause
        if clue.casefold() not in context:
            return StepVerdict("incorrect", f"the context does not mention {clue}")
        return _compare(facts.clues, clue, cause)

    def _answer(self, claim: str, context: str, question: str, facts: _Facts, claims: _Claims) -> StepVerdict:
        concluded = claims.test if "guideline" in question else claims.diagnosis
        if concluded is not None:
            verdict: Label = "correct" if concluded.casefold() == claim.casefold() else "incorrect"
            return StepVerdict(verdict, f"the steps before it conclude {concluded}")
        return _compare(facts.diagnoses, _together(context, facts, claims), claim)


def read_facts(case: Case, passages: Sequence[Passage]) -> _Facts:
    """The rules stated in the passages; of tests only those of the guideline that the case's own documents are from."""
    facts = _Facts()
    own = {document.source for document in case.documents if document.source}
    for one in passages:
        if found := TEST_RULE.search(one.text):
            if one.source in own:
                _keep(facts.tests, found, one)
        elif found := SIGN_RULE.match(one.text):
            _keep(facts.signs, found, one)
        elif found := DIAGNOSIS_RULE.match(one.text):
            _keep(facts.diagnoses, found, one)
        elif found := CLUE_RULE.match(one.text):
            _keep(facts.clues, found, one)
    return facts


def _keep(rules: dict[str, tuple[str, Citation]], found: re.Match[str], passage: Passage) -> None:
    rules.setdefault(found["key"].casefold(), (found["value"].casefold(), Citation(passage.passage_id, found.group(0))))


def _together(context: str, facts: _Facts, claims: _Claims) -> str | None:
    """`finding with cause`, the cause as the solution says it, else as a clue in the context points to it."""
    cause = claims.cause or next((cause for clue, (cause, _) in facts.clues.items() if clue in context), None)
    return f"{claims.finding} with {cause}" if claims.finding and cause else None


def _compare(rules: dict[str, tuple[str, Citation]], key: str | None, claim: str) -> StepVerdict:
    if key is None or key.casefold() not in rules:
        return StepVerdict("unknown", "no passage speaks of it")
    value, citation = rules[key.casefold()]
    is_same = value == claim.casefold()
    return StepVerdict("correct" if is_same else "incorrect", f"the passage says {value}", (citation,))
