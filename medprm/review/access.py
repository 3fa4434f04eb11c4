"""Who asks, and what they may: the session of a request, its token, its user's role.

A page takes `Current` for the project, `Reading` for whoever is logged in, and `Changing` where a request of a script
changes something. Raises LoginNeeded without a session; 403 without the token, or for another role.
"""

import secrets
from typing import Annotated

from fastapi import Depends, Header, HTTPException, Request

from medprm.review.accounts import Session, User
from medprm.review.project import Project


class LoginNeeded(Exception):
    """Nobody is logged in."""


async def project_of(request: Request) -> Project:
    """The project of the application. Async, although nothing is waited for: so it takes no thread."""
    return request.app.state.project


Current = Annotated[Project, Depends(project_of)]


def session_of(request: Request, project: Current) -> Session:
    """The session that the request's cookie names."""
    found = project.accounts.session(request.cookies.get(project.cookie))
    if found is None:
        raise LoginNeeded
    return found


Reading = Annotated[Session, Depends(session_of)]


def checked_session(session: Reading, x_csrf_token: Annotated[str | None, Header()] = None) -> Session:
    """The session, where the header has its token."""
    check_token(session, x_csrf_token)
    return session


Changing = Annotated[Session, Depends(checked_session)]


def check_token(session: Session, given: str | None) -> None:
    """403 unless `given` is the session's token: a page elsewhere cannot know it."""
    if given is None or not secrets.compare_digest(session.csrf.encode(), given.encode()):
        raise HTTPException(403, "the form's token is missing or wrong; load the page again")


def check_role(user: User, *roles: str) -> None:
    """403 unless the user has one of the roles."""
    if user.role not in roles:
        raise HTTPException(403, f"for {' and '.join(roles)} only")


def address_of(request: Request) -> str:
    """Whose failures count together."""
    return request.client.host if request.client else "unknown"
