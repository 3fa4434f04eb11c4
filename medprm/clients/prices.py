"""What an answer costs, by the model that gave it and a dated price list. Spend is never under-reported.

In: model names, numbers of tokens. Out: dollars. On this machine and this site calls cost nothing here (computing has
its own line); outside, a model without a price is refused before the first call.
"""

from collections.abc import Iterable

from medprm.clients.chat import ChatReply, ChatRequest, Message
from medprm.clients.settings import ModelPrice, PriceSettings
from medprm.errors import InputError

MILLION = 1e6
MESSAGE_TOKENS = 16  # around a message
IMAGE_TOKENS = 3400  # worst case of one image: InternVL2.5 at 12 tiles and a thumbnail


def most_input_tokens(messages: Iterable[Message]) -> int:
    """The most tokens that the messages can be: a token a byte of text, and images at their largest."""
    return sum(len(one.text.encode()) + IMAGE_TOKENS * len(one.images) + MESSAGE_TOKENS for one in messages)


def most_answer_tokens(request: ChatRequest) -> int:
    """The limit of tokens in every answer that is asked for."""
    return int(request.settings.get("max_tokens", 4096)) * request.num_answers


class PriceList:
    """The prices of one run. `is_free`: the servers are ours."""

    def __init__(self, settings: PriceSettings, is_free: bool) -> None:
        self.settings = settings
        self.is_free = is_free

    def price(self, model: str) -> ModelPrice | None:
        """The price under the longest listed name that the model's name is, or begins with."""
        name = model.removeprefix("models/")
        found = [one for one in self.settings.models if name == one or name.startswith((f"{one}-", f"{one}@"))]
        return self.settings.models[max(found, key=len)] if found else None

    def check(self, model: str) -> None:
        """InputError where a call would have no price."""
        if not self.is_free and self.price(model) is None:
            listed = ", ".join(sorted(self.settings.models)) or "none"
            raise InputError(f"model {model!r} has no price (listed: {listed}); add it: +prices.models.NAME.input=...")

    def dollars(self, reply: ChatReply, requested: str) -> float:
        """Of an answer. A model that answers without a price of its own counts as the dearest listed one."""
        if self.is_free:
            return 0.0
        price = self.price(reply.model) or self._dearest() or self.price(requested)
        assert price is not None, "prices are checked before the first call"
        cached = min(reply.cached_tokens, reply.input_tokens)
        cached_price = price.input if price.cached is None else price.cached
        paid = (reply.input_tokens - cached) * price.input + cached * cached_price + reply.output_tokens * price.output
        return paid / MILLION

    def worst(self, request: ChatRequest, model: str) -> float:
        """The most that a request can cost: a token a byte going in, the limit of tokens in every answer.

        By the dearest listed price for a model that has none.
        """
        price = self.price(model) or self._dearest()
        if self.is_free or price is None:
            return 0.0
        size = most_input_tokens(request.messages)
        return (size * price.input + most_answer_tokens(request) * price.output) / MILLION

    def _dearest(self) -> ModelPrice | None:
        return max(self.settings.models.values(), key=lambda one: (one.output, one.input), default=None)
