"""Cases and steps to token ids: the same function for training and for scoring.

In: a case, step texts, the number of tiles of each image. Out: `Encoded`, ids without any label in them. Layout:

    <|im_start|>system\\n SYSTEM <|im_end|>\\n<|im_start|>user\\n TURN 0 <|im_end|>\\n<|im_start|>assistant\\n
    + <|im_end|>\\n<|im_start|>user\\n STEP 1 <|im_end|>\\n<|im_start|>assistant\\n ...

A step's logits are read at the last token of its assistant header; the sequence ends there for the last step, so the
sequence of the first k steps is a prefix of the whole one.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from medprm.cases.schema import Case
from medprm.encoding.chat import (
    ChatFormat,
    EncodingError,
    SolutionTooLongToEncode,
    chat_format,
    check_control_tokens,
    encode_segment,
    leading_ids,
    token_id,
)
from medprm.encoding.prompts import PROMPTS, Prompt
from medprm.encoding.settings import EncodingSettings
from medprm.encoding.tokens import ADVANTAGE_LABELS, PLACEHOLDER, LabelTokens
from medprm.encoding.turns import Turns, build_turns, document_text

logger = logging.getLogger(__name__)

MAX_CACHED_SEGMENTS = 200_000
# Where a case does not even fit with this, it is the case that is too long, not a solution of it.
SHORTEST_STEP = "."


@dataclass(frozen=True)
class Encoded:
    """One sequence. `label_positions[k]` is the last token of the assistant header of step k.

    `images_end` is the index behind the last image, 0 without images.
    """

    input_ids: list[int]
    label_positions: list[int]
    images_end: int
    num_text_tokens: int
    num_image_tokens: int
    dropped_documents: int


def check_positions(encoded: Encoded, max_positions: int, where: str) -> None:
    """Raises EncodingError where a sequence is longer than the positions that the model was made for."""
    if len(encoded.input_ids) > max_positions:
        kind = EncodingError if encoded.images_end > max_positions else SolutionTooLongToEncode
        raise kind(
            f"{where}: a sequence of {len(encoded.input_ids)} tokens ({encoded.num_image_tokens} of images); the model "
            f"has {max_positions} positions (max_position_embeddings); lower encoding.max_text_tokens or "
            "model.max_tiles, or split the solution"
        )


class _LaidOut(NamedTuple):
    """Ids in their order; `num_image_tokens` of them, up to `images_end`, are images."""

    ids: list[int]
    label_positions: list[int]
    images_end: int
    num_image_tokens: int


class Encoder:
    """Holds the tokenizer, the prompt and the ids of every text seen so far."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompt: Prompt,
        settings: EncodingSettings,
        image_tokens_per_tile: int,
        chat: ChatFormat | None = None,
    ) -> None:
        chat = chat or chat_format(tokenizer)
        check_control_tokens(tokenizer, chat)
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.settings = settings
        self.image_tokens_per_tile = image_tokens_per_tile
        self.chat = chat
        history = ADVANTAGE_LABELS if settings.history == "labels" else (PLACEHOLDER,)
        found = LabelTokens.look_up(tokenizer, chat, history)
        self._history_ids = dict(zip(found.texts, found.ids, strict=True))
        self._segments: dict[tuple[str, bool], list[int]] = {}
        self._leading = leading_ids(tokenizer)
        if chat.has_images:
            self._image_start = token_id(tokenizer, chat.image_start)
            self._image_token = token_id(tokenizer, chat.image_token)
            self._image_end = self._template(chat.image_end + "\n")

    @classmethod
    def from_settings(
        cls, tokenizer: PreTrainedTokenizerBase, settings: EncodingSettings, image_tokens_per_tile: int
    ) -> "Encoder":
        """An encoder with the prompt preset that the settings name."""
        return cls(tokenizer, PROMPTS[settings.prompt], settings, image_tokens_per_tile)

    def encode(
        self,
        case: Case,
        step_texts: Sequence[str],
        num_tiles: Sequence[int],
        history_labels: Sequence[str | None] | None = None,
    ) -> Encoded:
        """The sequence of one solution.

        `num_tiles` has one number per image of the case. `history_labels` ("+", "=", "-" or None per step) fills the
        assistant turns of earlier steps under `history: labels`; without it, and for None, they hold "+".
        Raises EncodingError where the case has no steps or stays over a budget without its documents
        (SolutionTooLongToEncode where the steps are to blame).
        """
        self._check(case, step_texts, num_tiles, history_labels)
        wanted = self.settings.use_documents and "documents" not in self.settings.blank
        documents = [document_text(document) for document in case.documents] if wanted else []
        has_context = "context" not in self.settings.blank
        turns = build_turns(case, step_texts, self.prompt, documents, has_context)
        num_kept = self._num_documents_in_budget(case, turns)
        laid_out = self._lay_out(turns, num_kept, num_tiles, history_labels)
        dropped = len(documents) - num_kept
        if dropped:
            logger.info("case %s: %d of %d documents dropped: over the budget", case.case_id, dropped, len(documents))
        return Encoded(
            input_ids=laid_out.ids,
            label_positions=laid_out.label_positions,
            images_end=laid_out.images_end if num_tiles else 0,
            num_text_tokens=len(laid_out.ids) - laid_out.num_image_tokens,
            num_image_tokens=laid_out.num_image_tokens,
            dropped_documents=dropped,
        )

    def _check(
        self,
        case: Case,
        step_texts: Sequence[str],
        num_tiles: Sequence[int],
        history_labels: Sequence[str | None] | None,
    ) -> None:
        where = f"case {case.case_id}"
        if not step_texts:
            raise EncodingError(f"{where}: the solution has no steps; expected one or more; leave it out")
        if empty := [index for index, text in enumerate(step_texts) if not text.strip()]:
            raise EncodingError(f"{where}: step {empty[0]} is empty; expected text; mend or remove it")
        assert len(num_tiles) == len(case.all_images), f"{where}: {len(num_tiles)} tile counts for its images"
        assert history_labels is None or self.settings.history == "labels", "history labels need history: labels"
        assert history_labels is None or len(history_labels) == len(step_texts), "one history label per step"
        if num_tiles and not self.chat.has_images:
            raise EncodingError(
                f"{where}: {len(num_tiles)} image(s), but the model reads text only; choose another model, or give "
                "cases without images"
            )
        num_visual = sum(self._num_image_ids(tiles) for tiles in num_tiles)
        if num_visual > self.settings.max_image_tokens:
            raise EncodingError(
                f"{where}: {len(num_tiles)} image(s) in {sum(num_tiles)} tiles take {num_visual} tokens; allowed "
                f"encoding.max_image_tokens={self.settings.max_image_tokens}; lower max_tiles or raise the limit"
            )

    def _num_image_ids(self, num_tiles: int) -> int:
        return 1 + num_tiles * self.image_tokens_per_tile + len(self._image_end)

    def _num_documents_in_budget(self, case: Case, turns: Turns) -> int:
        """How many documents, from the first on, fit both limits. Raises where the rest alone is over the limit."""
        num_bare, limit = self._num_bare(turns), self.settings.max_text_tokens
        if num_bare > limit:
            fits_alone = self._num_bare(replace(turns, steps=(SHORTEST_STEP,))) <= limit
            raise (SolutionTooLongToEncode if fits_alone else EncodingError)(
                f"case {case.case_id}: {num_bare} text tokens without any document; allowed encoding.max_text_tokens="
                f"{limit}; shorten or split the {len(turns.steps)} steps, or raise the limit"
            )
        room = min(self.settings.max_document_tokens, limit - num_bare)
        num_kept = 0
        for text in turns.documents:
            room -= len(self._plain(text))
            if room < 0:
                break
            num_kept += 1
        return num_kept

    def _num_bare(self, turns: Turns) -> int:
        """Text tokens without any document."""
        bare = self._lay_out(turns, 0, [0] * turns.num_images, None)
        return len(bare.ids) - bare.num_image_tokens

    def _lay_out(
        self, turns: Turns, num_documents: int, num_tiles: Sequence[int], history_labels: Sequence[str | None] | None
    ) -> _LaidOut:
        chat = self.chat
        ids = [*self._leading, *self._template(chat.system_header), *self._plain(turns.system)]
        ids += self._template(chat.turn_end + chat.user_header)
        for document in turns.documents[:num_documents]:
            ids += self._plain(document)
        ids += self._plain(turns.opening)
        num_before_images = len(ids)
        for tiles in num_tiles:
            ids += [self._image_start, *[self._image_token] * (tiles * self.image_tokens_per_tile), *self._image_end]
        images_end = len(ids)
        ids += self._plain(turns.statement)
        label_positions = []
        for index, step in enumerate(turns.steps):
            if index:
                earlier = (history_labels[index - 1] if history_labels else None) or PLACEHOLDER
                ids += [self._history_ids[earlier], *self._template(chat.turn_end + chat.user_header)]
            ids += self._plain(step)
            ids += self._template(chat.turn_end + chat.assistant_header)
            label_positions.append(len(ids) - 1)
        return _LaidOut(ids, label_positions, images_end, num_image_tokens=images_end - num_before_images)

    def _template(self, text: str) -> list[int]:
        return self._segment(text, is_user_text=False)

    def _plain(self, text: str) -> list[int]:
        return self._segment(text, is_user_text=True)

    def _segment(self, text: str, is_user_text: bool) -> list[int]:
        """`encode_segment` with a memory: the solutions of a case share most of their texts."""
        key = (text, is_user_text)
        found = self._segments.get(key)
        if found is None:
            if len(self._segments) >= MAX_CACHED_SEGMENTS:
                self._segments.clear()
            found = self._segments[key] = encode_segment(self.tokenizer, text, is_user_text)
        return found
