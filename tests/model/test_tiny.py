"""The tiny base: its limits, its tokenizer, and what it can do as a policy."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from medprm.encoding.chat import check_control_tokens, leading_ids
from medprm.encoding.tokens import ADVANTAGE_LABELS, LabelTokens
from medprm.model.loading import load_checkpoint
from medprm.model.policy import measure_policy
from medprm.model.tiny import SPECIAL_TOKENS, shipped_base


def test_shipped_base_is_small() -> None:
    files = [file for file in shipped_base().iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 8 * 2**20
    loaded = load_checkpoint(shipped_base())
    assert sum(parameter.numel() for parameter in loaded.model.parameters()) <= 1_900_000
    assert loaded.prm is None


def test_tokenizer_knows_every_text() -> None:
    tokenizer = load_checkpoint(shipped_base()).tokenizer
    check_control_tokens(tokenizer)
    LabelTokens.look_up(tokenizer, labels=ADVANTAGE_LABELS)
    assert leading_ids(tokenizer) == [tokenizer.convert_tokens_to_ids("<s>")]
    for text in ("Pneumothorax, 38.5°C", "폐렴 🫁", "tabs\tand\n\nlines", "ÅÇÊ≥±"):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_control_tokens_are_single() -> None:
    tokenizer = Tokenizer.from_file(str(shipped_base() / "tokenizer.json"))
    for token in SPECIAL_TOKENS:
        assert len(tokenizer.encode(token, add_special_tokens=False).ids) == 1


def test_recorded_policy_is_within_its_limits() -> None:
    """Made by `python -m medprm.commands.pretrain`; the next test measures again."""
    measured = json.loads((shipped_base() / "pretraining.json").read_text())
    assert measured["greedy_parse_rate"] >= 0.95
    assert measured["continued_parse_rate"] >= 0.95
    assert 0.35 <= measured["greedy_accuracy"] <= 0.60


@pytest.mark.slow
def test_policy_on_held_out_patients() -> None:
    measured = measure_policy(load_checkpoint(shipped_base()), 100, np.random.default_rng(11))
    # Recorded were 1.0, 1.0 and 0.565 of 200 cases; of 100 others they differ by chance.
    assert measured["greedy_parse_rate"] >= 0.95
    assert measured["continued_parse_rate"] >= 0.93
    assert 0.35 <= measured["greedy_accuracy"] <= 0.72
