"""How much of all requests is held in memory at once.

In: the pieces of bodies as they arrive. Out: nothing, or `Busy` where the budget is spent. For one event loop.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from medprm.serving.batching import Busy


class BodiesInFlight:
    """`num_bytes` of bodies whose requests have not been answered yet, `max_bytes` at most."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """What to call with the size of each piece of one body; all of them are given back at the end."""
        num_taken = 0

        def take(num_bytes: int) -> None:
            nonlocal num_taken
            if self.num_bytes + num_bytes > self.max_bytes:
                raise Busy(
                    f"the requests under way hold {self.num_bytes / 2**20:.1f} MiB of serving.max_bodies_mib="
                    f"{self.max_bytes // 2**20}; try again later"
                )
            self.num_bytes += num_bytes
            num_taken += num_bytes

        try:
            yield take
        finally:
            self.num_bytes -= num_taken
