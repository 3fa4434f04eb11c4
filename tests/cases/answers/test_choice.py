"""Multiple choice: what is plain is read as the option's text, what is unclear is None."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprm.cases.answers import answers_match, canonical_answer, parse_answer

OPTIONS = ("pneumonia", "heart failure", "pneumothorax", "tension pneumothorax")
LETTERS = "ABCD"


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
        ("**Final answer:** B", "heart failure"),
        ("**Answer**: (B) heart failure", "heart failure"),
        ("## Final answer\nB", "heart failure"),
        (r"The final answer is \boxed{B}.", "heart failure"),
        (r"$\boxed{\text{B}}$", "heart failure"),
        ("<answer>B</answer>", "heart failure"),
        ('{"reasoning": "crackles", "answer": "B"}', "heart failure"),
        ("The answer is most likely B.", "heart failure"),
        ("Therefore, the correct option is B, because A is wrong.", "heart failure"),
        ("The best answer to the question is B.", "heart failure"),
        ("B. Heart failure.", "heart failure"),
        ("Answer: option (c)", "pneumothorax"),
        ("The answer is B (heart failure), not A.", "heart failure"),
        ("The wrong answer is A. The correct answer is C.", "pneumothorax"),
        ("The answer is pneumonia because there is no effusion.", "pneumonia"),
        ("The answer is B, or possibly C.", None),
        ("The answer is both B and C.", None),
        ("B and C", None),
        ("Possibly B", None),
        ("The answer might be option B.", None),
        ("It is certainly not option B.", None),
        ("Option B is incorrect.", None),
        ("The answer is that there is no pneumonia.", None),
        ("The answer is either pneumonia or heart failure.", None),
        ("The answer is hydropneumothorax.", None),
        ("Answer: unclear, more tests are needed", None),
    ],
)
def test_as_models_write(text: str, answer: str | None) -> None:
    assert parse_answer(text, OPTIONS) == answer


@pytest.mark.parametrize(
    ("text", "options", "answer"),
    [
        ("Yes, there is one.", ("yes", "no"), "yes"),
        ("The answer is No.", ("Yes", "No"), "No"),
        ("The answer is (C).", ("yes", "no", "maybe"), "maybe"),
        ("The answer is yes or no.", ("yes", "no"), None),
        ("The answer is non-small cell lung cancer.", ("small cell lung cancer", "asthma"), None),
        ("The answer is none of the above.", ("asthma", "None of the above"), "None of the above"),
        ("The answer is vitamin B.", ("Vitamin A", "Vitamin B"), "Vitamin B"),
        ("The answer is 2.5 mg.", ("25 mg", "2.5 mg"), "2.5 mg"),
        ("The answer is oesophageal cancer.", ("Esophageal cancer", "Gastric cancer"), "Esophageal cancer"),
    ],
)
def test_of_other_options(text: str, options: tuple[str, ...], answer: str | None) -> None:
    assert parse_answer(text, options) == answer


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("form", ["{}", "({})", "{}.", "Choice_{}", "option {}"])
def test_letters_and_texts_match_their_own_option_only(place: int, form: str) -> None:
    answer = form.format(LETTERS[place])
    assert [answers_match(answer, gold, OPTIONS) for gold in OPTIONS] == [place == i for i in range(4)]
    assert canonical_answer(answer, OPTIONS) == canonical_answer(OPTIONS[place].upper(), OPTIONS)


WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=8)


@settings(deadline=None)  # a busy machine is no error
@given(st.lists(WORDS, min_size=2, max_size=8, unique=True), st.data())
def test_a_letter_is_its_options_text(options: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(options) - 1))
    letter = "ABCDEFGH"[place]
    for text in (f"The answer is ({letter}).", f"Answer: {letter}) {options[place]}", f"({letter}) {options[place]}"):
        assert parse_answer(text, options) == options[place]
    assert [answers_match(letter, other, options) for other in options] == [i == place for i in range(len(options))]
