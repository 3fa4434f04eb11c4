"""The application: pages and what they ask for, for one project.

In: `Project`. Out: an ASGI application. Every address but the login page needs a session; whatever changes something
needs the session's token, too (header `X-CSRF-Token`, or the form field `csrf`). Roles are checked where they matter,
at the server.
"""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response

from medprm.errors import InputError
from medprm.review.access import LoginNeeded
from medprm.review.assignment import TurnError
from medprm.review.pages import account, accounts, case, exports, home, login, progress, scored, static
from medprm.review.project import Project
from medprm.review.security import Application, Gate

PAGES = (login, account, case, home, progress, accounts, exports, scored, static)


def make_app(project: Project) -> Application:
    """The application behind its gate."""
    app = FastAPI(title="MedPRM review", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.project = project
    for page in PAGES:
        app.include_router(page.router)
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
