"""Logging in and out. The form has a token of its own, which its cookie repeats: nobody is logged in from elsewhere."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Form, Request
from fastapi.responses import RedirectResponse, Response

from medprm.review.access import Current, Reading, address_of, check_token
from medprm.review.accounts import TooManyFailures
from medprm.review.project import Project
from medprm.review.rendering import render

LOGIN_COOKIE = "medprm_login"

router = APIRouter()


@router.get("/login")
def login_form(project: Current) -> Response:
    return _login_page(project)


@router.post("/login")
def log_in(
    request: Request,
    project: Current,
    name: Annotated[str, Form(max_length=200)],
    password: Annotated[str, Form(max_length=1000)],
    login_token: Annotated[str, Form(max_length=200)],
    medprm_login: Annotated[str | None, Cookie()] = None,
) -> Response:
    if medprm_login is None or not secrets.compare_digest(medprm_login.encode(), login_token.encode()):
        return _login_page(project, "The page was open for too long; try again.", 403)
    try:
        token = project.accounts.log_in(name, password, address_of(request))
    except TooManyFailures as failures:
        refusal = _login_page(project, str(failures), 429)
        refusal.headers["retry-after"] = str(failures.args[0])
        return refusal
    if token is None:
        return _login_page(project, "Name or password is wrong.", 401)
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(LOGIN_COOKIE, path="/")
    answer.set_cookie(project.cookie, token, **_limits(project))
    return answer


@router.post("/logout")
def log_out(request: Request, project: Current, csrf: Annotated[str, Form()], session: Reading) -> Response:
    check_token(session, csrf)
    project.accounts.log_out(request.cookies[project.cookie])
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(project.cookie, path="/")
    return answer


def _login_page(project: Project, error: str = "", status: int = 200) -> Response:
    token = secrets.token_urlsafe(32)
    answer = render(project, "login.html.j2", None, status, error=error, login_token=token)
    answer.set_cookie(LOGIN_COOKIE, token, max_age=3600, **_limits(project))
    return answer


def _limits(project: Project) -> dict[str, Any]:
    """Where a cookie goes, and who may read it."""
    return {"httponly": True, "samesite": "strict", "secure": project.address.is_https, "path": "/"}
