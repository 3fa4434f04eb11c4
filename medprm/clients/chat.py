"""The chat protocol: what is asked of a model, and what came back.

In: `ChatRequest`, frozen. Out: `ChatReply`. A request has one canonical text, and its key is the hash of that: the same
question to the same model with the same settings and round is the same purchase.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from medprm.cases.schema import Case

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn. `images` are PNG files in memory, put before the text: pixels alone, never a DICOM header."""

    role: Role
    text: str
    images: tuple[bytes, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The turn as OpenAI's chat completions take it; images as data URLs."""
        if not self.images:
            return {"role": self.role, "content": self.text}
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(one).decode()}"}}
            for one in self.images
        ]
        return {"role": self.role, "content": [*parts, {"type": "text", "text": self.text}]}


@dataclass(frozen=True)
class ChatRequest:
    """One purchase. `round` counts what was asked again because the answer could not be used."""

    stage: str  # solutions, judge, answers or monte_carlo: the line of the ledger
    case: Case  # whose data this is: the guard decides by it where the request may go
    messages: tuple[Message, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # temperature, n, max_tokens, response_format, ...
    round: int = 0

    @property
    def num_answers(self) -> int:
        return int(self.settings.get("n", 1))

    def body(self, model: str) -> dict[str, Any]:
        return {"model": model, "messages": [one.as_json() for one in self.messages], **self.settings}

    def key(self, model: str) -> str:
        """sha256 of model, messages, settings and round; stage and case are not part of it."""
        text = json.dumps([self.body(model), self.round], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def prompt_hash(self) -> str:
        """sha256 of the messages alone, as a record keeps it."""
        text = json.dumps([one.as_json() for one in self.messages], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Choice:
    """One answer; `finish_reason` as the server said it (stop, length, content_filter, ...)."""

    text: str | None
    finish_reason: str | None


@dataclass(frozen=True)
class ChatReply:
    """All answers to one request, and what the server said of itself and of the tokens.

    `has_usage`: it said how many tokens it took; without, the numbers are 0 and the answer is charged at its worst.
    """

    choices: tuple[Choice, ...]
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    has_usage: bool = True

    def to_text(self) -> str:
        values = {**vars(self), "choices": [[one.text, one.finish_reason] for one in self.choices]}
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "ChatReply":
        values = json.loads(text)
        values["choices"] = tuple(Choice(*one) for one in values["choices"])
        return cls(**values)


class ChatClient(Protocol):
    """Whatever answers chat requests; `Unanswered` where no answer could be had."""

    model: str

    def ask(self, request: ChatRequest) -> ChatReply: ...


class Unanswered(Exception):
    """A request has no answer after every attempt that the settings allow. The message says why."""
