"""A policy behind an OpenAI-compatible address: it continues step prefixes to a final answer.

In: a case, prefixes. Out: continuations, one request a prefix and round (`n` of them at once; a server that gives fewer
is asked again for the rest). Requests of a case come one after another, prefix by prefix, for servers that cache
prefixes. How a text is continued: vLLM's `continue_final_message`, or a prompt that asks for it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from medprm.annotation.counts import Drawn
from medprm.annotation.rollouts import Drawing, Prefix
from medprm.cases.schema import Case
from medprm.cases.steps import ANSWER_LINE
from medprm.clients.chat import ChatClient, ChatReply, ChatRequest, Choice, Message
from medprm.encoding.turns import document_text, render_context
from medprm.errors import InputError

ROUND_STRIDE = 1000  # rounds of one draw: its number times this, plus the times that it was asked for the rest
SYSTEM = (
    "Solve the medical case step by step, one step a line. End with a line of the form: The answer is ... , with {}."
)
# By the setting, never by the case: what kind the reference answer is would tell the policy something of it.
ASKED_FOR = {
    "auto": "the text of one option where options are given",
    "choice": "the text of one option",
    "yes_no": "yes, no or maybe",
    "number": "one number and its unit",
    "icd10": "one ICD-10 code",
    "diagnosis": "the name of one diagnosis and nothing else",
    "findings": "all findings, separated by commas",
    "open": "as few words as it takes",
}
CONTINUE = "The solution so far:\n{steps}\nGo on with the next steps; do not repeat these."


class ServerPolicy:
    """A `Policy`. `case_images` gives the images of a case as PNG files in memory."""

    def __init__(
        self,
        client: ChatClient,
        drawing: Drawing,
        case_images: Callable[[Case], Sequence[bytes]] | None = None,
        seed: int = 0,
        answer_kind: str = "auto",
    ) -> None:
        self.client = client
        self.answer_kind = answer_kind
        self.drawing = drawing
        self.case_images = case_images
        self.seed = seed
        self.name = client.model

    def draw(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> list[list[Drawn]]:
        images = tuple(self.case_images(case)) if self.case_images else ()
        asked = (self.answer_kind, self.drawing.continuation)
        return [self._one(policy_messages(case, steps, images, *asked), case, num, number) for steps in prefixes]

    def _one(self, messages: tuple[Message, ...], case: Case, num: int, number: int) -> list[Drawn]:
        drawn: list[Drawn] = []
        for again in range(num):
            round_number = number * ROUND_STRIDE + again
            settings = self._request_settings(num - len(drawn), round_number)
            if messages[-1].role == "assistant":
                settings |= {"continue_final_message": True, "add_generation_prompt": False}
            reply = self.client.ask(ChatRequest(self.drawing.stage, case, messages, settings, round_number))
            if not reply.choices:
                raise InputError(f"{self.name}: an answer without choices to a request for {num} continuations")
            drawn += self._drawn(reply)[: num - len(drawn)]
            if len(drawn) == num:
                break
        return drawn

    def _drawn(self, reply: ChatReply) -> list[Drawn]:
        """A server tells the tokens of all choices together: each gets its share, and the sum is exact."""
        num_choices = len(reply.choices)
        shares = [(reply.output_tokens + place) // num_choices for place in range(num_choices)]
        return [
            Drawn(one.text or "", 1, one.finish_reason == "length", tokens, self._goes_on(one))
            for one, tokens in zip(reply.choices, shares, strict=True)
        ]

    def _goes_on(self, choice: Choice) -> bool:
        """Servers do not say whether a text ended by `stop` or by itself: an answer, or nothing more, is the end."""
        text = choice.text or ""
        is_end = not text.strip() or ANSWER_LINE.search(text) is not None
        return self.drawing.stop is not None and choice.finish_reason != "length" and not is_end

    def _request_settings(self, num: int, round_number: int) -> dict[str, Any]:
        return {
            "n": num,
            "temperature": self.drawing.temperature,
            "max_tokens": self.drawing.max_new_tokens,
            "seed": self.seed * ROUND_STRIDE**2 + round_number,
            **({} if self.drawing.stop is None else {"stop": [self.drawing.stop]}),
        }


def policy_messages(
    case: Case, steps: Prefix, images: tuple[bytes, ...], answer_kind: str, continuation: str
) -> tuple[Message, ...]:
    """What the policy is asked: documents, images, context, question, options; the steps so far, to go on from."""
    documents = [f"Document {number}: {document_text(one)}" for number, one in enumerate(case.documents, start=1)]
    options = [f"Options: {'; '.join(case.options)}"] if case.options else []
    context = render_context(case.clinical_context).strip()
    asked = "\n".join([*documents, *([context] if context else []), f"Question: {case.question}", *options])
    said = "\n".join(steps)
    system = Message("system", SYSTEM.format(ASKED_FOR[answer_kind]))
    if not steps:
        return (system, Message("user", asked, images))
    if continuation == "prompt":
        return (system, Message("user", f"{asked}\n{CONTINUE.format(steps=said)}", images))
    return (system, Message("user", asked, images), Message("assistant", said + "\n"))
