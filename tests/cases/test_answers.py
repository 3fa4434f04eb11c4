"""Answers: what is plain is read, what is unclear is None."""

import pytest

from medprm.cases.answers import answers_match, canonical_answer, parse_answer

OPTIONS = ("pneumonia", "heart failure", "pneumothorax", "tension pneumothorax")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is (B)", "heart failure"),
        ("The answer is B.", "heart failure"),
        ("The final answer is (b).", "heart failure"),
        ("Answer: B because of the enlarged heart", "heart failure"),
        ("answer: pneumonia", "pneumonia"),
        ("Answer: **Pneumonia**.", "pneumonia"),
        ("(A) pneumonia", "pneumonia"),
        ("B) heart failure", "heart failure"),
        ("B", "heart failure"),
        ("heart failure", "heart failure"),
        ("So it is Choice_C", "pneumothorax"),
        ("Solution: Choice_B: heart failure", "heart failure"),
        ("Answer: A was my first thought. Answer: C", "pneumothorax"),
        ("The answer is a tension pneumothorax on the left", "tension pneumothorax"),
        ("The answer is: A or C", None),
        ("Solution: Choice_A/B", None),
        ("The answer is not A", None),
        ("(A) heart failure", None),
        ("Answer: E", None),
        ("A large effusion is seen", None),
        ("Pneumonia and heart failure are both possible", None),
        ("None of the choices fits", None),
        ("", None),
    ],
)
def test_options_are_read_by_letter_and_by_text(text: str, answer: str | None) -> None:
    assert parse_answer(text, OPTIONS) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes.", "yes"),
        ("No, there is none", "no"),
        ("The answer is yes.", "yes"),
        ("Answer: left lower lobe pneumonia. It is early.", "left lower lobe pneumonia"),
        ("No pleural effusion is seen", None),
        ("The heart is large", None),
    ],
)
def test_open_answers_need_a_cue(text: str, answer: str | None) -> None:
    assert parse_answer(text) == answer


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("form", ["{}", "({})", "{}.", "Choice_{}", "option {}"])
def test_letters_and_texts_match_their_own_option_only(place: int, form: str) -> None:
    answer = form.format("ABCD"[place])
    assert [answers_match(answer, gold, OPTIONS) for gold in OPTIONS] == [place == i for i in range(4)]
    assert canonical_answer(answer, OPTIONS) == canonical_answer(OPTIONS[place].upper(), OPTIONS)


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("The Lung.", "lung", True),
        ("2.5 mg", "25 mg", False),
        ("+", "-", False),
        (None, "x", False),
        ("x", None, False),
        (None, None, False),
        ("left", "right", False),
    ],
)
def test_texts_match_after_normalising(answer: str | None, gold: str | None, expected: bool) -> None:
    assert answers_match(answer, gold) is expected
