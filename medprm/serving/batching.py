"""Dynamic batching: cases of many callers through one scorer, several in a forward.

In: a case with the steps of its solutions, from any thread. Out: a future of its step scores, by solution. One thread
owns the scorer. A batch is what has come while the last one ran, and within a short wait. What is wrong with one case
fails that case alone.
"""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from medprm.errors import InputError
from medprm.scoring.engine import RowScorer, Scores, gather, score_rows
from medprm.scoring.kept_rows import KeptRows
from medprm.scoring.rows import Candidates

logger = logging.getLogger(__name__)

StepScores = list[list[float]]
"""By solution and step."""


class Busy(Exception):
    """As many cases wait as the settings allow."""


class Closed(Exception):
    """The service is ending."""


class _Job(NamedTuple):
    candidates: Candidates
    root: Path
    answer: "Future[StepScores]"


class Batcher:
    """A context; `submit` may be called from every thread. `num_batches` and `num_cases` count what was scored."""

    def __init__(
        self, scorer: RowScorer, max_cases: int = 16, max_wait_ms: float = 5.0, max_waiting: int = 256
    ) -> None:
        self.scorer = scorer
        self.max_cases, self.max_wait_seconds = max_cases, max_wait_ms / 1000
        self.num_batches = self.num_cases = 0
        self._waiting: queue.Queue[_Job | None] = queue.Queue(max_waiting)
        self._is_closed = False
        self._mutex = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Batcher":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def num_waiting(self) -> int:
        return self._waiting.qsize()

    def submit(self, candidates: Candidates, root: Path) -> "Future[StepScores]":
        """A future of the scores; Busy where too many wait. The future raises what was wrong with the case."""
        job = _Job(candidates, root, Future())
        with self._mutex:
            if self._is_closed:
                raise Closed("the service is ending")
            try:
                self._waiting.put_nowait(job)
            except queue.Full:
                raise Busy(f"{self._waiting.maxsize} cases are waiting; try again later") from None
        return job.answer

    def close(self) -> None:
        """Score what waits, take nothing new, end the thread."""
        with self._mutex:
            is_first, self._is_closed = not self._is_closed, True
        if is_first:
            self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        is_open = True
        while is_open:
            jobs, is_open = self._take()
            for root in dict.fromkeys(job.root for job in jobs):
                self._answer([job for job in jobs if job.root == root])

    def _take(self) -> tuple[list[_Job], bool]:
        """The next jobs that somebody still wants, and whether more may come."""
        jobs: list[_Job] = []
        deadline: float | None = None
        while len(jobs) < self.max_cases:
            try:
                job = self._waiting.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if job is None:
                return jobs, False
            if job.answer.set_running_or_notify_cancel():
                jobs.append(job)
                deadline = deadline or time.monotonic() + self.max_wait_seconds
        return jobs, True

    def _answer(self, jobs: Sequence[_Job]) -> None:
        """All jobs in one go; where that fails one by one, so that each is told what is wrong with its own case."""
        try:
            scores = score_cases(self.scorer, [job.candidates for job in jobs], jobs[0].root)
        except Exception as error:  # whatever it is, it belongs to the caller, and this thread must live on
            if len(jobs) > 1:
                for job in jobs:
                    self._answer([job])
                return
            if not isinstance(error, InputError):
                logger.exception("scoring case %s failed", jobs[0].candidates.case.case_id)
            jobs[0].answer.set_exception(error)
            return
        self.num_batches += 1
        self.num_cases += len(jobs)
        for job, one in zip(jobs, scores, strict=True):
            job.answer.set_result(one)


def score_cases(scorer: RowScorer, cases: Sequence[Candidates], root: Path) -> Scores:
    """One score per step of each solution of each case; several cases share a forward."""
    kept, rows = KeptRows(), scorer.plan(cases, root)
    score_rows(scorer, rows, kept)
    return gather(rows, kept, cases)
