"""Where one begins: what waits, and what one has done."""

from fastapi import APIRouter
from fastapi.responses import Response

from medprm.review.access import Current, Reading
from medprm.review.progress import work
from medprm.review.rendering import render

router = APIRouter()


@router.get("/")
def home(project: Current, session: Reading) -> Response:
    assignment = project.assignment
    waiting = assignment.counts(session.user)
    own = assignment.database.row(
        "SELECT count(*) AS steps, avg(seconds) AS pace FROM verdicts JOIN turns ON turns.id = turn_id WHERE "
        "user_id = ? AND verdict IS NOT NULL",
        session.user.id,
    )
    assert own is not None
    values = {"waiting": waiting, "work": work(assignment), "steps": own["steps"], "pace": own["pace"]}
    return render(project, "home.html.j2", session, **values)
