"""A checkpoint as a service in this process: requests to answers, without a word of HTTP.

In: `ScoreRequest`. Out: step scores, solution scores, a ranking, as plain JSON values. Image files that a request
brings are decoded in worker processes: one that makes its decoder crash, hang or ask for too much memory costs that
request alone. Their tiles lie in a folder of this service's own while they are scored, and are deleted then.
"""

import asyncio
import logging
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from medprm import __version__
from medprm.cases.schema import Case, Image
from medprm.clients.guard import Guard
from medprm.encoding.pixels import settings_of_case
from medprm.errors import InputError, SolutionTooLong
from medprm.images.isolation import IsolatedPool, Item
from medprm.images.tile_files import TileFile, cut_into_file, cutting, tile_file
from medprm.scoring.aggregate import AGGREGATORS, DEFAULT_AGGREGATION, aggregate_all
from medprm.scoring.rows import Candidates
from medprm.scoring.scorer import StepScorer
from medprm.serving.batching import Batcher, StepScores
from medprm.serving.requests import ScoreRequest
from medprm.serving.settings import ServingSettings

logger = logging.getLogger(__name__)


class ScoringService:
    """A context, which ends its thread and deletes its folder. `name` is what answers call the checkpoint."""

    def __init__(
        self,
        scorer: StepScorer,
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
        self._image_settings = scorer.image_settings
        self._decoders = IsolatedPool(cut_into_file, settings.isolation)
        self._batcher = Batcher(scorer, settings.max_batch_cases, settings.max_wait_ms, settings.max_waiting)

    def __enter__(self) -> "ScoringService":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Answer what waits, then end."""
        self._batcher.close()
        self._decoders.close()
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
        root = self.data_root or self._spool
        async with self._files(request) as candidates:
            try:
                return await asyncio.wrap_future(self._batcher.submit(candidates, root))
            except InputError as error:
                # Where files lie on this machine is nothing that an answer should tell.
                said = str(error).replace(f"{root}/", "").replace(str(root), "the data root")
                raise (SolutionTooLong if isinstance(error, SolutionTooLong) else InputError)(said) from None

    @asynccontextmanager
    async def _files(self, request: ScoreRequest) -> AsyncIterator[Candidates]:
        """The candidates as the scorer takes them; files that came with the request are tiles by then."""
        if not request.images:
            yield request.candidates
            return
        # A folder for each request: two that bring the same file must not delete each other's.
        folder = self._spool / uuid.uuid4().hex
        folder.mkdir()
        images = tuple(Image(path=f"images[{number}]") for number in range(len(request.images)))
        case = request.candidates.case.model_copy(update={"image": None, "images": images})
        try:
            cut = await asyncio.to_thread(self._cut, case, request.images, folder)
            yield request.candidates._replace(case=case, cut=cut)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _cut(self, case: Case, files: Sequence[bytes], folder: Path) -> list[TileFile]:
        """The tiles of every file, in order; InputError names the first one that is refused."""
        found = []
        settings = settings_of_case(self._image_settings, case)
        for number, (image, data) in enumerate(zip(case.all_images, files, strict=True)):
            source, target = folder / f"{number}.file", folder / f"{number}.tiles"
            source.write_bytes(data)
            outcome = self._decoders.call(Item(image.path, cutting(source, image.path, target, settings)))
            source.unlink()
            if outcome.refusal is not None:
                raise InputError(outcome.refusal)
            found.append(tile_file(target, outcome.result, settings))
        return found
