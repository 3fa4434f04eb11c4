"""The shipped base as a policy in this process, behind the journal: what was drawn once is not drawn again.

In: a case, prefixes. Out: continuations. Prefixes go through the model in batches of a fixed make-up and with a seed
from their own hash, so that a run that was killed and goes on draws the same texts.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from medprm.annotation.counts import Drawn
from medprm.annotation.rollouts import Prefix
from medprm.annotation.settings import MonteCarloSettings
from medprm.cases.schema import Case
from medprm.clients.journal import Bill, Journal
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.turns import build_turns, document_text
from medprm.model.lessons import SOLVER
from medprm.model.loading import LoadedModel
from medprm.model.sampling import sample_continuations

STAGE = "monte_carlo"


class LocalPolicy:
    """A `Policy` of a model that is loaded here."""

    def __init__(
        self,
        loaded: LoadedModel,
        checkpoint: Path,
        root: Path,
        settings: MonteCarloSettings,
        journal: Journal,
        seed: int,
    ) -> None:
        self.loaded = loaded
        self.name = f"tiny-{weights_hash(checkpoint)[:12]}"
        self.pixels = PixelLoader(root, loaded.image_settings)
        self.settings = settings
        self.journal = journal
        self.seed = seed

    def draw(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> list[list[Drawn]]:
        size = self.settings.batch_prefixes
        batches = [prefixes[begin : begin + size] for begin in range(0, len(prefixes), size)]
        return [one for batch in batches for one in self._batch(case, batch, num, number)]

    def _batch(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> list[list[Drawn]]:
        key = self._key(case, prefixes, num, number)
        kept = self.journal.finished(key)
        if kept is None:
            attempt = self.journal.begin(key, STAGE, case.case_id, self.name, 0.0)
            begin = time.monotonic()
            drawn = sample_continuations(
                self.loaded,
                case,
                self.pixels.load(case),
                prefixes,
                [num] * len(prefixes),
                temperature=self.settings.temperature,
                max_new_tokens=self.settings.max_new_tokens,
                seed=int(key[:15], 16),
            )
            kept = json.dumps([[list(one) for one in texts] for texts in drawn], ensure_ascii=False)
            self.journal.finish(attempt, kept, Bill(self.name), time.monotonic() - begin)
        return [[Drawn(*one) for one in texts] for texts in json.loads(kept)]

    def _key(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> str:
        """What the model reads, how it draws, and which round it is. The films are known by their paths."""
        turns = build_turns(case, [], SOLVER, [document_text(one) for one in case.documents])
        images = [[image.path, image.frame] for image in case.all_images]
        drawing = [self.settings.temperature, self.settings.max_new_tokens, self.seed, num, number]
        said = [self.name, case.case_id, turns.statement, turns.documents, images, prefixes, drawing]
        return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()


def weights_hash(checkpoint: Path) -> str:
    """sha256 of a checkpoint's weight files."""
    digest = hashlib.sha256()
    for file in sorted(checkpoint.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
