"""A client whose server counts as one outside: loopback is free, and prices are what these tests are about."""

from collections.abc import Iterator
from contextlib import contextmanager

from medprm.clients.openai_http import OpenAIClient
from medprm.commands import policies


class OutsideClient(OpenAIClient):
    """Its calls cost what the price list says."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.prices.is_free = False


@contextmanager
def priced_servers() -> Iterator[None]:
    """Within it the servers of an annotation are paid ones."""
    original = policies.OpenAIClient
    policies.OpenAIClient = OutsideClient  # type: ignore[misc]
    try:
        yield
    finally:
        policies.OpenAIClient = original  # type: ignore[misc]
