"""Token F1 by hand, and findings as a kind of answer."""

import pytest

from medprm.cases.answers import AnswerMatcher, AnswerSettings
from medprm.cases.answers.findings import token_overlap
from medprm.cases.schema import Case, GoldStandard
from medprm.errors import InputError


def test_by_hand() -> None:
    found = token_overlap("Small left effusion, small nodule", "small effusion")
    assert tuple(found) == pytest.approx((2 / 5, 1, 4 / 7))
    assert tuple(token_overlap("Oedema.", "edema")) == (1, 1, 1), "spelling is of no account"
    assert tuple(token_overlap("effusion", "nodule")) == (0, 0, 0)
    assert token_overlap("left lung", "lung left").f1 == 1, "nor is the order"


def test_findings_are_right_from_the_least_f1_on() -> None:
    gold = GoldStandard(findings=("left effusion", "cardiomegaly"))
    case = Case(case_id="c", modality="chest_xray", question="What is seen?", gold_standard=gold)
    answer = "cardiomegaly and effusion on the right"
    f1 = token_overlap(answer, "left effusion, cardiomegaly").f1
    for least, is_right in ((f1, True), (f1 + 0.01, False)):
        matcher = AnswerMatcher(AnswerSettings(kind="findings", findings_least=least))
        assert matcher.is_right(case, answer) is is_right
        assert matcher.check([case]) == {"findings": 1}
    matcher = AnswerMatcher(AnswerSettings(kind="findings"))
    assert matcher.read(case, "Final answer: left effusion, cardiomegaly") == "left effusion, cardiomegaly"
    assert matcher.read(case, "Left effusion and cardiomegaly.") == "Left effusion and cardiomegaly."
    assert AnswerMatcher(AnswerSettings(kind="findings")).is_right(case, None) is None, "unparsed is not wrong"
    with pytest.raises(InputError, match="up to 1"):
        AnswerSettings(kind="findings", findings_least=0)
    with pytest.raises(InputError, match="choose answers.kind=findings"):
        AnswerSettings(kind="diagnosis", findings_least=0.4)
