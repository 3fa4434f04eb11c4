"""Label tokens are looked up in the place where the model reads them."""

import pytest
from tiny import tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from medprm.encoding.chat import INTERNVL2_5, EncodingError
from medprm.encoding.tokens import ADVANTAGE_LABELS, LabelTokens


def test_label_ids_are_what_the_template_produces() -> None:
    tokenizer = tiny_tokenizer()
    found = LabelTokens.look_up(tokenizer, INTERNVL2_5, ADVANTAGE_LABELS)
    assert found.texts == ("+", "=", "-")
    for text, label_id in zip(found.texts, found.ids, strict=True):
        turn = INTERNVL2_5.assistant_header + text + INTERNVL2_5.turn_end
        ids = tokenizer(turn, add_special_tokens=False)["input_ids"]
        header = tokenizer(INTERNVL2_5.assistant_header, add_special_tokens=False)["input_ids"]
        assert ids[len(header)] == label_id
        assert tokenizer.decode([label_id]) == text


def test_the_id_in_context_wins_over_the_id_of_the_bare_text() -> None:
    """As in SentencePiece: "+" alone is another token than "+" behind the header's newline."""
    tokenizer = _tokenizer_with_two_pluses()
    alone = tokenizer("x+", add_special_tokens=False)["input_ids"][-1]
    found = LabelTokens.look_up(tokenizer, INTERNVL2_5, ("+", "-"))
    assert tokenizer.convert_ids_to_tokens(alone) != tokenizer.convert_ids_to_tokens(found.ids[0])


def test_a_label_of_several_tokens_is_refused() -> None:
    with pytest.raises(EncodingError, match="one token of its own"):
        LabelTokens.look_up(tiny_tokenizer(), INTERNVL2_5, ("+", "-+-"))


def test_one_id_for_two_labels_is_refused() -> None:
    with pytest.raises(EncodingError, match="distinct"):
        LabelTokens.look_up(tiny_tokenizer(), INTERNVL2_5, ("+", "+"))


def _tokenizer_with_two_pluses() -> PreTrainedTokenizerFast:
    """Word-initial pieces carry a mark, as in SentencePiece."""
    characters = [chr(code) for code in range(32, 127)] + ["\n", "▁"]
    vocab = {char: index for index, char in enumerate(characters)}
    for piece in ("▁+", "▁-"):
        vocab[piece] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[("▁", "+"), ("▁", "-")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Metaspace(prepend_scheme="always", split=False)]
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    wrapped.add_special_tokens({"additional_special_tokens": list(INTERNVL2_5.control_tokens)})
    return wrapped
