"""Which kind a case asks for, where its reference stands, and what is refused before any work."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprm.cases.answers import (
    AnswerMatcher,
    AnswerSettings,
    answers_match,
    canonical_answer,
    kind_of,
    last_step,
    reference_answer,
)
from medprm.cases.schema import Case, GoldStandard
from medprm.cases.settings import KINDS, Kind
from medprm.errors import InputError


def case(options: tuple[str, ...] = (), **gold: str) -> Case:
    standard = GoldStandard(**gold) if gold else None
    return Case(case_id="a", modality="text", question="Which?", options=options, gold_standard=standard)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (case(("yes", "no"), answer="yes"), "choice"),
        (case(("12", "13"), answer="12"), "choice"),
        (case(answer="Yes"), "yes_no"),
        (case(answer="maybe."), "yes_no"),
        (case(answer="J18.9"), "icd10"),
        (case(icd10="J18"), "icd10"),
        (case(answer="J18", icd10="J18"), "icd10"),
        (case(answer="12"), "number"),
        (case(answer="3.5 mmol/L"), "number"),
        (case(answer="One"), "number"),
        (case(diagnosis="pneumonia"), "diagnosis"),
        (case(answer="pneumonia", diagnosis="pneumonia"), "diagnosis"),
        (case(diagnosis="pneumonia", icd10="J18.9"), "diagnosis"),
        (case(answer="left lower lobe", diagnosis="pneumonia"), "open"),
        (case(answer="T5"), "open"),
        (case(answer="T12"), "open"),
        (case(answer="7th rib"), "open"),
        (case(answer="Not sure"), "open"),
        (case(), "open"),
    ],
)
def test_the_rule(asked: Case, kind: str) -> None:
    assert kind_of(asked, AnswerSettings()) == kind
    assert kind_of(asked, AnswerSettings(kind="open")) == "open"


def test_the_reference_of_each_kind() -> None:
    asked = case(answer="left", diagnosis="pneumonia", icd10="J18.9")
    assert [reference_answer(asked, kind) for kind in ("open", "diagnosis", "icd10", None)] == [
        *("left", "pneumonia", "J18.9", "left")
    ]
    assert reference_answer(case(answer="J18.9"), "icd10") == "J18.9"
    assert reference_answer(case(icd10="J18.9")) == "J18.9"
    assert reference_answer(case()) is None


@pytest.mark.parametrize(
    ("settings", "asked", "message"),
    [
        (
            AnswerSettings(kind="number"),
            case(answer="left"),
            "case a: answers.kind=number but its reference answer 'left'",
        ),
        (
            AnswerSettings(kind="icd10"),
            case(answer="left"),
            "answers.kind=icd10 but its reference answer 'left' is none",
        ),
        (AnswerSettings(kind="yes_no"), case(answer="left"), "answers.kind=yes_no but its reference answer"),
        (AnswerSettings(kind="choice"), case(answer="left"), "answers.kind=choice but it has no options"),
        (AnswerSettings(), case(("up", "down"), answer="left"), "'left' is none of its options"),
        (
            AnswerSettings(open="judge"),
            case(answer="12"),
            "answers.open=judge but no case asks for an answer of kind open ({'number': 1})",
        ),
        (AnswerSettings(icd10_level="chapter"), case(answer="12"), "answers.icd10_level=chapter but no case asks"),
    ],
)
def test_a_reference_of_another_kind_is_refused(settings: AnswerSettings, asked: Case, message: str) -> None:
    with pytest.raises(InputError) as error:
        AnswerMatcher(settings).check([asked])
    assert message in str(error.value)


def test_kinds_are_counted() -> None:
    cases = [case(answer="12"), case(answer="13"), case(), case(("A", "B"), answer="B")]
    counted = {"choice": 1, "number": 2, "open": 1, "without a reference answer": 1}
    assert AnswerMatcher().check(cases) == counted


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kind": "letter"}, "answers.kind is 'letter'; expected one of auto, choice, yes_no"),
        ({"icd10_level": "block"}, "answers.icd10_level"),
        ({"missing_unit": "guess"}, "answers.missing_unit"),
        ({"open": "ask"}, "answers.open"),
        ({"relative_tolerance": -0.1}, "answers.relative_tolerance is -0.1"),
        ({"kind": "icd10", "relative_tolerance": 0.1}, "answers.relative_tolerance is 0.1 with answers.kind=icd10"),
        ({"kind": "number", "synonyms": "x.jsonl"}, "which does not read it"),
        ({"kind": "diagnosis", "open": "judge"}, "choose answers.kind=open or auto"),
        ({"kind": "choice", "icd10_level": "chapter"}, "which does not read it"),
    ],
)
def test_settings_without_effect_are_refused(asked: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        AnswerSettings(**asked)
    assert message in str(error.value)


class SaysSame:
    """A judge of answers that finds everything the same, except what it cannot tell."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def means_same(self, case: Case, answer: str, reference: str) -> bool | None:
        self.asked.append(answer)
        return None if "?" in answer else True


def test_the_judge_is_asked_about_open_answers_in_other_words_only() -> None:
    judge = SaysSame()
    matcher = AnswerMatcher(AnswerSettings(open="judge"), judge)
    left = case(answer="the left lung")
    assert matcher.is_right(left, "Left lung.") is True and judge.asked == []
    assert matcher.is_right(left, "lung on the left") is True
    assert matcher.is_right(left, "which?") is None
    assert matcher.is_right(left, None) is None
    assert matcher.is_right(case(), "left") is None
    assert matcher.is_right(case(answer="12"), "13") is False
    assert matcher.is_right(case(("left", "right"), answer="left"), "other left") is False
    assert matcher.is_right(case(diagnosis="asthma"), "pneumonia") is False
    assert judge.asked == ["lung on the left", "which?"]


@pytest.mark.parametrize(
    ("gold", "answer"), [("12", "many"), ("J18.9", "pneumonia"), ("yes", "surely"), ("3.5 mmol/L", "3,5 mmol/L")]
)
def test_an_answer_that_is_none_of_its_kind_is_unparsed_and_not_wrong(gold: str, answer: str) -> None:
    assert AnswerMatcher().is_right(case(answer=gold), answer) is None


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("One.\nThe answer is B.", "The answer is B."),
        ("One.\n**Final answer:**\n\nB\n", "**Final answer:**\nB"),
        ("One.\nThe answer is:\nB", "The answer is:\nB"),
        ("One.\nThe final diagnosis is not simple.\nB", "B"),
        ('{\n"answer": "B"\n}', '"answer": "B"'),
        ("So\n\\boxed{B}", "Answer: B"),
        ("So\n<answer>\nB\n</answer>", "Answer: B"),
        (" \n\n", ""),
    ],
)
def test_the_last_step_has_its_heading(text: str, step: str) -> None:
    assert last_step(text) == step


TEXTS = st.lists(st.sampled_from(["yes", "no", "5", "mg", "J18.9", "B", "or", "not", "3,5", "<", "MI", "(", "."])).map(
    " ".join
)


@settings(deadline=None)  # a busy machine is no error
@given(TEXTS, TEXTS, st.sampled_from(KINDS))
def test_matches_are_symmetric_and_what_is_unparsed_never_matches(one: str, other: str, kind: Kind) -> None:
    options = ("up", "down") if kind == "choice" else ()
    assert answers_match(one, other, options, kind) == answers_match(other, one, options, kind)
    is_read = canonical_answer(one, options, kind) is not None
    assert answers_match(one, one, options, kind) == is_read
    assert not answers_match(None, one, options, kind) and not answers_match(one, None, options, kind)
