"""Tokenizers of original InternVL checkpoints as fast ones: InternLM2's SentencePiece model, or Qwen2's as shipped.

In: a checkpoint's folder. Out: a tokenizer that gives SentencePiece's tokens, with the checkpoint's special tokens at
their ids. InternLM2's model is byte-pair encoding with byte fallback, without normalisation and without a space put
before the text; a model that differs is refused. Special tokens stand where SentencePiece has unused pieces.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen2Tokenizer
from transformers.convert_slow_tokenizer import import_protobuf

from medprm.model.errors import ModelError
from medprm.model.original_config import INTERNLM2

SENTENCEPIECE_FILE = "tokenizer.model"
# Of sentencepiece_model.proto.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
BPE = 2
SPACE = "▁"
SPECIAL_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}


class Piece(NamedTuple):
    """One entry of a SentencePiece vocabulary."""

    text: str
    score: float
    kind: int


def original_tokenizer(folder: Path, architecture: str) -> PreTrainedTokenizerBase:
    """The tokenizer of an original checkpoint. Raises ModelError."""
    if architecture == INTERNLM2:
        return internlm2_tokenizer(folder)
    if not (folder / "tokenizer.json").is_file() and not (folder / "vocab.json").is_file():
        raise ModelError(f"model {folder}: no tokenizer; expected Qwen2's tokenizer.json, or vocab.json and merges.txt")
    # By its class: config.json names one that only the checkpoint's own code has.
    return Qwen2Tokenizer.from_pretrained(folder, trust_remote_code=False)


def internlm2_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of tokenizer.model with the special tokens of tokenizer_config.json or added_tokens.json."""
    pieces = read_pieces(folder / SENTENCEPIECE_FILE)
    settings = _read_json(folder / "tokenizer_config.json")
    named = _named_tokens(folder, settings)
    tokenizer = _bpe_tokenizer(folder, pieces, named)
    added = _found_whole(pieces) | named
    tokenizer.add_tokens([added[number] for number in sorted(added)])
    for number, token in added.items():
        if tokenizer.token_to_id(token.content) != number:
            raise ModelError(
                f"model {folder}: the special token {token.content!r} has id {tokenizer.token_to_id(token.content)}; "
                f"expected {number}; restore the tokenizer files that came with the weights"
            )
    special = {name: settings.get(name, default) for name, default in SPECIAL_TOKENS.items()}
    special = {name: token["content"] if isinstance(token, dict) else token for name, token in special.items()}
    if settings.get("add_bos_token", True):
        start = special["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
            single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
        )
    kept = {name: settings[name] for name in ("chat_template", "model_max_length") if name in settings}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=[token.content for token in added.values() if token.special],
        clean_up_tokenization_spaces=False,
        **special,
        **kept,
    )


def _bpe_tokenizer(folder: Path, pieces: list[Piece], named: Mapping[int, AddedToken]) -> Tokenizer:
    """The pieces with their merges; a named token takes the place of the piece that has its id."""
    vocab = {piece.text: number for number, piece in enumerate(pieces)}
    for number, token in named.items():
        replaced = pieces[number] if number < len(pieces) else None
        if replaced and replaced.kind in (NORMAL, BYTE):
            raise ModelError(
                f"model {folder}: the special token {token.content!r} has the id {number} of the ordinary piece "
                f"{replaced.text!r}; expected an unused one; restore the tokenizer files that came with the weights"
            )
        if replaced:
            vocab.pop(replaced.text, None)
        vocab[token.content] = number
    unknown = next(piece.text for piece in pieces if piece.kind == UNKNOWN)
    merges = bpe_merges(pieces)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)  # type: ignore[assignment]
    tokenizer.decoder = decoders.Sequence(  # type: ignore[assignment]
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def _found_whole(pieces: list[Piece]) -> dict[int, AddedToken]:
    """Pieces that merging cannot find, by id: control pieces, and defined symbols but the short ones."""
    short = {*_paired_symbols(pieces), *(piece.text for piece in pieces if len(piece.text) == 1)}
    return {
        number: AddedToken(piece.text, normalized=False, special=piece.kind == CONTROL)
        for number, piece in enumerate(pieces)
        if piece.kind == CONTROL or (piece.kind == USER_DEFINED and piece.text not in short)
    }


def read_pieces(file: Path) -> list[Piece]:
    """The vocabulary of a SentencePiece model; raises ModelError unless it is of InternLM2's kind."""
    if not file.is_file():
        raise ModelError(
            f"{file}: no such file; expected InternLM2's SentencePiece model, which comes with the weights"
        )
    model: Any = import_protobuf().ModelProto()  # type: ignore[no-untyped-call]
    try:
        model.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{file}: not a SentencePiece model; get it again") from error
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    expected = {
        "model_type": (trainer.model_type, BPE),
        "byte_fallback": (trainer.byte_fallback, True),
        "precompiled_charsmap": (len(normalizer.precompiled_charsmap), 0),
        "add_dummy_prefix": (normalizer.add_dummy_prefix, False),
        "remove_extra_whitespaces": (normalizer.remove_extra_whitespaces, False),
        "escape_whitespaces": (normalizer.escape_whitespaces, True),
        "unused pieces": (sum(piece.type == UNUSED for piece in model.pieces), 0),
    }
    for name, (value, wanted) in expected.items():
        if value != wanted:
            raise ModelError(f"{file}: {name} is {value}; expected {wanted}, as in InternLM2's; choose its tokenizer")
    return [Piece(piece.piece, piece.score, piece.type) for piece in model.pieces]


def bpe_merges(pieces: list[Piece]) -> list[tuple[str, str]]:
    """All pairs that make a piece, best first: SentencePiece merges by the score of what comes out.

    A symbol that the model's maker defined comes before all else: one of two characters has the first pair, one
    character needs none, and longer ones are found as added tokens.
    """
    scores = {piece.text: piece.score for piece in pieces if piece.kind == NORMAL}
    ranked = [(float("-inf"), 0, (text[0], text[1])) for text in _paired_symbols(pieces)]
    for text, score in scores.items():
        for cut in range(1, len(text)):
            if text[:cut] in scores and text[cut:] in scores:
                ranked.append((-score, -cut, (text[:cut], text[cut:])))
    return [pair for _, _, pair in sorted(ranked, key=lambda one: one[:2])]


def _paired_symbols(pieces: list[Piece]) -> list[str]:
    """Defined symbols of two characters that are pieces themselves."""
    texts = {piece.text for piece in pieces}
    two = [piece.text for piece in pieces if piece.kind == USER_DEFINED and len(piece.text) == 2]
    return [text for text in two if texts.issuperset(text)]


def _named_tokens(folder: Path, settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    """The checkpoint's special tokens by id."""
    decoder: Mapping[str, Any] = settings.get("added_tokens_decoder", {})
    added = {
        int(number): AddedToken(fields["content"], normalized=False, special=fields.get("special", True))
        for number, fields in decoder.items()
    }
    for content, number in _read_json(folder / "added_tokens.json").items():
        known = added.setdefault(number, AddedToken(content, normalized=False, special=True))
        if known.content != content:
            raise ModelError(
                f"model {folder}: token {number} is {known.content!r} in tokenizer_config.json and {content!r} in "
                "added_tokens.json; restore the tokenizer files that came with the weights"
            )
    return added


def _read_json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
