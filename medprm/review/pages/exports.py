"""What the review gives, as files, for admins."""

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from medprm.review.access import Current, Reading, check_role
from medprm.review.database import add_event
from medprm.review.exchange import EXPORTS, export_text

router = APIRouter()


@router.get("/export/{name}")
def export(name: str, project: Current, session: Reading) -> Response:
    check_role(session.user, "admin")
    if name not in EXPORTS:
        raise HTTPException(404, "no such export")
    text = export_text(name, project.assignment, project.consensus)
    with project.assignment.database.transaction() as connection:
        add_event(connection, "exported", session.user.id, name=name)
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=EXPORTS[name], headers=headers)
