"""Steps of free text: nothing is lost, and the marks that a writer makes decide."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medprm.cases.steps import merge_steps, split_steps

CASES = {
    "Step 1: a\nStep 2: b\nStep 3: c": ["Step 1: a", "Step 2: b", "Step 3: c"],
    "Step 1: a\n\nmore of a\n\nStep 2: b": ["Step 1: a\n\nmore of a", "Step 2: b"],
    "Let us see.\n\nStep 1: a\nStep 2: b": ["Let us see.\n\nStep 1: a", "Step 2: b"],
    "**Step 1:** a\n**Step 2:** b\n\n**Final answer:** (B)": [
        "**Step 1:** a",
        "**Step 2:** b",
        "**Final answer:** (B)",
    ],
    "## Step 1: a\n## Step 2: b\nThe answer is (B).": ["## Step 1: a", "## Step 2: b", "The answer is (B)."],
    "Step 1. a\nStep 2. b": ["Step 1. a", "Step 2. b"],
    "First a.\n\nThen b.\n\nSo c.": ["First a.", "Then b.", "So c."],
    "First a,\nstill a.\n \nThen b.": ["First a,\nstill a.", "Then b."],
    "There is effusion.\nThe answer is empyema.": ["There is effusion.", "The answer is empyema."],
    "One paragraph. With two sentences.": ["One paragraph. With two sentences."],
    "Only Step 1: here": ["Only Step 1: here"],
    "a\r\n\r\nb": ["a", "b"],
    "In step 2 we saw\n\nthat step 3: holds": ["In step 2 we saw", "that step 3: holds"],
    "": [],
    " \n\n ": [],
}


@pytest.mark.parametrize("text", CASES)
def test_known_texts(text: str) -> None:
    assert split_steps(text) == CASES[text]


@given(st.lists(st.text("abc \n:.1", max_size=12), max_size=8).map("\n".join), st.integers(1, 5))
def test_no_character_is_lost(text: str, max_steps: int) -> None:
    for steps in (split_steps(text), split_steps(text, max_steps)):
        assert re.sub(r"\s", "", "".join(steps)) == re.sub(r"\s", "", text)
        assert all(step.strip() == step and step for step in steps)
    assert len(split_steps(text, max_steps)) <= max_steps


def test_groups_are_of_one_size_but_for_the_last() -> None:
    assert merge_steps(list("abcdefghijklm"), 12) == ["a\nb", "c\nd", "e\nf", "g\nh", "i\nj", "k\nl", "m"]
    assert merge_steps(list("abc"), 3) == ["a", "b", "c"]
    assert merge_steps([], 3) == []
