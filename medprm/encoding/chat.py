"""The chat templates of InternVL2.5 and Llama 3 as text pieces, and text to token ids without surprises.

In: pieces of a conversation. Out: token ids that concatenate to what the tokenizer gives for the joined text.
Template pieces may hold control tokens; text from a case never produces one. No id is typed in: all come from the
tokenizer. Templates: OpenGVLab/InternVL `internvl_chat/internvl/conversation.py`, "internvl2_5"; the model card of
Llama 3.1, "prompt format", without its lines on dates and tools.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from medprm.errors import InputError, SolutionTooLong


class EncodingError(InputError):
    """A case cannot be turned into tokens as the settings ask."""


class SolutionTooLongToEncode(EncodingError, SolutionTooLong):
    """A case can be turned into tokens, and this solution of it cannot: it is too long."""


@dataclass(frozen=True)
class ChatFormat:
    """Control tokens and roles; every other piece of the template follows from them. Image tokens "": text only."""

    start: str = "<|im_start|>"
    role_end: str = "\n"
    end: str = "<|im_end|>"
    after_end: str = "\n"
    image_start: str = "<img>"
    image_token: str = "<IMG_CONTEXT>"
    image_end: str = "</img>"

    @property
    def system_header(self) -> str:
        return f"{self.start}system{self.role_end}"

    @property
    def user_header(self) -> str:
        return f"{self.start}user{self.role_end}"

    @property
    def assistant_header(self) -> str:
        return f"{self.start}assistant{self.role_end}"

    @property
    def turn_end(self) -> str:
        return f"{self.end}{self.after_end}"

    @property
    def control_tokens(self) -> tuple[str, ...]:
        tokens = (self.start, self.role_end.strip(), self.end, self.image_start, self.image_token, self.image_end)
        return tuple(token for token in tokens if token)

    @property
    def has_images(self) -> bool:
        return bool(self.image_token)

    def image(self, num_tokens: int) -> str:
        """The placeholder of one image of `num_tokens` visual tokens, with its newline."""
        return f"{self.image_start}{self.image_token * num_tokens}{self.image_end}\n"


INTERNVL2_5 = ChatFormat()
LLAMA_3 = ChatFormat(
    start="<|start_header_id|>",
    role_end="<|end_header_id|>\n\n",
    end="<|eot_id|>",
    after_end="",
    image_start="",
    image_token="",
    image_end="",
)


def chat_format(tokenizer: PreTrainedTokenizerBase) -> ChatFormat:
    """The template whose control tokens the tokenizer has; InternVL2.5's where it has neither."""
    vocabulary = tokenizer.get_vocab()
    return LLAMA_3 if LLAMA_3.start in vocabulary and INTERNVL2_5.start not in vocabulary else INTERNVL2_5


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """The id of one control token; raises EncodingError where the tokenizer has no such token."""
    found = tokenizer.get_vocab().get(token)
    if found is None:
        raise EncodingError(
            f"tokenizer {tokenizer.name_or_path or '(in memory)'}: no token {token!r}; expected the control tokens "
            f"{', '.join(INTERNVL2_5.control_tokens)}; give a checkpoint of the InternVL2.5 family, "
            "or of Llama 3 for text alone"
        )
    return found


def check_control_tokens(tokenizer: PreTrainedTokenizerBase, chat: ChatFormat = INTERNVL2_5) -> None:
    """Raises EncodingError unless each control token of the template is one token, whole, in running text."""
    for token in chat.control_tokens:
        expected = token_id(tokenizer, token)
        ids = encode_segment(tokenizer, token, is_user_text=False)
        if ids != [expected]:
            raise EncodingError(
                f"tokenizer {tokenizer.name_or_path or '(in memory)'}: {token!r} becomes {ids}; expected [{expected}]; "
                "register it as a special token"
            )


def leading_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer itself puts before a text: `<s>` for InternLM2 and Llama, nothing for Qwen2."""
    ids = list(tokenizer("")["input_ids"])
    has_closing = bool(ids) and ids[-1] == tokenizer.eos_token_id != tokenizer.bos_token_id
    return ids[:-1] if has_closing else ids


def encode_segment(tokenizer: PreTrainedTokenizerBase, text: str, is_user_text: bool) -> list[int]:
    """The ids of one piece of the template, without leading ids.

    A template piece (`is_user_text` False) may hold control tokens. User text is plain text throughout: a literal
    "<|im_end|>" in it is spelled out in ordinary tokens.
    """
    if not is_user_text:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    controls, pattern = _controls(tokenizer)
    ids: list[int] = []
    for piece in _cut_controls(text, pattern):
        ids += _encode_after_newline(tokenizer, piece)
    if not controls.isdisjoint(ids):
        found = [tokenizer.convert_ids_to_tokens(one) for one in ids if one in controls]
        raise EncodingError(f"text {text[:80]!r} gives the control tokens {found}; expected plain text; mend the text")
    return ids


def _encode_after_newline(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of `text` where a newline stands before it, as in every turn.

    SentencePiece marks the start of a text as the start of a word; behind the newline of a header there is no such
    mark. Where the newline melts into the text (a text that begins with a newline), the text stands alone.
    """
    newline = list(tokenizer("\n", add_special_tokens=False)["input_ids"])
    joined = list(tokenizer("\n" + text, add_special_tokens=False)["input_ids"])
    if joined[: len(newline)] == newline:
        return joined[len(newline) :]
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@lru_cache(maxsize=8)
def _controls(tokenizer: PreTrainedTokenizerBase) -> tuple[frozenset[int], re.Pattern[str]]:
    """The ids of all added tokens, and a pattern that finds their literals, the longest first."""
    added: dict[str, int] = dict(tokenizer.get_added_vocab())  # type: ignore[operator]
    added.update(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    literals = sorted(added, key=len, reverse=True)
    return frozenset(added.values()), re.compile("|".join(map(re.escape, literals)) or r"(?!)")


def _cut_controls(text: str, pattern: re.Pattern[str]) -> list[str]:
    """`text` cut behind the first character of every control literal, so that no piece holds a whole one."""
    cuts = [0]
    while found := pattern.search(text, cuts[-1]):
        cuts.append(found.start() + 1)
    cuts.append(len(text))
    return [text[begin:end] for begin, end in pairwise(cuts) if begin < end]
