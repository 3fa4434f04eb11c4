"""Scored candidates of an evaluation, for adjudicators and admins: all of them, and one."""

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from medprm.review.access import Current, Reading, check_role
from medprm.review.project import Project
from medprm.review.rendering import render
from medprm.review.scored_view import scored_case, scored_rows

router = APIRouter()


@router.get("/scored")
def scored(project: Current, session: Reading, page: int = 1, show: str = "all") -> Response:
    check_role(session.user, "adjudicator", "admin")
    values = scored_rows(project.assignment.material, page, show, _untold(project))
    return render(project, "scored.html.j2", session, **values)


@router.get("/scored/{number}")
def scored_one(number: int, project: Current, session: Reading) -> Response:
    check_role(session.user, "adjudicator", "admin")
    try:
        values = scored_case(project.assignment.material, number, _untold(project))
    except KeyError:
        raise HTTPException(404, "no such case") from None
    return render(project, "scored_case.html.j2", session, **values)


def _untold(project: Project) -> set[str]:
    """Cases that are still to be judged: whoever knew the truth could not judge them."""
    assignment = project.assignment
    return set() if assignment.rules.show_truth_early else assignment.open_cases()
