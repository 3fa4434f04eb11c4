"""The label tokens: which ids stand for "+", "-" and "=" right after the assistant header.

In: a tokenizer, the chat format, label texts. Out: one id per label, as the template really produces it.
Looked up in context, because a SentencePiece vocabulary holds two "+" (word-initial or not).
"""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from medprm.encoding.chat import INTERNVL2_5, ChatFormat, EncodingError, encode_segment

VALUE_LABELS = ("+", "-")
ADVANTAGE_LABELS = ("+", "=", "-")
PLACEHOLDER = "+"


@dataclass(frozen=True)
class LabelTokens:
    """Label texts and their ids, in the order of the target columns; "+" comes first."""

    texts: tuple[str, ...]
    ids: tuple[int, ...]

    @classmethod
    def look_up(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        chat: ChatFormat = INTERNVL2_5,
        labels: tuple[str, ...] = VALUE_LABELS,
    ) -> "LabelTokens":
        """Raises EncodingError unless each label is one token of its own behind the header."""
        ids = tuple(_id_in_context(tokenizer, chat, label) for label in labels)
        if len(set(ids)) != len(ids) or tokenizer.unk_token_id in ids:
            raise EncodingError(
                f"labels {labels} have the token ids {ids}; expected distinct known tokens; choose another tokenizer"
            )
        return cls(texts=labels, ids=ids)


def _id_in_context(tokenizer: PreTrainedTokenizerBase, chat: ChatFormat, label: str) -> int:
    header = encode_segment(tokenizer, chat.assistant_header, is_user_text=False)
    closing = encode_segment(tokenizer, chat.turn_end, is_user_text=False)
    turn = encode_segment(tokenizer, chat.assistant_header + label + chat.turn_end, is_user_text=False)
    middle = turn[len(header) : len(turn) - len(closing)]
    if turn != header + middle + closing or len(middle) != 1:
        raise EncodingError(
            f"label {label!r} becomes {tokenizer.convert_ids_to_tokens(turn)} behind the assistant header; "
            "expected one token of its own; choose another tokenizer"
        )
    return middle[0]
