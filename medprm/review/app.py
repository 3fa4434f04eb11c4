"""The application: pages and what they ask for, for one project.

In: `Project`. Out: an ASGI application. Every address but the login page needs a session; whatever changes something
needs the session's token, too (header `X-CSRF-Token`, or the form field `csrf`). Roles are checked where they matter,
at the server.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Depends, FastAPI, Form, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from medprm.annotation.settings import ConsensusSettings
from medprm.errors import InputError
from medprm.review.accounts import Accounts, Session, TooManyFailures, User
from medprm.review.assignment import KINDS, Assignment, TurnError
from medprm.review.database import add_event
from medprm.review.exchange import EXPORTS, export_text, num_open_disputes
from medprm.review.pixels import Pixels
from medprm.review.progress import KeptAgreement, progress, work
from medprm.review.scored_view import score_css, scored_case, scored_rows
from medprm.review.security import Application, Gate
from medprm.review.settings import ROLES, SPECIALTIES, AddressSettings
from medprm.review.verdicts import ERROR_KINDS, SEVERITIES, Ending, Said, finish, save, undo
from medprm.review.views import gold_view, turn_view

STATIC = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
LOGIN_COOKIE = "medprm_login"


@dataclass(frozen=True)
class Project:
    """Everything that the pages of one project stand on."""

    assignment: Assignment
    accounts: Accounts
    pixels: Pixels
    consensus: ConsensusSettings
    address: AddressSettings
    title: str

    @property
    def cookie(self) -> str:
        """Over HTTPS the browser itself holds the cookie to this host and path (`__Host-`)."""
        return "__Host-medprm_session" if self.address.is_https else "medprm_session"


class LoginNeeded(Exception):
    """Nobody is logged in."""


def make_app(project: Project) -> Application:
    """The application behind its gate."""
    app = FastAPI(title="MedPRM review", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_login_routes(project))
    app.include_router(_review_routes(project))
    app.include_router(_overview_routes(project))
    app.include_router(_static_routes())
    _explain_errors(app)
    return Gate(app, [project.address.host, *project.address.names], project.address.is_https)


def _explain_errors(app: FastAPI) -> None:
    def login_needed(request: Request, _: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": "log in again"}, status_code=401)
        return RedirectResponse("/login", status_code=303)

    def mistake(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status_code=409 if isinstance(error, TurnError) else 422)

    def malformed(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # Without the value: it may be what somebody typed about a patient.
        places = sorted({".".join(map(str, one["loc"])) for one in error.errors()})
        return JSONResponse({"error": f"not as expected: {', '.join(places)}"}, status_code=422)

    app.add_exception_handler(LoginNeeded, login_needed)
    app.add_exception_handler(InputError, mistake)
    app.add_exception_handler(RequestValidationError, malformed)


def _session_of(project: Project) -> Callable[[Request], Session]:
    def session(request: Request) -> Session:
        found = project.accounts.session(request.cookies.get(project.cookie))
        if found is None:
            raise LoginNeeded
        return found

    return session


def _check_token(session: Session, given: str | None) -> None:
    if given is None or not secrets.compare_digest(session.csrf.encode(), given.encode()):
        raise HTTPException(403, "the form's token is missing or wrong; load the page again")


def _page(project: Project, template: str, session: Session | None, status: int = 200, **values: Any) -> HTMLResponse:
    user = session.user if session else None
    html = _TEMPLATES.get_template(template).render(
        title=project.title,
        user=user,
        csrf=session.csrf if session else "",
        has_scored=bool(project.assignment.material.scored),
        **values,
    )
    return HTMLResponse(html, status_code=status)


def _login_routes(project: Project) -> APIRouter:
    router = APIRouter()
    session_of = _session_of(project)
    limits: dict[str, Any] = {"httponly": True, "samesite": "strict", "secure": project.address.is_https, "path": "/"}

    def login_page(error: str = "", status: int = 200) -> Response:
        token = secrets.token_urlsafe(32)
        page = _page(project, "login.html.j2", None, status, error=error, login_token=token)
        page.set_cookie(LOGIN_COOKIE, token, max_age=3600, **limits)
        return page

    @router.get("/login")
    def login_form() -> Response:
        return login_page()

    @router.post("/login")
    def log_in(
        request: Request,
        name: Annotated[str, Form(max_length=200)],
        password: Annotated[str, Form(max_length=1000)],
        login_token: Annotated[str, Form(max_length=200)],
        medprm_login: Annotated[str | None, Cookie()] = None,
    ) -> Response:
        if medprm_login is None or not secrets.compare_digest(medprm_login.encode(), login_token.encode()):
            return login_page("The page was open for too long; try again.", 403)
        address = request.client.host if request.client else "unknown"
        try:
            token = project.accounts.log_in(name, password, address)
        except TooManyFailures as failures:
            page = login_page(f"Too many failed attempts; try again in {failures.args[0]} seconds.", 429)
            page.headers["retry-after"] = str(failures.args[0])
            return page
        if token is None:
            return login_page("Name or password is wrong.", 401)
        answer = RedirectResponse("/", status_code=303)
        answer.delete_cookie(LOGIN_COOKIE, path="/")
        answer.set_cookie(project.cookie, token, **limits)
        return answer

    @router.post("/logout")
    def log_out(
        request: Request, csrf: Annotated[str, Form()], session: Annotated[Session, Depends(session_of)]
    ) -> Response:
        _check_token(session, csrf)
        project.accounts.log_out(request.cookies[project.cookie])
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(project.cookie, path="/")
        return answer

    @router.get("/account")
    def account(session: Annotated[Session, Depends(session_of)]) -> Response:
        return _page(project, "account.html.j2", session, error="")

    @router.post("/account")
    def change_password(
        csrf: Annotated[str, Form()],
        old: Annotated[str, Form(max_length=1000)],
        new: Annotated[str, Form(max_length=1000)],
        session: Annotated[Session, Depends(session_of)],
    ) -> Response:
        _check_token(session, csrf)
        try:
            project.accounts.change_password(session.user, old, new)
        except InputError as error:
            return _page(project, "account.html.j2", session, 422, error=str(error))
        return RedirectResponse("/login", status_code=303)

    return router


def _review_routes(project: Project) -> APIRouter:
    """The page of a case and what it asks for."""
    router = APIRouter()
    session_of = _session_of(project)
    assignment = project.assignment

    def checked_session(
        session: Annotated[Session, Depends(session_of)], x_csrf_token: Annotated[str | None, Header()] = None
    ) -> Session:
        _check_token(session, x_csrf_token)
        return session

    reading = Depends(session_of)
    changing = Depends(checked_session)

    @router.get("/work/{kind}")
    def case_page(kind: str, session: Session = reading) -> Response:
        _check_kind(kind, session.user)
        return _page(project, "case.html.j2", session, kind=kind, error_kinds=ERROR_KINDS, severities=SEVERITIES)

    @router.post("/api/next/{kind}")
    def next_task(kind: str, session: Session = changing) -> Response:
        _check_kind(kind, session.user)
        turn = assignment.next_turn(session.user, kind)
        return JSONResponse({"turn": None} if turn is None else turn_view(assignment, session.user, turn))

    @router.post("/api/turn/{turn_id}/verdict")
    def verdict(turn_id: int, said: Said, session: Session = changing) -> Response:
        return JSONResponse({"step_id": said.step_id, "state": save(assignment, session.user, turn_id, said)})

    @router.post("/api/turn/{turn_id}/undo")
    def take_back(turn_id: int, session: Session = changing) -> Response:
        return JSONResponse({"undone": undo(assignment, session.user, turn_id)})

    @router.post("/api/turn/{turn_id}/finish")
    def end(turn_id: int, ending: Ending, session: Session = changing) -> Response:
        finish(assignment, session.user, turn_id, ending)
        return JSONResponse({"gold": gold_of(session.user, turn_id)})

    @router.get("/api/pixels/{image}")
    def pixels(image: int, session: Session = reading, frame: int | None = None) -> Response:
        try:
            return Response(project.pixels.frame(image, frame), media_type="application/octet-stream")
        except KeyError:
            raise HTTPException(404, "no such image") from None
        except InputError:
            # Its words name the file, and a file may be named after a patient.
            with assignment.database.transaction() as connection:
                add_event(connection, "image_failed", session.user.id, image=image)
            return JSONResponse({"error": f"image {image} cannot be shown; tell the project's admin"}, status_code=422)

    def gold_of(user: User, turn_id: int) -> list[tuple[str, str]]:
        row = assignment.database.row("SELECT * FROM turns WHERE id = ? AND user_id = ?", turn_id, user.id)
        if not assignment.rules.show_gold or row is None or row["state"] != "done":
            return []
        return gold_view(assignment.material.task(row["task"]).record)

    return router


def _overview_routes(project: Project) -> APIRouter:
    """Home, progress, splits, accounts, exports, and the view of scored candidates."""
    router = APIRouter()
    session_of = _session_of(project)
    assignment, accounts = project.assignment, project.accounts
    agreed = KeptAgreement(assignment)
    reading = Depends(session_of)

    @router.get("/")
    def home(session: Session = reading) -> Response:
        waiting = assignment.counts(session.user)
        own = assignment.database.row(
            "SELECT count(*) AS steps, sum(seconds) AS seconds FROM verdicts JOIN turns ON turns.id = turn_id WHERE "
            "user_id = ? AND verdict IS NOT NULL",
            session.user.id,
        )
        assert own is not None
        values = {"waiting": waiting, "work": work(assignment), "steps": own["steps"], "seconds": own["seconds"] or 0}
        return _page(project, "home.html.j2", session, **values)

    @router.get("/progress")
    def progress_page(session: Session = reading) -> Response:
        _check_role(session.user, "adjudicator", "admin")
        return _page(project, "progress.html.j2", session, **progress(assignment, accounts.users(), agreed))

    @router.post("/splits/{number}")
    def decide_split(
        number: int, *, session: Session = reading, csrf: Annotated[str, Form()], decision: Annotated[str, Form()]
    ) -> Response:
        _check_token(session, csrf)
        _check_role(session.user, "adjudicator", "admin")
        if decision not in ("accept", "return"):
            raise InputError(f"decision {decision!r}; expected accept or return")
        assignment.decide_split(session.user, number, decision == "accept")
        return RedirectResponse("/progress", status_code=303)

    @router.get("/accounts")
    def accounts_page(session: Session = reading) -> Response:
        _check_role(session.user, "admin")
        return accounts_view(session, "", 200)

    @router.post("/accounts")
    def add_account(
        *,
        session: Session = reading,
        csrf: Annotated[str, Form()],
        name: Annotated[str, Form()],
        password: Annotated[str, Form(max_length=1000)],
        role: Annotated[str, Form()],
        qualification: Annotated[str, Form(max_length=200)] = "",
        specialties: Annotated[list[str] | None, Form()] = None,
    ) -> Response:
        _check_token(session, csrf)
        _check_role(session.user, "admin")
        try:
            accounts.add(name, password, role, specialties or [], qualification, by=session.user.id)
        except InputError as error:
            return accounts_view(session, str(error), 422)
        return RedirectResponse("/accounts", status_code=303)

    @router.post("/accounts/{user_id}")
    def open_or_close(
        user_id: int, *, session: Session = reading, csrf: Annotated[str, Form()], is_active: Annotated[bool, Form()]
    ) -> Response:
        _check_token(session, csrf)
        _check_role(session.user, "admin")
        if user_id == session.user.id:
            raise InputError("your own account stays open; another admin may close it")
        accounts.set_active(user_id, is_active, session.user.id)
        return RedirectResponse("/accounts", status_code=303)

    def accounts_view(session: Session, error: str, status: int) -> Response:
        values = {"users": accounts.users(), "closed": accounts.closed_users(), "error": error, "exports": EXPORTS}
        values["num_open_disputes"] = num_open_disputes(assignment)
        return _page(
            project,
            "accounts.html.j2",
            session,
            status,
            roles=ROLES,
            specialties=SPECIALTIES,
            **values,
        )

    @router.get("/export/{name}")
    def export(name: str, session: Session = reading) -> Response:
        _check_role(session.user, "admin")
        if name not in EXPORTS:
            raise HTTPException(404, "no such export")
        text = export_text(name, assignment, project.consensus)
        with assignment.database.transaction() as connection:
            add_event(connection, "exported", session.user.id, name=name)
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(text, media_type=EXPORTS[name], headers=headers)

    @router.get("/scored")
    def scored(session: Session = reading, page: int = 1, show: str = "all") -> Response:
        _check_role(session.user, "adjudicator", "admin")
        return _page(project, "scored.html.j2", session, **scored_rows(assignment.material, page, show))

    @router.get("/scored/{number}")
    def scored_one(number: int, session: Session = reading) -> Response:
        _check_role(session.user, "adjudicator", "admin")
        try:
            return _page(project, "scored_case.html.j2", session, **scored_case(assignment.material, number))
        except KeyError:
            raise HTTPException(404, "no such case") from None

    return router


def _static_routes() -> APIRouter:
    """Scripts and styles from the package, by name: nothing else can be asked for."""
    router = APIRouter()
    folder = files("medprm.review") / "static"
    kept = {
        one.name: (one.read_bytes(), STATIC[Path(one.name).suffix])
        for one in folder.iterdir()
        if Path(one.name).suffix in STATIC
    }
    kept["scores.css"] = (score_css().encode(), STATIC[".css"])

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in kept:
            raise HTTPException(404, "no such file")
        data, kind = kept[name]
        return Response(data, media_type=kind, headers={"cache-control": "no-cache"})

    @router.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    return router


def _check_kind(kind: str, user: User) -> None:
    if kind not in KINDS:
        raise HTTPException(404, "no such work")
    if kind != "review":
        _check_role(user, "adjudicator", "admin")


def _check_role(user: User, *roles: str) -> None:
    if user.role not in roles:
        raise HTTPException(403, f"for {' and '.join(roles)} only")


_TEMPLATES = Environment(
    loader=PackageLoader("medprm.review", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
