"""A scoring service over HTTP (medprm/serving): cases out, step scores back; every request passes the guard.

In: a case, the steps or the text of each solution, images as files in memory. Out: one list of scores per solution.
Of the case only what a prompt is made of is sent, and the marks that the service's own guard asks for: no ids, no gold
standard, no free fields.
httpx is told to use no proxy and to follow no redirect. A service that is busy is asked again.
"""

import base64
import ssl
import time
from collections.abc import Sequence
from typing import Any

import httpx

from medprm.cases.schema import Case, to_json
from medprm.clients.chat import Message
from medprm.clients.guard import Guard
from medprm.clients.limits import backoff_seconds
from medprm.errors import InputError, SolutionTooLong

MAX_ATTEMPTS = 6
BUSY = (429, 503)
# What a prompt is made of (medprm/encoding/turns.py); a record needs a modality.
SENT_FIELDS = ("modality", "clinical_context", "image", "images", "question", "options", "documents")
SENT_MARKS = ("source", "phi_removed", "irb_approved")
SENT_CASE_ID = "case"
# `kind` of the refusal of one solution that is too long; any other refusal is of the case, the token or the service.
SOLUTION_TOO_LONG = "solution_too_long"


class ServiceUnavailable(Exception):
    """The service gave no answer, or was busy at every attempt."""


class ScoringClient:
    """One object serves many threads. `token` is sent as Authorization: Bearer."""

    def __init__(self, url: str, guard: Guard, token: str | None = None, timeout_seconds: float = 120.0) -> None:
        self.url, self.guard = url.rstrip("/"), guard
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            trust_env=False, follow_redirects=False, verify=ssl.create_default_context(), timeout=timeout_seconds
        )

    def score(
        self, case: Case, solutions: Sequence[Sequence[str] | str], images: Sequence[bytes] = ()
    ) -> list[list[float]]:
        """Step scores of each solution. InputError for what the service refuses (4xx), ServiceUnavailable else.

        SolutionTooLong, an InputError, where a solution is longer than the service reads.
        With `images`, PNG files, the case's paths are not sent; without, they must lie in the service's data root.
        """
        body: dict[str, Any] = {"case": _sent(case, bool(images)), "solutions": [_plain(one) for one in solutions]}
        self.guard.check(case, self.url, [*_messages(body), Message("user", "", tuple(images))])
        if images:
            body["images"] = [base64.b64encode(one).decode() for one in images]
        reply = self._post(case.case_id, body)
        return [[float(score) for score in one["step_scores"]] for one in reply["solutions"]]

    def _post(self, case_id: str, body: dict[str, Any]) -> dict[str, Any]:
        failure = "never asked"
        for number in range(MAX_ATTEMPTS):
            if number:
                time.sleep(backoff_seconds(number - 1, 0.2, 5.0, None))
            try:
                answer = self._http.post(f"{self.url}/score", json=body, headers=self._headers)
            except httpx.HTTPError as error:
                failure = f"{type(error).__name__}: {error}"
                continue
            if answer.status_code == 200:
                return answer.json()
            failure = f"status {answer.status_code}: {answer.text[:500]}"
            if 400 <= answer.status_code < 500 and answer.status_code not in BUSY:
                kind = SolutionTooLong if _is_too_long(answer) else InputError
                raise kind(f"{self.url}: case {case_id}: {failure}")
        raise ServiceUnavailable(f"{self.url}: case {case_id}: {failure}")


def _is_too_long(answer: httpx.Response) -> bool:
    try:
        said = answer.json()
    except ValueError:  # a proxy's page, or another service
        return False
    return isinstance(said, dict) and said.get("kind") == SOLUTION_TOO_LONG


def _sent(case: Case, without_paths: bool) -> dict[str, Any]:
    whole = to_json(case)
    names = [name for name in SENT_FIELDS if name in whole and not (without_paths and name in ("image", "images"))]
    marks = {name: mark for name, mark in whole.get("metadata", {}).items() if name in SENT_MARKS}
    return {"case_id": SENT_CASE_ID, "metadata": marks} | {name: _without_extra(whole[name]) for name in names}


def _without_extra(value: Any) -> Any:
    """The value without the free fields of a record, at any depth."""
    if isinstance(value, dict):
        return {name: _without_extra(one) for name, one in value.items() if name != "extra"}
    return [_without_extra(one) for one in value] if isinstance(value, list) else value


def _messages(value: Any) -> list[Message]:
    """Every text of the body, as the guard reads them."""
    if isinstance(value, dict):
        return [Message("user", name) for name in value] + [m for one in value.values() for m in _messages(one)]
    if isinstance(value, list):
        return [message for one in value for message in _messages(one)]
    return [Message("user", str(value))]


def _plain(solution: Sequence[str] | str) -> list[str] | str:
    return solution if isinstance(solution, str) else list(solution)
