"""What may leave beside requests: numbers, pages of numbers, weights, for a tracker or a hub.

In: the cases that it was made of, the address. Out: nothing, or `GuardRefusal`. Numbers over cases may leave wherever
the settings send them, once it is seen that no case stands in them: no id, no question, no step. Weights can hold what
they were trained on: they go as far as the sources of their cases may.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property

from medprm.cases.schema import CaseSolutions
from medprm.clients.guard import IDENTIFIERS, Guard, GuardRefusal

# Of the guard's patterns those that no page of numbers meets by chance.
ALSO_LOOKED_FOR = ("an e-mail address", "a secret")
# Shorter ids and texts are found in any page by chance.
LEAST_ID_LENGTH = 5
LEAST_TEXT_LENGTH = 20


class Uploads:
    """The rules for what is made of `cases` and goes to `url`."""

    def __init__(self, guard: Guard, cases: Sequence[CaseSolutions], url: str) -> None:
        self.guard = guard
        self.cases = cases
        self.url = url

    def check_text(self, what: str, text: str) -> None:
        """GuardRefusal where a case, or what looks like an identifier, stands in the text."""
        for name in ALSO_LOOKED_FOR:
            if IDENTIFIERS[name].search(text):
                raise GuardRefusal(f"{what}: not sent to {self.url}: it has what looks like {name}")
        for kind, known in (("id", self._ids), ("question or step", self._texts)):
            if found := next((one for one in known if one in text), None):
                raise GuardRefusal(
                    f"{what}: not sent to {self.url}: the {kind} of a case stands in it ({len(found)} characters)"
                )

    def check_weights(self, what: str) -> None:
        """GuardRefusal unless every case that the weights were trained on may go to the address."""
        for item in self.cases:
            try:
                self.guard.check(item.case, self.url, [])
            except GuardRefusal as refusal:
                raise GuardRefusal(f"{what}: weights are as open as their cases: {refusal}") from None

    @cached_property
    def _ids(self) -> list[str]:
        ids: Iterable[str | None] = (one for item in self.cases for one in (item.case.case_id, item.case.patient_id))
        return sorted({one for one in ids if one and len(one) >= LEAST_ID_LENGTH})

    @cached_property
    def _texts(self) -> list[str]:
        texts = {item.case.question for item in self.cases}
        texts |= {step for item in self.cases for one in item.solutions for step in one.step_texts}
        return sorted(one for one in texts if len(one) >= LEAST_TEXT_LENGTH)
