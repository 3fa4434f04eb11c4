"""An OpenAI-compatible server over HTTP: every request guarded, journalled before it is sent, limited, and paid once.

In: `ChatRequest`. Out: `ChatReply`, from the journal where it was finished before. httpx is told to use no proxy, to
follow no redirect and to try nothing again, so that the journal sees every attempt. Works with vLLM, `transformers
serve`, Gemini's and other endpoints of that form.
"""

import email.utils
import json
import math
import os
import ssl
import threading
import time
import zlib
from typing import Any

import httpx

from medprm.clients.chat import ChatReply, ChatRequest, Choice, Unanswered
from medprm.clients.guard import Guard, zone_of
from medprm.clients.journal import Bill, Journal
from medprm.clients.limits import Breaker, Bucket, BudgetSpent, backoff_seconds
from medprm.clients.prices import IMAGE_TOKENS, PriceList, most_answer_tokens
from medprm.clients.settings import PriceSettings, ServerSettings
from medprm.errors import InputError

HOPELESS = (400, 401, 403, 404, 405, 413, 415, 422)  # asking again changes nothing
BYTES_A_TOKEN = 4  # of text, about
MOST_TOKENS = 2**53  # that a server may say it took; the journal holds no larger numbers
OUR_FAULT = (401, 403, 404)  # neither for any other request: a wrong key, model or address


