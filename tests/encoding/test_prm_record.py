"""A checkpoint's description of itself gives the same encoder back."""

import json

import pytest
from tiny import TOKENS_PER_TILE, full_record, tiny_encoder, tiny_tokenizer

from medprm.encoding.chat import EncodingError
from medprm.encoding.prm_record import describe_prm, restore_prm
from medprm.encoding.settings import LabelSettings


@pytest.mark.parametrize("prompt", ["medprm", "visualprm_v1"])
def test_the_restored_encoder_gives_the_same_ids(prompt: str) -> None:
    encoder = tiny_encoder(prompt=prompt, max_document_tokens=7)
    prm = json.loads(json.dumps(describe_prm(encoder, LabelSettings(kind="advantage"))))
    restored = restore_prm(prm, tiny_tokenizer(), TOKENS_PER_TILE, "folder")
    record = full_record()
    assert restored.encoder.encode(record.case(), record.step_texts, [1]) == encoder.encode(
        record.case(), record.step_texts, [1]
    )
    assert restored.label_tokens.texts == ("+", "=", "-")
    assert restored.labels == LabelSettings(kind="advantage")


def test_a_changed_prompt_in_the_checkpoint_is_used() -> None:
    prm = describe_prm(tiny_encoder(), LabelSettings())
    prm["prompt"] = prm["prompt"] | {"system": "Another prompt."}
    restored = restore_prm(prm, tiny_tokenizer(), TOKENS_PER_TILE, "folder")
    record = full_record()
    ids = restored.encoder.encode(record.case(), record.step_texts, [1]).input_ids
    assert "Another prompt." in tiny_tokenizer().decode(ids)


def test_a_folder_that_is_not_a_prm_is_refused() -> None:
    with pytest.raises(EncodingError, match=r"folder: medprm\.json lacks prompt"):
        restore_prm(None, tiny_tokenizer(), TOKENS_PER_TILE, "folder")


def test_other_label_ids_are_refused() -> None:
    prm = describe_prm(tiny_encoder(), LabelSettings())
    prm["label_tokens"] = {"+": 1, "-": 2}
    with pytest.raises(EncodingError, match="mixes files"):
        restore_prm(prm, tiny_tokenizer(), TOKENS_PER_TILE, "folder")
