"""The shipped base as a policy on this machine, behind the journal: what was drawn once is not drawn again.

In: a case, prefixes. Out: continuations. Several processes may hold the model, each with a case of its own. A prefix
draws by its own seed, so that neither what is drawn beside it, nor a kill, nor the number of processes changes a text.
"""

import hashlib
import itertools
import json
import multiprocessing
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from medprm.annotation.counts import Drawn
from medprm.annotation.rollouts import Drawing, Prefix
from medprm.cases.schema import Case
from medprm.clients.journal import Bill, Journal
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.turns import build_turns, document_text
from medprm.model.lessons import SOLVER
from medprm.model.loading import load_checkpoint
from medprm.model.sampling import Prompt, read_prompts, sample_continuations

NUM_REMEMBERED = 4  # cases; some 50 MB each with 48 prefixes
Texts = list[list[tuple[str, int, bool, int]]]
"""Per prefix: text, how often it was drawn, whether it was truncated, its tokens."""


class Sampler:
    """A loaded checkpoint that draws. What it has read of the last cases is kept for their next rounds."""

    def __init__(self, checkpoint: Path, root: Path, drawing: Drawing) -> None:
        self.loaded = load_checkpoint(str(checkpoint))
        self.pixels = PixelLoader(root, self.loaded.image_settings)
        self.drawing = drawing
        self._read: OrderedDict[str, dict[Prefix, Prompt]] = OrderedDict()

    def draw(self, case: Case, prefixes: Sequence[Prefix], num: int, seeds: Sequence[int]) -> Texts:
        drawn = sample_continuations(
            self.loaded,
            self._prompts(case, prefixes),
            num,
            temperature=self.drawing.temperature,
            max_new_tokens=self.drawing.max_new_tokens,
            seeds=seeds,
            stop=self.drawing.stop,
        )
        return [[(one.text, one.count, one.is_truncated, one.num_tokens) for one in texts] for texts in drawn]

    def _prompts(self, case: Case, prefixes: Sequence[Prefix]) -> list[Prompt]:
        known = self._read.setdefault(case.case_id, {})
        self._read.move_to_end(case.case_id)
        if len(self._read) > NUM_REMEMBERED:
            self._read.popitem(last=False)
        if missing := [one for one in prefixes if one not in known]:
            known |= zip(missing, read_prompts(self.loaded, case, self.pixels.load(case), missing), strict=True)
        return [known[one] for one in prefixes]


class LocalPolicy:
    """A `Policy` of a model that is loaded here; a context, which ends its processes."""

    def __init__(
        self, checkpoint: Path, root: Path, drawing: Drawing, journal: Journal, seed: int, num_processes: int
    ) -> None:
        self.name = f"tiny-{weights_hash(checkpoint)[:12]}"
        self.drawing = drawing
        self.journal = journal
        self.seed = seed
        # Spawned: a fork of a process whose threads hold locks can hang.
        context = multiprocessing.get_context("spawn")
        started = (checkpoint, root, drawing)
        num_pools = num_processes if num_processes > 1 else 0
        self._pools = [ProcessPoolExecutor(1, context, _start, started) for _ in range(num_pools)]
        self._sampler = None if self._pools else Sampler(*started)
        # A thread works on one case at a time and stays with one process, which has read that case.
        self._own = threading.local()
        self._next = itertools.count()

    def __enter__(self) -> "LocalPolicy":
        return self

    def __exit__(self, *error: object) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def draw(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> list[list[Drawn]]:
        size = self.drawing.batch_prefixes
        batches = [prefixes[begin : begin + size] for begin in range(0, len(prefixes), size)]
        return [one for batch in batches for one in self._batch(case, batch, num, number)]

    def _batch(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> list[list[Drawn]]:
        seeds = [self._seed(case, steps, number) for steps in prefixes]
        key = _hash([*seeds, num])
        kept = self.journal.finished(key)
        if kept is None:
            attempt = self.journal.begin(key, self.drawing.stage, case.case_id, self.name, 0.0)
            begin = time.monotonic()
            kept = json.dumps(self._draw(case, prefixes, num, seeds), ensure_ascii=False)
            self.journal.finish(attempt, kept, Bill(self.name), time.monotonic() - begin)
        return [[self._drawn(*one) for one in texts] for texts in json.loads(kept)]

    def _drawn(self, text: str, count: int, is_truncated: bool, num_tokens: int = 0) -> Drawn:
        stop = self.drawing.stop
        return Drawn(text, count, is_truncated, num_tokens, goes_on=stop is not None and text.endswith(stop))

    def _draw(self, case: Case, prefixes: Sequence[Prefix], num: int, seeds: Sequence[int]) -> Texts:
        if self._sampler is not None:
            return self._sampler.draw(case, prefixes, num, seeds)
        if not hasattr(self._own, "pool"):
            self._own.pool = self._pools[next(self._next) % len(self._pools)]
        return self._own.pool.submit(_draw_here, case, prefixes, num, seeds).result()

    def _seed(self, case: Case, steps: Prefix, number: int) -> int:
        """Of what the model reads, how it draws, and which round it is. The films are known by their paths."""
        turns = build_turns(case, [], SOLVER, [document_text(one) for one in case.documents])
        images = [[image.path, image.frame] for image in case.all_images]
        drawing = [self.drawing.stage, self.drawing.temperature, self.drawing.max_new_tokens, self.seed, number]
        drawing += [self.drawing.stop] if self.drawing.stop is not None else []
        return int(_hash([self.name, case.case_id, turns.statement, turns.documents, images, steps, drawing])[:30], 16)


_sampler: Sampler | None = None


def _start(checkpoint: Path, root: Path, drawing: Drawing) -> None:
    """In a process of the pool: one thread, and a model of its own."""
    global _sampler
    torch.set_num_threads(1)
    _sampler = Sampler(checkpoint, root, drawing)


def _draw_here(case: Case, prefixes: Sequence[Prefix], num: int, seeds: Sequence[int]) -> Texts:
    assert _sampler is not None
    return _sampler.draw(case, prefixes, num, seeds)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def weights_hash(checkpoint: Path) -> str:
    """sha256 of a checkpoint's weight files."""
    digest = hashlib.sha256()
    for file in sorted(checkpoint.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
