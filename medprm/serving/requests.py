"""A request for scores, read strictly: JSON in, a case with the steps of its solutions out.

The case is that of a record (medprm/cases/schema.py) without solution fields. Images come as paths inside the data root
of the service, or as base64 in `images`, never both. A solution is a list of step texts, or one text, which is split as
everywhere (medprm/cases/steps.py).
"""

import base64
import binascii
import json
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medprm.cases.parsing import parse_json, parse_record
from medprm.cases.schema import SOLUTION_FIELDS, Case
from medprm.cases.steps import split_steps
from medprm.errors import InputError, SolutionTooLong
from medprm.scoring.rows import Candidates
from medprm.serving.settings import ServingSettings

StepText = Annotated[str, Field(pattern=r"\S")]
Aggregation = Literal["mean", "min", "max", "product", "last"]


class ScoreBody(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    case: dict[str, Any] = Field(description="The case's fields of a record: case_id, modality, question, ...")
    solutions: list[list[StepText] | str] = Field(
        min_length=1, description="Each a list of step texts, or one text that is split into steps."
    )
    images: list[str] = Field(
        default_factory=list, description="DICOM, PNG or JPEG files as base64, for a case that names no paths."
    )
    aggregation: Aggregation | None = Field(
        default=None, description="How step scores make a solution's score; null: as the checkpoint says."
    )


class ScoreRequest(NamedTuple):
    """What was asked for; `images` are files in memory that stand for those of the case, in order."""

    candidates: Candidates
    images: tuple[bytes, ...]
    aggregation: str | None


def read_request(body: bytes, settings: ServingSettings) -> ScoreRequest:
    """The request in a body; InputError says what is wrong with it."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"the body: byte {error.start + 1} is not UTF-8") from None
    value = parse_json(text, "the body")
    if not isinstance(value, dict):
        raise InputError("the body: expected one JSON object with case and solutions")
    try:
        asked = ScoreBody.model_validate(value)
    except ValidationError as error:
        raise InputError(f"the body: {_first_problem(error)}") from None
    case = _read_case(asked, settings)
    return ScoreRequest(Candidates(case, _read_steps(asked, settings)), _read_images(asked, case), asked.aggregation)


def _read_case(asked: ScoreBody, settings: ServingSettings) -> Case:
    of_solution = sorted(SOLUTION_FIELDS & asked.case.keys())
    if of_solution:
        raise InputError(f"the body: case has {of_solution[0]!r}, a field of solutions; steps stand in `solutions`")
    case = parse_record(json.dumps(asked.case, ensure_ascii=False), "the body").case()
    num_images = max(len(case.all_images), len(asked.images))
    if num_images > settings.max_images:
        raise InputError(
            f"the body: {num_images} images; expected at most {settings.max_images}: send those that the question is "
            "about, or raise serving.max_images"
        )
    if case.all_images and asked.images:
        raise InputError("the body: case names image paths and `images` brings files; expected one of the two")
    if case.all_images and settings.data_root is None:
        raise InputError(
            f"the body: case names the image {case.all_images[0].path!r}, and this service has no data root; send "
            "the files as base64 in `images`, or start it with serving.data_root=FOLDER"
        )
    return case


def _read_steps(asked: ScoreBody, settings: ServingSettings) -> list[list[str]]:
    if len(asked.solutions) > settings.max_solutions:
        raise InputError(
            f"the body: {len(asked.solutions)} solutions; expected at most {settings.max_solutions}: send several "
            "requests, or raise serving.max_solutions"
        )
    found = [split_steps(one) if isinstance(one, str) else one for one in asked.solutions]
    for number, steps in enumerate(found):
        if not 1 <= len(steps) <= settings.max_steps:
            kind = SolutionTooLong if len(steps) > settings.max_steps else InputError
            raise kind(f"the body: solutions[{number}] has {len(steps)} steps; expected 1 to {settings.max_steps}")
    return found


def _read_images(asked: ScoreBody, case: Case) -> tuple[bytes, ...]:
    files = []
    for number, text in enumerate(asked.images):
        try:
            files.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError) as error:
            raise InputError(f"the body: images[{number}] of case {case.case_id} is not base64 ({error})") from None
    return tuple(files)


def _first_problem(error: ValidationError) -> str:
    """`solutions[3]: ...`: the first problem, and how many more there are."""
    details = error.errors(include_url=False)
    places = {_place(one["loc"]): one for one in reversed(details)}
    first = details[0]
    message = first["msg"].replace("String should match pattern '\\S'", "expected text that is not blank")
    if first["type"] == "extra_forbidden":
        message = f"no such field; expected {', '.join(ScoreBody.model_fields)}"
    return f"{_place(first['loc'])}: {message}" + (f" (and {len(places) - 1} more)" if len(places) > 1 else "")


def _place(location: tuple[int | str, ...]) -> str:
    """Without the branches of a union: that a solution may be a text or a list is not the reader's concern."""
    parts = [part for part in location if isinstance(part, int) or (part.isidentifier() and part != "str")]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
