"""A template and its values to a page; every value is escaped, and a missing one is an error."""

from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from medprm.review.accounts import Session
from medprm.review.project import Project

_TEMPLATES = Environment(
    loader=PackageLoader("medprm.review", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(project: Project, template: str, session: Session | None, status: int = 200, **values: Any) -> HTMLResponse:
    """The page as `session` sees it; None: nobody is logged in."""
    html = _TEMPLATES.get_template(template).render(
        title=project.title,
        user=session.user if session else None,
        csrf=session.csrf if session else "",
        has_scored=bool(project.assignment.material.scored),
        **values,
    )
    return HTMLResponse(html, status_code=status)
