"""One's own account: a new password."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from medprm.errors import InputError
from medprm.review.access import Current, Reading, address_of, check_token
from medprm.review.accounts import TooManyFailures
from medprm.review.rendering import render

router = APIRouter()


@router.get("/account")
def account(project: Current, session: Reading) -> Response:
    return render(project, "account.html.j2", session, error="")


@router.post("/account")
def change_password(
    request: Request,
    project: Current,
    csrf: Annotated[str, Form()],
    old: Annotated[str, Form(max_length=1000)],
    new: Annotated[str, Form(max_length=1000)],
    session: Reading,
) -> Response:
    check_token(session, csrf)
    try:
        project.accounts.change_password(session.user, old, new, address_of(request))
    except TooManyFailures as failures:
        refusal = render(project, "account.html.j2", session, 429, error=str(failures))
        refusal.headers["retry-after"] = str(failures.args[0])
        return refusal
    except InputError as error:
        return render(project, "account.html.j2", session, 422, error=str(error))
    return RedirectResponse("/login", status_code=303)
