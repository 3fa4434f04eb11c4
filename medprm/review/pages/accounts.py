"""Everybody's accounts, for admins: who there is, new ones, and which are open."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from medprm.errors import InputError
from medprm.review.access import Current, Reading, check_role, check_token
from medprm.review.accounts import Session
from medprm.review.exchange import EXPORTS, num_open_disputes
from medprm.review.project import Project
from medprm.review.rendering import render
from medprm.review.settings import ROLES, SPECIALTIES

router = APIRouter()


@router.get("/accounts")
def accounts_page(project: Current, session: Reading) -> Response:
    check_role(session.user, "admin")
    return _accounts_view(project, session)


@router.post("/accounts")
def add_account(
    project: Current,
    session: Reading,
    csrf: Annotated[str, Form()],
    name: Annotated[str, Form()],
    password: Annotated[str, Form(max_length=1000)],
    role: Annotated[str, Form()],
    qualification: Annotated[str, Form(max_length=200)] = "",
    specialties: Annotated[list[str] | None, Form()] = None,
) -> Response:
    check_token(session, csrf)
    check_role(session.user, "admin")
    try:
        project.accounts.add(name, password, role, specialties or [], qualification, by=session.user.id)
    except InputError as error:
        return _accounts_view(project, session, str(error), 422)
    return RedirectResponse("/accounts", status_code=303)


@router.post("/accounts/{user_id}")
def open_or_close(
    user_id: int, project: Current, session: Reading, csrf: Annotated[str, Form()], is_active: Annotated[bool, Form()]
) -> Response:
    check_token(session, csrf)
    check_role(session.user, "admin")
    if user_id == session.user.id:
        raise InputError("your own account stays open; another admin may close it")
    project.accounts.set_active(user_id, is_active, session.user.id)
    return RedirectResponse("/accounts", status_code=303)


def _accounts_view(project: Project, session: Session, error: str = "", status: int = 200) -> Response:
    users, closed = project.accounts.users(), project.accounts.closed_users()
    num_disputes = num_open_disputes(project.assignment)
    lists = {"num_open_disputes": num_disputes, "exports": EXPORTS, "roles": ROLES, "specialties": SPECIALTIES}
    return render(project, "accounts.html.j2", session, status, users=users, closed=closed, error=error, **lists)
