"""The page of a case, and what it asks for: the next task, pixels, and where verdicts go."""

from fastapi import APIRouter, HTTPException
from fastapi.responses import JSONResponse, Response

from medprm.errors import InputError
from medprm.review.access import Changing, Current, Reading, check_role
from medprm.review.accounts import User
from medprm.review.assignment import KINDS, Assignment
from medprm.review.database import add_event
from medprm.review.rendering import render
from medprm.review.verdicts import ERROR_KINDS, SEVERITIES, Ending, Said, finish, save, undo
from medprm.review.views import gold_view, turn_view

router = APIRouter()


@router.get("/work/{kind}")
def case_page(kind: str, project: Current, session: Reading) -> Response:
    _check_kind(kind, session.user)
    return render(project, "case.html.j2", session, kind=kind, error_kinds=ERROR_KINDS, severities=SEVERITIES)


@router.post("/api/next/{kind}")
def next_task(kind: str, project: Current, session: Changing) -> Response:
    _check_kind(kind, session.user)
    turn = project.assignment.next_turn(session.user, kind)
    return JSONResponse({"turn": None} if turn is None else turn_view(project.assignment, session.user, turn))


@router.post("/api/turn/{turn_id}/verdict")
def verdict(turn_id: int, said: Said, project: Current, session: Changing) -> Response:
    return JSONResponse({"step_id": said.step_id, "state": save(project.assignment, session.user, turn_id, said)})


@router.post("/api/turn/{turn_id}/undo")
def take_back(turn_id: int, project: Current, session: Changing) -> Response:
    return JSONResponse({"undone": undo(project.assignment, session.user, turn_id)})


@router.post("/api/turn/{turn_id}/finish")
def end(turn_id: int, ending: Ending, project: Current, session: Changing) -> Response:
    finish(project.assignment, session.user, turn_id, ending)
    return JSONResponse({"gold": _gold_of(project.assignment, session.user, turn_id)})


@router.get("/api/pixels/{image}")
def pixels(image: int, project: Current, session: Reading, frame: int | None = None) -> Response:
    try:
        return Response(project.pixels.frame(image, frame), media_type="application/octet-stream")
    except KeyError:
        raise HTTPException(404, "no such image") from None
    except InputError:
        # Its words name the file, and a file may be named after a patient.
        with project.assignment.database.transaction() as connection:
            add_event(connection, "image_failed", session.user.id, image=image)
        return JSONResponse({"error": f"image {image} cannot be shown; tell the project's admin"}, status_code=422)


def _gold_of(assignment: Assignment, user: User, turn_id: int) -> list[tuple[str, str]]:
    """What is known of the case, for whoever has finished it and will judge no more of it, where the rules show it."""
    row = assignment.database.row("SELECT * FROM turns WHERE id = ? AND user_id = ?", turn_id, user.id)
    if not assignment.rules.show_gold or row is None or row["state"] != "done":
        return []
    record = assignment.material.task(row["task"]).record
    return [] if assignment.is_open_for(user, record.case_id) else gold_view(record)


def _check_kind(kind: str, user: User) -> None:
    if kind not in KINDS:
        raise HTTPException(404, "no such work")
    if kind != "review":
        check_role(user, "adjudicator", "admin")
