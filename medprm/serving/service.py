"""A checkpoint as a service in this process: requests to answers, without a word of HTTP.

In: `ScoreRequest`. Out: step scores, solution scores, a ranking, as plain JSON values. Files that a request brings lie
in a folder of this service's own while they are scored, and are deleted then.
"""

import asyncio
import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medprm import __version__
from medprm.cases.schema import Image
from medprm.clients.guard import Guard
from medprm.errors import InputError, SolutionTooLong
from medprm.scoring.aggregate import AGGREGATORS, DEFAULT_AGGREGATION, aggregate_all
from medprm.scoring.engine import RowScorer
from medprm.scoring.rows import Candidates
from medprm.serving.batching import Batcher, StepScores
from medprm.serving.requests import ScoreRequest
from medprm.serving.settings import ServingSettings

logger = logging.getLogger(__name__)


class ScoringService:
    """A context, which ends its thread and deletes its folder. `name` is what answers call the checkpoint."""

    def __init__(
        self,
        scorer: RowScorer,
        settings: ServingSettings,
        guard: Guard,
        name: str,
        aggregation: str | None = None,
    ) -> None:
        self.settings, self.guard, self.name = settings, guard, name
        self.aggregation = aggregation or DEFAULT_AGGREGATION
        assert self.aggregation in AGGREGATORS, self.aggregation
        self.data_root = None if settings.data_root is None else Path(settings.data_root).resolve()
        if self.data_root is not None and not self.data_root.is_dir():
            raise InputError(f"serving.data_root={settings.data_root}: no such folder; image paths start there")
        self._spool = Path(tempfile.mkdtemp(prefix="medprm-serving-"))  # readable by this user alone
        self._batcher = Batcher(scorer, settings.max_batch_cases, settings.max_wait_ms, settings.max_waiting)

    def __enter__(self) -> "ScoringService":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Answer what waits, then end."""
        self._batcher.close()
        shutil.rmtree(self._spool, ignore_errors=True)

    def health(self) -> dict[str, Any]:
        """What is free to be known: nothing of a case."""
        return {
            "status": "ok",
            "checkpoint": self.name,
            "medprm_version": __version__,
            "num_waiting": self._batcher.num_waiting,
            "num_cases_scored": self._batcher.num_cases,
            "num_batches": self._batcher.num_batches,
        }

    async def score(self, request: ScoreRequest, client: str) -> dict[str, Any]:
        """The scores of every step and solution. `client` is the address that the answer goes to."""
        scores = await self._step_scores(request, client)
        aggregation = request.aggregation or self.aggregation
        solutions = [
            {"step_scores": one, "score": AGGREGATORS[aggregation](one), "aggregates": aggregate_all(one)}
            for one in scores
        ]
        return self._answer(request, aggregation) | {"solutions": solutions}

    async def rank(self, request: ScoreRequest, client: str) -> dict[str, Any]:
        """The solutions by number, the best first; of equals, the one named first."""
        scores = await self._step_scores(request, client)
        aggregation = request.aggregation or self.aggregation
        of_solution = [AGGREGATORS[aggregation](one) for one in scores]
        order = sorted(range(len(scores)), key=lambda number: -of_solution[number])
        ranking = [{"solution": number, "score": of_solution[number]} for number in order]
        return self._answer(request, aggregation) | {"best": order[0], "ranking": ranking}

    def _answer(self, request: ScoreRequest, aggregation: str) -> dict[str, Any]:
        return {"case_id": request.candidates.case.case_id, "aggregation": aggregation, "checkpoint": self.name}

    async def _step_scores(self, request: ScoreRequest, client: str) -> StepScores:
        case = request.candidates.case
        address = f"http://[{client}]" if ":" in client else f"http://{client}"
        self.guard.check(case, address, [])
        with self._files(request) as (candidates, root, shown):
            try:
                return await asyncio.wrap_future(self._batcher.submit(candidates, root))
            except InputError as error:
                # Where files lie on this machine is nothing that an answer should tell.
                said = str(error).replace(f"{shown}/", "").replace(str(shown), "the data root")
                raise (SolutionTooLong if isinstance(error, SolutionTooLong) else InputError)(said) from None

    @contextmanager
    def _files(self, request: ScoreRequest) -> Iterator[tuple[Candidates, Path, Path]]:
        """The candidates as the scorer takes them, where image paths start, and what to leave out of messages."""
        root = self.data_root or self._spool
        if not request.images:
            yield request.candidates, root, root
            return
        # A folder for each request: two that bring the same file must not delete each other's.
        folder = self._spool / uuid.uuid4().hex
        folder.mkdir()
        names = [f"images[{number}]" for number in range(len(request.images))]
        try:
            for name, data in zip(names, request.images, strict=True):
                (folder / name).write_bytes(data)
            images = tuple(Image(path=f"{folder.name}/{name}") for name in names)
            case = request.candidates.case.model_copy(update={"image": None, "images": images})
            yield request.candidates._replace(case=case), self._spool, folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
