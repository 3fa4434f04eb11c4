"""Settings are checked where they are made."""

from typing import Any

import pytest

from medprm.encoding.prompts import PROMPTS
from medprm.encoding.settings import PROMPT_NAMES, EncodingSettings, LabelSettings
from medprm.errors import InputError


def test_every_named_prompt_exists() -> None:
    assert set(PROMPT_NAMES) == set(PROMPTS)
    assert all(name == prompt.name for name, prompt in PROMPTS.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "mine"}, "encoding.prompt is 'mine'; expected one of medprm"),
        ({"history": "gold"}, "encoding.history"),
        ({"blank": ["image"]}, "encoding.blank is 'image'; expected one of images"),
        ({"max_text_tokens": 0}, "max_text_tokens"),
        ({"max_document_tokens": 5000}, "max_document_tokens"),
    ],
)
def test_wrong_encoding_settings_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EncodingSettings(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "hard"}, "labels.kind is 'hard'"),
        ({"kind": "value", "mc_threshold": 1.0}, "mc_threshold"),
        ({"mc_threshold": 0.1}, "only labels.kind=value reads it"),
        ({"advantage_margin": 0.1}, "only labels.kind=advantage reads it"),
    ],
)
def test_wrong_or_unread_label_settings_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelSettings(**fields)
