"""The HTTP service: POST /score, POST /rank, GET /health, and a page of its own with the OpenAPI description.

In: a `ScoringService`. Out: an ASGI application. Bad requests get a 4xx and one line of JSON, `{"error": ...}`.
The page asks the network for nothing. Only JSON is taken, from hosts that the settings name, so that a web page that
somebody opens on this machine cannot use the service.
"""

import asyncio
import hmac
import ipaddress
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from medprm import __version__
from medprm.cases.schema import Case
from medprm.clients.guard import GuardRefusal
from medprm.clients.scoring_http import SOLUTION_TOO_LONG
from medprm.errors import InputError, SolutionTooLong
from medprm.serving.batching import Busy, Closed
from medprm.serving.in_flight import BodiesInFlight
from medprm.serving.requests import ScoreBody, ScoreRequest, read_request
from medprm.serving.service import ScoringService
from medprm.serving.settings import ServingSettings

logger = logging.getLogger(__name__)

OWN_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# What proxies add. uvicorn would take the client from one of them (proxy_headers), and is told not to.
PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
OPEN_PATHS = ("/", "/health", "/openapi.json")
BODY = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ScoreBody"}}}}
STATUSES = {
    400: "no JSON object in UTF-8, an unknown Host, or a proxy's headers where none are expected, or the reverse",
    401: "without the token, or with another one",
    403: "the guard does not let this case's data go to the address that asks",
    408: "the request did not arrive in time",
    413: "the request is too large",
    415: "Content-Type is not application/json",
    422: "something in the request is wrong; `error` says what, where and what is expected; `kind` is "
    "solution_too_long where one solution is, and the case would be scored with a shorter one",
    503: "too many cases are waiting, or requests hold too much memory; Retry-After says when to come again",
}
RESPONSES: dict[int | str, dict[str, Any]] = {status: {"description": text} for status, text in STATUSES.items()}


