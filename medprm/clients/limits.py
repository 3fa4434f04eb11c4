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
    """The wait before attempt `number` + 1: doubled each time, half of it by chance; at least what the server asks."""
    doubled = min(most, first * 2**number)
    return max(min(retry_after or 0.0, most), doubled * (0.5 + 0.5 * random.random()))


class Breaker:
    """Open after `num_failures` in a row: nobody sends for `rest_seconds`, then one may try."""

    def __init__(self, num_failures: int, rest_seconds: float) -> None:
        self.num_failures = num_failures
        self.rest_seconds = rest_seconds
        self.num_openings = 0
        self._in_a_row = 0
        self._until = 0.0
        self._mutex = threading.Lock()

    def wait(self) -> None:
        """Sleep while it is open; of those who wait, each wakes at its own moment."""
        while True:
            with self._mutex:
                left = self._until - time.monotonic()
            if left <= 0:
                return
            time.sleep(left + random.random() * min(1.0, self.rest_seconds / 10))

    def succeeded(self) -> None:
        with self._mutex:
            self._in_a_row = 0

    def failed(self) -> None:
        with self._mutex:
            self._in_a_row += 1
            if self._in_a_row >= self.num_failures and self._until <= time.monotonic():
                self._until = time.monotonic() + self.rest_seconds
                self.num_openings += 1
