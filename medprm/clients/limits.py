"""Rates, waiting and giving up: a bucket of requests and tokens, back-off with jitter, a circuit breaker, a budget.

In: limits. Out: permission to send, after a wait where one is due. All are shared between threads.
"""

import random
import threading
import time


class BudgetSpent(Exception):
    """The next request could go over the budget; everything finished is kept."""


class Bucket:
    """At most `per_minute` units in any minute, spread evenly after a first burst of a tenth; None: no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self.rate = None if per_minute is None else per_minute / 60
        self.most = 0.0 if per_minute is None else max(1.0, per_minute / 10)
        self._level, self._filled = self.most, time.monotonic()
        self._mutex = threading.Lock()

    def take(self, amount: float = 1.0) -> None:
        """Wait until `amount` is there. More than the bucket holds is taken when it is full, and owed."""
        if self.rate is None:
            return
        with self._mutex:
            now = time.monotonic()
            self._level = min(self.most, self._level + (now - self._filled) * self.rate)
            self._filled = now
            missing = min(amount, self.most) - self._level
            self._level -= amount
        if missing > 0:
            time.sleep(missing / self.rate)


def backoff_seconds(number: int, first: float, most: float, retry_after: float | None) -> float:
    """The wait before attempt `number` + 1: doubled each time up to `most`, half of it by chance.

    At least what the server asks (Retry-After), however long: before that it would only refuse again.
    """
    doubled = min(most, first * 2**number)
    return max(retry_after or 0.0, doubled * (0.5 + 0.5 * random.random()))


class Breaker:
    """Open after `num_failures` in a row: nobody sends for `rest_seconds`, then one tries while the others wait.

    If that one succeeds all may send; if it fails the next rest begins.
    """

    def __init__(self, num_failures: int, rest_seconds: float) -> None:
        self.num_failures = num_failures
        self.rest_seconds = rest_seconds
        self.num_openings = 0
        self._in_a_row = 0
        self._until: float | None = None  # None: closed
        self._trier: int | None = None  # the thread that tries
        self._mutex = threading.Lock()

    @property
    def is_resting(self) -> bool:
        """Whether `wait` would wait."""
        with self._mutex:
            return self._until is not None and (self._trier is not None or time.monotonic() < self._until)

    def wait(self) -> None:
        """Until this thread may send: at once while it is closed, else when the rest is over and nobody else tries.

        Whoever may send says afterwards how it went: `succeeded`, `failed`, or `let_go` where neither is known.
        """
        while (left := self._seconds_left()) > 0:
            time.sleep(left)

    def succeeded(self) -> None:
        with self._mutex:
            self._in_a_row, self._until, self._trier = 0, None, None

    def failed(self) -> None:
        with self._mutex:
            self._in_a_row += 1
            is_trial = self._trier == threading.get_ident()
            if is_trial or (self._until is None and self._in_a_row >= self.num_failures):
                self._until, self._trier = time.monotonic() + self.rest_seconds, None
                self.num_openings += 1

    def let_go(self) -> None:
        """The request told nothing of the server's health (429, or it was never sent): another may try."""
        with self._mutex:
            if self._trier == threading.get_ident():
                self._trier = None

    def _seconds_left(self) -> float:
        """How long to wait before asking again; 0 where this thread may send, and is the one that tries."""
        with self._mutex:
            if self._until is None:
                return 0.0
            left = self._until - time.monotonic()
            if left <= 0 and self._trier is None:
                self._trier = threading.get_ident()
                return 0.0
            return max(left, min(1.0, self.rest_seconds / 10))