class SendFailure(Exception):
    """An attempt without an answer."""

    def __init__(self, reason: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class OpenAIClient:
    """A `ChatClient`. One object serves many threads."""

    def __init__(
        self,
        settings: ServerSettings,
        prices: PriceSettings,
        guard: Guard,
        journal: Journal,
        budget_dollars: float | None = None,
    ) -> None:
        if not settings.base_urls or not settings.model:
            raise InputError("a server needs base_urls=[http://HOST:PORT/v1] and model=NAME")
        zones = {zone_of(url, guard.settings.site_hosts) for url in settings.base_urls}
        self.prices = PriceList(prices, is_free="outside" not in zones)
        self.prices.check(settings.model)
        self.settings, self.guard, self.journal, self.budget = settings, guard, journal, budget_dollars
        self.model = settings.model
        self._key = secret_key(settings.api_key_env)
        self._requests, self._tokens = Bucket(settings.requests_per_minute), Bucket(settings.tokens_per_minute)
        self._breakers = {url: Breaker(settings.breaker_failures, settings.rest_seconds) for url in settings.base_urls}
        self._slots = threading.BoundedSemaphore(settings.concurrency)
        self._purse = threading.Lock()
        self._http = httpx.Client(
            trust_env=False,
            follow_redirects=False,
            verify=ssl.create_default_context(),
            timeout=settings.timeout_seconds,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=settings.concurrency),
        )

    def ask(self, request: ChatRequest) -> ChatReply:
        """The answer; Unanswered after `max_attempts`, BudgetSpent before a request that could go over the budget."""
        key = request.key(self.model)
        with self.journal.alone_with(key):
            kept = self.journal.finished(key)
            return self._buy(request, key) if kept is None else ChatReply.from_text(kept)

    def _buy(self, request: ChatRequest, key: str) -> ChatReply:
        """Attempt after attempt, each at the next address."""
        failure, url = None, ""
        for number in range(self.settings.max_attempts):
            if failure is not None:
                wait = (self.settings.backoff_seconds, self.settings.max_backoff_seconds)
                time.sleep(backoff_seconds(number - 1, *wait, failure.retry_after))
            with self._slots:
                self._requests.take()
                self._tokens.take(likely_tokens(request))
                url = self._address(request, number)
                self.guard.check(request.case, url, request.messages)
                self._breakers[url].wait()
                try:
                    return self._attempt(request, key, url)
                except SendFailure as error:
                    failure = error
                finally:
                    self._breakers[url].let_go()
            if failure.status in OUR_FAULT:
                raise InputError(f"{url}: {failure}; check the address, the model {self.model!r} and the key")
            if failure.status in HOPELESS:
                break
        raise Unanswered(f"{url}, {request.stage} of case {request.case.case_id}: {failure}")

    def _address(self, request: ChatRequest, number: int) -> str:
        """Of an attempt: first the case's own, then the next ones; those that rest only where all do."""
        urls = self.settings.base_urls
        own = zlib.crc32(request.case.case_id.encode()) + number
        in_turn = [urls[(own + place) % len(urls)] for place in range(len(urls))]
        return next((url for url in in_turn if not self._breakers[url].is_resting), in_turn[0])

    def _attempt(self, request: ChatRequest, key: str, url: str) -> ChatReply:
        """Send once and write down what happened; a charge whose end is not known stays at its worst."""
        attempt, worst = self._begin(request, key)
        begin = time.monotonic()
        try:
            reply = self._send(request, key, url)
        except SendFailure as error:
            # Refused with a status: not charged. Broken off: the server may have worked, so it counts.
            dollars = 0.0 if error.status is not None and error.status != 200 else worst
            self.journal.fail(attempt, str(error), Bill(dollars=dollars), time.monotonic() - begin, error.status)
            if error.status != 429:
                self._breakers[url].failed()
            raise
        # A server that does not say what it took may charge anything up to the worst.
        at_worst = max(worst, self.prices.worst(request, reply.model))
        dollars = self.prices.dollars(reply, self.model) if reply.has_usage else at_worst
        tokens = (reply.input_tokens, reply.output_tokens, reply.cached_tokens)
        bill = Bill(reply.model, *tokens, dollars, has_usage=reply.has_usage)
        self.journal.finish(attempt, reply.to_text(), bill, time.monotonic() - begin)
        self._breakers[url].succeeded()
        return reply

    def _begin(self, request: ChatRequest, key: str) -> tuple[int, float]:
        worst = self.prices.worst(request, self.model)
        with self._purse:
            if self.budget is not None and self.journal.spent() + worst > self.budget:
                raise BudgetSpent(
                    f"${self.journal.spent():.4f} are spent or under way, the next request may cost ${worst:.4f}, and "
                    f"the budget is ${self.budget:.4f}"
                )
            attempt = self.journal.begin(key, request.stage, request.case.case_id, self.model, worst)
        return attempt, worst

    def _send(self, request: ChatRequest, key: str, url: str) -> ChatReply:
        body = json.dumps(request.body(self.model), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            status, text, retry_after = self._exchange(url, body, headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise SendFailure(f"{type(error).__name__}: {error}") from None
        if status != 200:
            said = text.replace(self._key.encode(), b"***") if self._key else text
            raise SendFailure(f"status {status}: {said[:200]!r}", status, _seconds(retry_after))
        return parse_reply(text)

    def _exchange(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str | None]:
        """One request and its whole answer within the time and the size allowed."""
        deadline = time.monotonic() + self.settings.timeout_seconds
        pieces, size = [], 0
        with self._http.stream(
            "POST", f"{url.rstrip('/')}/chat/completions", content=body, headers=headers
        ) as response:
            for piece in response.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > self.settings.max_answer_bytes:
                    raise ValueError(f"an answer of more than {self.settings.max_answer_bytes} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no whole answer in {self.settings.timeout_seconds} seconds")
        return response.status_code, b"".join(pieces), response.headers.get("Retry-After")


def likely_tokens(request: ChatRequest) -> float:
    """What a provider's limit of tokens a minute counts: text, images, and the answers at their longest."""
    size = sum(len(one.text.encode()) / BYTES_A_TOKEN + IMAGE_TOKENS * len(one.images) for one in request.messages)
    return size + most_answer_tokens(request)


def parse_reply(text: bytes) -> ChatReply:
    """The reply in a server's answer; SendFailure where it is none. What it says of itself is taken as it stands."""
    try:
        value: Any = json.loads(text.decode("utf-8"))
        choices = tuple(
            Choice(one["message"].get("content"), one.get("finish_reason")) for one in value.get("choices") or []
        )
        usage = value.get("usage") or {}
        has_usage = usage.get("prompt_tokens") is not None and usage.get("completion_tokens") is not None
        details = usage.get("prompt_tokens_details") or {}
        counts = [usage.get("prompt_tokens"), usage.get("completion_tokens"), details.get("cached_tokens")]
        numbers = [int(one or 0) for one in counts]
        if not all(one.text is None or isinstance(one.text, str) for one in choices):
            raise ValueError("a content that is no text")
        if min(numbers) < 0 or max(numbers) > MOST_TOKENS:
            raise ValueError("a count of tokens that cannot be")
        reply = ChatReply(choices, str(value.get("model") or "unnamed"), *numbers, has_usage=has_usage)
        reply.to_text().encode()  # half a surrogate pair is no text, and could not be kept
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SendFailure(f"no chat completion: {type(error).__name__}: {str(error)[:100]}", 200) from None
    return reply


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After as seconds or as a date; None where it is neither."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def secret_key(name: str | None) -> str | None:
    """The key from the environment, which is kept in memory alone; InputError where it is not set."""
    if name is None:
        return None
    value = os.environ.get(name)
    if not value:
        raise InputError(f"the environment variable {name} is not set; put the server's key there, never into settings")
    return value
