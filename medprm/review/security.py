"""What every request passes before it is read, and what every answer carries. Plain ASGI, no framework.

Refused: hosts by other names than the application's own (DNS rebinding), bodies over the limit, announced or not, or
slow to come, and requests that change something and come from another origin. Tokens against forged requests are
checked where a session is known (`app`).
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MOST_BODY_BYTES = 64 * 1024
MOST_BODY_SECONDS = 20.0
SAFE_METHODS = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # no-referrer would make the origin of our own forms null
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Gate:
    """The application behind its checks."""

    def __init__(self, application: Application, names: Sequence[str], is_https: bool) -> None:
        self.application = application
        self.names = {name.casefold() for name in (*names, "localhost", "127.0.0.1", "::1")}
        self.headers = HEADERS | ({"strict-transport-security": "max-age=31536000"} if is_https else {})

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                own = self.headers | ({} if b"cache-control" in given else {"cache-control": "no-store"})
                message["headers"] = [*message["headers"], *((a.encode(), b.encode()) for a, b in own.items())]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await _answer(with_headers, *refusal)
            return
        try:
            async with asyncio.timeout(MOST_BODY_SECONDS):
                body = await _bounded_body(receive) if scope["method"] not in SAFE_METHODS else b""
        except TimeoutError:
            await _answer(with_headers, 408, f"the request took more than {MOST_BODY_SECONDS:g} seconds to arrive")
            return
        if body is None:
            await _answer(with_headers, 413, f"the request is larger than {MOST_BODY_BYTES} bytes")
            return
        await self.application(scope, _replay(body, receive), with_headers)

    def _refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if _hostname(host) not in self.names:
            return 400, "unknown host; set address.names to the names that browsers use"
        if scope["method"] in SAFE_METHODS:
            return None
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            return 413, f"the request is larger than {MOST_BODY_BYTES} bytes"
        origin = headers.get("origin")
        if origin is not None and _origin_host(origin) != host.casefold():
            return 403, "the request comes from another origin"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "the request comes from another site"
        return None


def _hostname(host: str) -> str | None:
    """The name in a Host header, without its port; None where it is malformed."""
    try:
        return (urlsplit(f"//{host}").hostname or "").casefold()
    except ValueError:
        return None


def _origin_host(origin: str) -> str | None:
    """Host and port in an Origin header; None where it is malformed."""
    try:
        return urlsplit(origin).netloc.casefold()
    except ValueError:
        return None


async def _bounded_body(receive: Receive) -> bytes | None:
    """The whole body; None where it is over the limit, whatever its header announced."""
    body, has_more = b"", True
    while has_more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        has_more = message.get("more_body", False)
        if len(body) > MOST_BODY_BYTES:
            return None
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    is_sent = False

    async def replayed() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _answer(send: Send, status: int, text: str) -> None:
    # Closed: what is left of a refused body is not read.
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
