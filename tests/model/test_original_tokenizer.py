"""The fast tokenizers give SentencePiece's tokens and the checkpoint's special tokens at their ids."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from original import CORPUS, SPECIAL, sentencepiece_model, write_internlm2_tokenizer, write_original_checkpoint
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import import_protobuf

from medprm.encoding.chat import check_control_tokens, encode_segment, leading_ids
from medprm.encoding.tokens import ADVANTAGE_LABELS, LabelTokens
from medprm.model.errors import ModelError
from medprm.model.loading import load_checkpoint, save_checkpoint
from medprm.model.original_config import INTERNLM2, QWEN2
from medprm.model.original_tokenizer import internlm2_tokenizer, original_tokenizer

VARIED = [
    *CORPUS,
    "",
    " ",
    " leading and trailing ",
    "a" * 50,
    " " * 33 + "x" + " " * 7,
    "\n\n\n\t \t  \r\n",
    "결핵 의심, 좌상엽 공동성 병변 🫁🩻 (3.5×2.1 cm)",
    "👩‍⚕️ 😀😀 naïve café Ångström ≥ 5 µm, 10⁻³",
    "——— —— — ＥＥ Ｅ中文……",
    "12345678901234567890 3.14159 1e-5 0x1F",
    "literal ▁ sign and <0x41> and [UNUSED_TOKEN_0",
    "no\u00a0break\u3000wide\u200bzero",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_internlm2_tokenizer(tmp_path)
    return tmp_path


@pytest.fixture
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return internlm2_tokenizer(folder)


def random_texts(num_texts: int) -> Iterator[str]:
    """Of runs of spaces, pieces of the corpus, and characters from everywhere."""
    generator = random.Random(0)
    scripts = [(32, 126), (0xA0, 0x24F), (0x370, 0x3FF), (0x1100, 0x11FF), (0xAC00, 0xD7A3), (0x4E00, 0x9FFF)]
    scripts += [(0x2000, 0x22FF), (0xFF00, 0xFFEF), (0x1F300, 0x1FAFF)]
    words = " ".join(CORPUS).split(" ")
    for _ in range(num_texts):
        kind = generator.random()
        if kind < 0.4:
            yield "".join(chr(generator.randint(*generator.choice(scripts))) for _ in range(generator.randint(1, 30)))
        elif kind < 0.7:
            gaps = [" ", "  ", "\n", "\n\n", "", "   ", "\t", " " * 9]
            yield "".join(generator.choice(words) + generator.choice(gaps) for _ in range(generator.randint(1, 12)))
        else:
            yield "".join(generator.choice(["a", "aa", " ", "  ", "\n", "0", "-", "—", "==", "e"]) for _ in range(30))


def settings_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "tokenizer_config.json").read_text())


def test_equal_to_sentencepiece(tokenizer: PreTrainedTokenizerBase) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    for text in [*VARIED, *random_texts(3000)]:
        assert tokenizer(text, add_special_tokens=False).input_ids == processor.encode(text), repr(text)


def test_text_comes_back(tokenizer: PreTrainedTokenizerBase) -> None:
    for text in VARIED:
        if "▁" not in text:
            assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_special_tokens_have_the_checkpoints_ids(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    decoder = settings_of(folder)["added_tokens_decoder"]
    assert len(tokenizer) == max(map(int, decoder)) + 1
    for number, token in decoder.items():
        assert tokenizer.convert_tokens_to_ids(token["content"]) == int(number)
        assert tokenizer(token["content"], add_special_tokens=False).input_ids == [int(number)]
    names = ("unk_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
    assert [getattr(tokenizer, name) for name in names] == [0, 1, 2, 2]
    assert leading_ids(tokenizer) == [1]


def test_labels_are_found_behind_the_header(tokenizer: PreTrainedTokenizerBase) -> None:
    check_control_tokens(tokenizer)
    found = LabelTokens.look_up(tokenizer, labels=ADVANTAGE_LABELS)
    assert [tokenizer.convert_ids_to_tokens(number) for number in found.ids] == ["+", "=", "-"]


def test_text_of_a_case_is_plain(tokenizer: PreTrainedTokenizerBase) -> None:
    """Defined symbols of one or two characters are ordinary text; control tokens and unused pieces are spelled out."""
    special = set(tokenizer.all_special_ids)
    for text in (*VARIED, *(f"a {token} b" for token in (*SPECIAL, "[UNUSED_TOKEN_0]"))):
        assert special.isdisjoint(encode_segment(tokenizer, text, is_user_text=True))
    # SentencePiece's tokens wherever no newline stands in front to melt into.
    assert (
        encode_segment(tokenizer, "x—— ＥＥ", is_user_text=True)
        == tokenizer("x—— ＥＥ", add_special_tokens=False).input_ids
    )


def test_added_tokens_file(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Older checkpoints list new tokens in a file of their own."""
    settings = settings_of(folder)
    decoder = settings.pop("added_tokens_decoder")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokens = {token["content"]: int(number) for number, token in decoder.items()}
    (folder / "added_tokens.json").write_text(json.dumps(tokens))
    assert internlm2_tokenizer(folder).get_vocab() == tokenizer.get_vocab()