class Refused(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


def create_app(service: ScoringService, token: str | None = None) -> FastAPI:
    """The application; with `token` every request but those for the page and for health must carry it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()  # here, since uvicorn ends the process by the signal that it got

    app = FastAPI(title="MedPRM scores", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    settings = service.settings
    in_flight = BodiesInFlight(settings.max_bodies_mib * 2**20)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    _answer_errors(app)

    @app.middleware("http")
    async def admit(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            _check_host(request, settings)
            if request.url.path not in OPEN_PATHS:
                _check_token(request, token)
                request.state.client = _client(request, settings)
        except Refused as refused:
            return _refusal(refused.status, str(refused), refused.headers)
        return await call_next(request)

    @asynccontextmanager
    async def asked(request: Request) -> AsyncIterator[ScoreRequest]:
        """The request; its size counts until it is answered."""
        with in_flight.body() as take:
            yield await run_in_threadpool(read_request, await _read_body(request, settings, take), settings)

    @app.post("/score", openapi_extra={"requestBody": BODY}, responses=RESPONSES, summary="Score every step")
    async def score(request: Request) -> JSONResponse:
        """One number in [0, 1] for every step of every solution of a case, and one for each solution."""
        async with asked(request) as one:
            return JSONResponse(await service.score(one, request.state.client))

    @app.post("/rank", openapi_extra={"requestBody": BODY}, responses=RESPONSES, summary="Rank the solutions")
    async def rank(request: Request) -> JSONResponse:
        """The solutions of a case by their number, the best first."""
        async with asked(request) as one:
            return JSONResponse(await service.rank(one, request.state.client))

    @app.get("/health", summary="Whether the service is up, and what it serves")
    async def health() -> JSONResponse:
        return JSONResponse(service.health())

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return _page(app.openapi(), service, token is not None)

    return app


def _page(description: dict[str, Any], service: ScoringService, needs_token: bool) -> HTMLResponse:
    """How to use the service, from its own description; no script."""
    environment = Environment(loader=PackageLoader("medprm.serving", "."), autoescape=True, undefined=StrictUndefined)
    text = environment.get_template("page.html.j2").render(
        description=description,
        schema=json.dumps(description["components"]["schemas"], indent=1),
        statuses=STATUSES,
        health=service.health(),
        settings=service.settings,
        needs_token=needs_token,
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})


def _check_host(request: Request, settings: ServingSettings) -> None:
    """Names of loopback and those in the settings: a page on the web can point a name of its own at this machine."""
    given = request.headers.get("host", "")
    name = given.rpartition(":")[0] if given.rpartition(":")[2].isdigit() else given
    if name.casefold() not in (*OWN_HOSTS, *(one.casefold() for one in settings.allowed_hosts)):
        raise Refused(400, f"Host {given[:100]!r} is not a name of this service; serving.allowed_hosts names more")


def _check_token(request: Request, token: str | None) -> None:
    given = request.headers.get("authorization", "")
    if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        what = "another token than this service's" if given else "no token"
        raise Refused(401, f"{what}; send the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})


async def _read_body(request: Request, settings: ServingSettings, take: Callable[[int], None]) -> bytes:
    """`take` is told the size of every piece, and raises where there is no room for it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind != "application/json":
        raise Refused(415, f"Content-Type {kind[:60]!r}; expected application/json")
    limit = settings.max_body_mib * 2**20
    too_large = Refused(413, f"the request is larger than {settings.max_body_mib} MiB; send fewer solutions or images")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise too_large
    pieces, size = [], 0
    try:
        async with asyncio.timeout(settings.read_timeout_seconds):
            async for piece in request.stream():
                size += len(piece)
                if size > limit:
                    raise too_large
                take(len(piece))
                pieces.append(piece)
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {settings.read_timeout_seconds:g} seconds") from None
    return b"".join(pieces)


def _client(request: Request, settings: ServingSettings) -> str:
    """The address that the answer goes to: the last one of X-Forwarded-For is the proxy's word, the others a claim."""
    if not settings.behind_proxy:
        if found := next((name for name in PROXY_HEADERS if name in request.headers), None):
            raise Refused(
                400,
                f"the header {found} is a proxy's, whose clients would all count as this machine; start the service "
                "with serving.behind_proxy=true",
            )
        assert request.client is not None, "a request over TCP has an address"
        return request.client.host
    given = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        raise Refused(
            400, f"X-Forwarded-For ends with {given[:60]!r}; expected the client's address: let the proxy append it"
        ) from None


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return _refusal(error.status, str(error), error.headers)

    @app.exception_handler(InputError)
    async def wrong(_: Request, error: InputError) -> JSONResponse:
        text = str(error)
        if isinstance(error, SolutionTooLong):
            return JSONResponse({"error": text, "kind": SOLUTION_TOO_LONG}, 422)
        is_unreadable = "broken JSON" in text or "is not UTF-8" in text
        return _refusal(403 if isinstance(error, GuardRefusal) else 400 if is_unreadable else 422, text)

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return _refusal(503, str(error), {"Retry-After": "1"})

    @app.exception_handler(Closed)
    async def closed(_: Request, error: Closed) -> JSONResponse:
        return _refusal(503, str(error), {"Retry-After": "10"})

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        paths = "POST /score, POST /rank, GET /health, GET /"
        return _refusal(
            error.status_code, f"{request.method} {request.url.path[:100]}: {error.detail}; there is {paths}"
        )

    @app.exception_handler(Exception)
    async def ours(_: Request, error: Exception) -> JSONResponse:
        logger.error("a request failed: %r", error)
        return _refusal(500, "an error of the service; its log says more")


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)


def _describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1, with the schema of a request; the case's is that of a record."""
    if app.openapi_schema is None:
        described = get_openapi(
            title=app.title, version=app.version, routes=app.routes, summary=(__doc__ or "").split("\n")[0]
        )
        template = "#/components/schemas/{model}"
        _, schemas = models_json_schema([(ScoreBody, "validation"), (Case, "validation")], ref_template=template)
        components = described.setdefault("components", {}).setdefault("schemas", {})
        components |= schemas["$defs"]
        components["ScoreBody"]["properties"]["case"] = {"$ref": template.format(model="Case")}
        components.pop("HTTPValidationError", None)
        app.openapi_schema = described
    return app.openapi_schema
