"""The batcher: whoever calls, however many at once, gets the scores of the library; one bad case fails alone."""

import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

from medprm.cases.schema import CaseSolutions
from medprm.errors import InputError
from medprm.scoring.rows import Batch, Candidates
from medprm.scoring.scorer import StepScorer
from medprm.serving.batching import Batcher, Busy, Closed

# Measured: 2e-7, sums in float32 in another order. A wrong neighbour would change a score by 0.01 and more.
TOLERANCE = 1e-5


def candidates(item: CaseSolutions) -> Candidates:
    return Candidates(item.case, [one.step_texts for one in item.solutions])


def test_fifty_callers_get_the_scores_of_the_library(
    scorer: StepScorer, cases: list[CaseSolutions], image_folder: Path
) -> None:
    expected = [scorer.score(item.case, item.solutions, image_folder) for item in cases]
    with Batcher(scorer, max_cases=8, max_wait_ms=5, max_waiting=100) as batcher:
        asked = [cases[number % len(cases)] for number in range(50)]
        answers = [batcher.submit(candidates(item), image_folder) for item in asked]
        wait(answers, timeout=120)
        for number, answer in enumerate(answers):
            for one, other in zip(answer.result(0), expected[number % len(cases)], strict=True):
                assert one == pytest.approx(other, abs=TOLERANCE)
        assert batcher.num_cases == 50
        assert batcher.num_batches < 50, "cases are scored together"


def test_a_bad_case_fails_alone(scorer: StepScorer, cases: list[CaseSolutions], image_folder: Path) -> None:
    lost = cases[1].case.model_copy(
        update={"images": (cases[1].case.images[0].model_copy(update={"path": "lost.png"}),)}
    )
    with Batcher(scorer, max_cases=8, max_wait_ms=200, max_waiting=100) as batcher:
        good = batcher.submit(candidates(cases[0]), image_folder)
        bad = batcher.submit(Candidates(lost, [["a step"]]), image_folder)
        assert len(good.result(60)) == 3
        with pytest.raises(InputError, match=r"lost\.png"):
            bad.result(60)
        assert batcher.submit(candidates(cases[2]), image_folder).result(60), "the thread lives on"


class Held:
    """A scorer whose forwards wait until they are let go: what a busy one looks like from outside."""

    def __init__(self, scorer: StepScorer) -> None:
        self.scorer, self.device, self.go, self.begun = scorer, scorer.device, threading.Event(), threading.Event()
        self.plan = scorer.plan

    def score_row(self, batch: Batch) -> list[float]:
        self.begun.set()
        assert self.go.wait(60)
        return self.scorer.score_row(batch)


def test_too_many_are_refused_and_those_who_left_are_not_scored(
    scorer: StepScorer, cases: list[CaseSolutions], image_folder: Path
) -> None:
    held = Held(scorer)
    with Batcher(held, max_cases=1, max_wait_ms=0, max_waiting=2) as batcher:
        first = batcher.submit(candidates(cases[0]), image_folder)
        assert held.begun.wait(60)
        left, stays = (batcher.submit(candidates(cases[number]), image_folder) for number in (1, 2))
        with pytest.raises(Busy, match="2 cases are waiting"):
            batcher.submit(candidates(cases[3]), image_folder)
        assert left.cancel()
        held.go.set()
        assert first.result(60)
        assert stays.result(60)
        assert batcher.num_cases == 2
    with pytest.raises(Closed):
        batcher.submit(candidates(cases[0]), image_folder)