def test_a_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    for family in ("internlm2", "qwen2"):
        write_original_checkpoint(tmp_path / family, family, "300m")
        loaded = load_checkpoint(tmp_path / family)
        save_checkpoint(tmp_path / f"{family}_native", loaded, None)
        again = AutoTokenizer.from_pretrained(tmp_path / f"{family}_native")
        for text in (*VARIED, *SPECIAL, "<|im_start|>assistant\n+<|im_end|>\n"):
            assert again(text).input_ids == loaded.tokenizer(text).input_ids, repr(text)
        assert leading_ids(again) == leading_ids(loaded.tokenizer)
        found = LabelTokens.look_up(again, labels=ADVANTAGE_LABELS)
        assert found == LabelTokens.look_up(loaded.tokenizer, labels=ADVANTAGE_LABELS)


def test_qwen2_as_shipped(tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, "qwen2", "300m")
    tokenizer = original_tokenizer(tmp_path, QWEN2)
    check_control_tokens(tokenizer)
    assert leading_ids(tokenizer) == []
    for number, token in settings_of(tmp_path)["added_tokens_decoder"].items():
        assert tokenizer.convert_tokens_to_ids(token["content"]) == int(number)
    for text in VARIED:
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids) == text
    # tokenizer.json alone, as some checkpoints ship it.
    tokenizer.save_pretrained(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    again = original_tokenizer(tmp_path, QWEN2)
    assert all(again(text).input_ids == tokenizer(text).input_ids for text in (*VARIED, *SPECIAL))


@pytest.mark.parametrize(
    ("architecture", "message"), [(INTERNLM2, "tokenizer.model: no such"), (QWEN2, "no tokenizer")]
)
def test_no_tokenizer(architecture: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        original_tokenizer(tmp_path, architecture)


def test_a_special_token_with_two_ids(folder: Path) -> None:
    settings = settings_of(folder)
    number = max(settings["added_tokens_decoder"], key=int)
    settings["added_tokens_decoder"][str(int(number) + 5)] = settings["added_tokens_decoder"][number]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"'</quad>' has id \d+; expected \d+"):
        internlm2_tokenizer(folder)


def test_a_special_token_at_an_ordinary_piece(folder: Path) -> None:
    settings = settings_of(folder)
    number = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model()).piece_to_id("an")
    settings["added_tokens_decoder"][str(number)] = {"content": "<new>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=f"'<new>' has the id {number} of the ordinary piece 'an'"):
        internlm2_tokenizer(folder)


def test_files_that_contradict(folder: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"<other>": 1}))
    with pytest.raises(ModelError, match="token 1 is '<s>' in tokenizer_config.json and '<other>'"):
        internlm2_tokenizer(folder)


def test_a_broken_model(folder: Path) -> None:
    (folder / "tokenizer.model").write_bytes(b"\xff" * 40)
    with pytest.raises(ModelError, match="not a SentencePiece model"):
        internlm2_tokenizer(folder)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("normalizer_spec", "add_dummy_prefix", True),
        ("normalizer_spec", "remove_extra_whitespaces", True),
        ("trainer_spec", "byte_fallback", False),
        ("trainer_spec", "model_type", 1),
    ],
)
def test_a_model_of_another_kind(part: str, name: str, value: Any, folder: Path) -> None:
    model = import_protobuf().ModelProto()
    model.ParseFromString(sentencepiece_model())
    setattr(getattr(model, part), name, value)
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=rf"{name} is {value}; expected"):
        internlm2_tokenizer(folder)
