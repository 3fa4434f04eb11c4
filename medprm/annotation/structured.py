"""Structured answers of a server: asked for, checked here, asked again where they are of no use.

In: messages, the form of the answer, how it is read. Out: what was read, or why nothing was. Structured output is never
trusted: malformed JSON, refusals, cut and empty answers are asked again in a new round, and in the end are no answer.
A server that cannot be reached or refuses the request is not of this kind: `Unanswered` goes on to the caller.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from medprm.cases.parsing import parse_json
from medprm.cases.schema import Case
from medprm.clients.chat import ChatClient, ChatReply, ChatRequest, Message
from medprm.errors import InputError

Value = TypeVar("Value")
Form = TypeVar("Form", bound="StrictForm")


class StrictForm(BaseModel):
    """The form of an answer. What a model says beside it does no harm."""

    model_config = ConfigDict(extra="ignore", strict=True)


class UnusableAnswer(Exception):
    """An answer that gives nothing; the message says why."""


class Question(NamedTuple):
    """What is asked: `stage` is the line of the ledger, `form` what the answer must look like, `name` its name."""

    stage: str
    case: Case
    messages: tuple[Message, ...]
    name: str
    form: type[StrictForm]
    max_answer_tokens: int

    def request(self, number: int) -> ChatRequest:
        """The request of a round: greedy at first; a later one draws, since the greedy answer was of no use."""
        schema = {"name": self.name, "schema": self.form.model_json_schema()}
        settings: dict[str, Any] = {
            "temperature": 0.0 if number == 0 else 0.7,
            "seed": number,
            "max_tokens": self.max_answer_tokens,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
        return ChatRequest(self.stage, self.case, self.messages, settings, round=number)


class Answered(NamedTuple, Generic[Value]):
    """`value` None: no answer of use; `reason` says why. `model`: the one that answered last."""

    value: Value | None
    model: str
    reason: str


def ask(client: ChatClient, question: Question, read: Callable[[ChatReply], Value], max_rounds: int) -> Answered[Value]:
    """What `read` makes of the first answer that it does not refuse with UnusableAnswer. Unanswered as the client."""
    reason, model = "never asked", client.model
    for number in range(max_rounds):
        reply = client.ask(question.request(number))
        model = reply.model
        try:
            return Answered(read(reply), model, "")
        except UnusableAnswer as error:
            reason = str(error)
    return Answered(None, model, reason)


def read_form(reply: ChatReply, form: type[Form]) -> Form:
    """The first choice of a reply in the form that was asked for; UnusableAnswer for anything else."""
    if not reply.choices:
        raise UnusableAnswer("no choices")
    choice = reply.choices[0]
    if choice.finish_reason not in (None, "stop"):
        raise UnusableAnswer(f"finish_reason {str(choice.finish_reason)[:40]}")
    if not choice.text or not choice.text.strip():
        raise UnusableAnswer("an empty answer")
    try:
        return form.model_validate(parse_json(_bare(choice.text), "the answer"))
    except (ValidationError, InputError, RecursionError):
        raise UnusableAnswer("not the JSON that was asked for") from None


def _bare(text: str) -> str:
    """Without the code fence that models put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    return text
