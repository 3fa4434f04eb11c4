"""How far the review is, for adjudicators and admins, and splits of steps to decide on."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from medprm.errors import InputError
from medprm.review.access import Current, Reading, check_role, check_token
from medprm.review.progress import progress
from medprm.review.rendering import render

router = APIRouter()


@router.get("/progress")
def progress_page(project: Current, session: Reading) -> Response:
    check_role(session.user, "adjudicator", "admin")
    values = progress(project.assignment, project.accounts.users(), project.agreed)
    return render(project, "progress.html.j2", session, **values)


@router.post("/splits/{number}")
def decide_split(
    number: int, project: Current, session: Reading, csrf: Annotated[str, Form()], decision: Annotated[str, Form()]
) -> Response:
    check_token(session, csrf)
    check_role(session.user, "adjudicator", "admin")
    if decision not in ("accept", "return"):
        raise InputError(f"decision {decision!r}; expected accept or return")
    project.assignment.decide_split(session.user, number, decision == "accept")
    return RedirectResponse("/progress", status_code=303)
