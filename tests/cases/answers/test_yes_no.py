"""Yes, no and maybe: one word, said for certain."""

import pytest

from medprm.cases.answers import answers_match, parse_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is yes.", "yes"),
        ("The answer is No", "no"),
        ("Answer: Maybe.", "maybe"),
        ("**Final answer:** **Yes**", "yes"),
        ("Yes, the heart is enlarged.", "yes"),
        ("No, there is no effusion.", "no"),
        ("No. There is none.", "no"),
        ("Yes", "yes"),
        ("Therefore, the answer is: no, because both sides are clear.", "no"),
        ("So, yes.", "yes"),
        ("The answer is most likely yes.", "yes"),
        ("The answer to this question is no.", "no"),
        ('The correct answer is "maybe".', "maybe"),
        (r"\boxed{no}", "no"),
        ("<answer>yes</answer>", "yes"),
        ("Answer: Yes — the lung is collapsed", "yes"),
        ("No because it is normal", "no"),
        ("No effusion is seen.", None),
        ("The answer is no evidence of disease.", None),
        ("Yes and no.", None),
        ("The answer is yes or no.", None),
        ("Answer: yes/no", None),
        ("Yes, maybe.", None),
        ("The answer is possibly yes.", None),
        ("The answer is not yes.", None),
        ("I am not sure.", None),
        ("The answer is unclear.", None),
        ("The evidence says yes", None),
        ("Yesterday it was larger.", None),
        ("", None),
    ],
)
def test_what_is_read(text: str, answer: str | None) -> None:
    assert parse_answer(text, kind="yes_no") == answer


@pytest.mark.parametrize("one", ["yes", "no", "maybe"])
@pytest.mark.parametrize("other", ["Yes.", "NO", "Maybe, it is unclear"])
def test_each_matches_itself_only(one: str, other: str) -> None:
    assert answers_match(one, other, kind="yes_no") == other.lower().startswith(one)


def test_what_is_no_such_word_matches_nothing() -> None:
    assert not answers_match("unclear", "unclear", kind="yes_no")
    assert not answers_match("unclear", "maybe", kind="yes_no")
