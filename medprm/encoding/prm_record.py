"""What a checkpoint says of itself as a PRM (`medprm.json`): the prompt's text, label tokens, settings; and back.

In: an encoder and label settings. Out: a plain mapping for JSON; from it the same encoder again. The label ids are
stored to be compared: a tokenizer that gives others raises.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from medprm.encoding.chat import EncodingError
from medprm.encoding.encoder import Encoder
from medprm.encoding.prompts import Prompt
from medprm.encoding.settings import EncodingSettings, LabelSettings
from medprm.encoding.tokens import LabelTokens


@dataclass(frozen=True)
class PrmRecord:
    """How a PRM was trained, as far as scoring has to know."""

    encoder: Encoder
    label_tokens: LabelTokens
    labels: LabelSettings


def describe_prm(encoder: Encoder, labels: LabelSettings) -> dict[str, Any]:
    """The mapping that `restore_prm` reads; the caller may add keys (threshold, aggregation)."""
    tokens = LabelTokens.look_up(encoder.tokenizer, encoder.chat, labels.texts)
    return {
        "prompt": asdict(encoder.prompt),
        "encoding": asdict(encoder.settings),
        "labels": asdict(labels),
        "label_tokens": dict(zip(tokens.texts, tokens.ids, strict=True)),
    }


def restore_prm(
    prm: Mapping[str, Any] | None, tokenizer: PreTrainedTokenizerBase, image_tokens_per_tile: int, where: str
) -> PrmRecord:
    """The encoder of a trained checkpoint. `where` names it in errors."""
    needed = ("prompt", "encoding", "labels", "label_tokens")
    missing = [name for name in needed if name not in (prm or {})]
    if prm is None or missing:
        raise EncodingError(f"{where}: medprm.json lacks {', '.join(missing)}; train a PRM first or give another one")
    try:
        prompt = Prompt(**prm["prompt"])
        settings = EncodingSettings(**prm["encoding"])
        labels = LabelSettings(**prm["labels"])
    except TypeError as error:
        raise EncodingError(f"{where}: medprm.json: {error}; it was written by another version of MedPRM") from error
    encoder = Encoder(tokenizer, prompt, settings, image_tokens_per_tile)
    tokens = LabelTokens.look_up(tokenizer, encoder.chat, labels.texts)
    found = dict(zip(tokens.texts, tokens.ids, strict=True))
    if found != dict(prm["label_tokens"]):
        raise EncodingError(
            f"{where}: the tokenizer gives the label tokens {found}; medprm.json says {dict(prm['label_tokens'])}; "
            "the folder mixes files of two checkpoints"
        )
    return PrmRecord(encoder=encoder, label_tokens=tokens, labels=labels)
