"""Several sets in one training run, and how often each of their solutions is seen.

In: data sets by name, weights. Out: `MixedDataset`, map-style, so that order, resuming and several processes are those
of any data set: the sampler deals out its indices. A weight w means that a solution is seen w times an epoch: whole
copies of all, and of a drawn part one more, the same in every epoch. Weight 1: every solution once. What is repeated or
left out is counted and logged.
"""

import logging
import random
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from medprm.encoding.collator import Example
from medprm.encoding.encoder import Encoded
from medprm.encoding.targets import Targets
from medprm.errors import InputError
from medprm.training.dataset import DatasetCounts, StepDataset, TrainingItem
from medprm.training.selection import NO_SOURCE
from medprm.training.settings import MixSettings

logger = logging.getLogger(__name__)


class Part(NamedTuple):
    """One set of the mix."""

    name: str
    dataset: StepDataset


@dataclass
class MixtureCounts:
    """Of one set, source and kind: `num_solutions` there are, `num_seen` an epoch, repeats included."""

    name: str
    source: str
    has_incorrect: bool
    weight: float
    num_solutions: int
    num_seen: int
    num_left_out: int


class _Kind(NamedTuple):
    part: int
    source: str
    has_incorrect: bool


class MixedDataset(Dataset[Example]):
    """Item i is solution `indices[i]` of set `parts[of_part[i]]`; copies of a solution have groups of their own."""

    def __init__(self, parts: Sequence[Part], settings: MixSettings, seed: int) -> None:
        self.parts = parts
        self.mixture: list[MixtureCounts] = []
        self.of_part, self.indices, self.groups = array("q"), array("q"), array("q")
        kinds: dict[_Kind, list[int]] = defaultdict(list)
        for number, (_, dataset) in enumerate(parts):
            for index in range(len(dataset)):
                item = dataset.item(index)
                source = item.case.metadata.source or NO_SOURCE
                kinds[_Kind(number, source, has_incorrect(item.targets))].append(index)
        _check_sources(settings, kinds)
        copies = [array("q", bytes(8 * len(dataset))) for _, dataset in parts]
        for kind, members in kinds.items():
            weight = _weight(kind, parts[kind.part].name, settings)
            seen = copies_of(len(members), weight, random.Random(f"{seed} {kind}"))
            for index, number in zip(members, seen, strict=True):
                copies[kind.part][index] = number
            counts = (len(members), sum(seen), sum(one == 0 for one in seen))
            self.mixture.append(MixtureCounts(parts[kind.part].name, kind.source, kind.has_incorrect, weight, *counts))
        self._lay_out(copies)
        self.counts = _sum_of([dataset.counts for _, dataset in parts])
        _log(self.mixture)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Example:
        return self.parts[self.of_part[index]].dataset[self.indices[index]]

    def item(self, index: int) -> TrainingItem:
        return self.parts[self.of_part[index]].dataset.item(self.indices[index])

    def encode(self, index: int) -> Encoded:
        """The ids of one solution; no pixel is read."""
        return self.parts[self.of_part[index]].dataset.encode(self.indices[index])

    def load_pixels(self, index: int) -> np.ndarray | None:
        """The tiles of the item's case, from the folder of its set."""
        return self.parts[self.of_part[index]].dataset.load_pixels(self.indices[index])

    def _lay_out(self, copies: Sequence[Sequence[int]]) -> None:
        """Set after set in file order, its first copies before its second: a tree has no solution twice."""
        first_free = 0
        for number, ((_, dataset), of_set) in enumerate(zip(self.parts, copies, strict=True)):
            for copy in range(max(of_set, default=0)):
                begin = first_free
                for index, group in enumerate(dataset.groups):
                    if of_set[index] > copy:
                        self.of_part.append(number)
                        self.indices.append(index)
                        self.groups.append(begin + group)
                        first_free = max(first_free, begin + group + 1)
        if not self.indices:
            raise InputError("mix: the weights leave no solution; raise mix.weights or mix.source_weights")


def has_incorrect(targets: Targets) -> bool:
    """Whether a step is more probably "-" than not."""
    return any(row is not None and row.index(max(row)) == len(row) - 1 for row in targets.rows)


def copies_of(num: int, weight: float, generator: random.Random) -> list[int]:
    """How often each of `num` is seen, together round(num * weight): equal numbers, and one more for a drawn part."""
    if num == 0:
        return []
    whole, rest = divmod(round(num * weight), num)
    drawn = set(generator.sample(range(num), rest))
    return [whole + (index in drawn) for index in range(num)]


def mixture_json(mixture: Sequence[MixtureCounts]) -> list[dict[str, Any]]:
    return [asdict(one) for one in mixture]


def _weight(kind: _Kind, name: str, settings: MixSettings) -> float:
    weight = settings.weights.get(name, 1.0) * settings.source_weights.get(kind.source, 1.0)
    return weight * (settings.upsample_incorrect if kind.has_incorrect else 1.0)


def _check_sources(settings: MixSettings, kinds: dict[_Kind, list[int]]) -> None:
    found = {kind.source for kind in kinds}
    for source in settings.source_weights:
        if source not in found:
            raise InputError(
                f"mix.source_weights.{source}: no solution is of this source; expected some of "
                f"{', '.join(sorted(found))} (metadata.source)"
            )


def _sum_of(counts: Sequence[DatasetCounts]) -> DatasetCounts:
    """Every solution once, whatever its weight."""
    total = DatasetCounts()
    for one in counts:
        for name in ("num_cases", "num_solutions_read", "num_solutions_kept", "num_steps", "num_text_tokens",
                     "num_dropped_documents", "num_text_only"):  # fmt: skip
            setattr(total, name, getattr(total, name) + getattr(one, name))
        total.refused = dict(Counter(total.refused) + Counter(one.refused))
        total.steps_by_label = dict(Counter(total.steps_by_label) + Counter(one.steps_by_label))
        total.longest_text_tokens = max(total.longest_text_tokens, one.longest_text_tokens)
    return total


def _log(mixture: Sequence[MixtureCounts]) -> None:
    for one in mixture:
        logger.info(
            "mix: set %s, source %s, %s an incorrect step: %d solutions, weight %g: %d seen an epoch, %d left out",
            one.name,
            one.source,
            "with" if one.has_incorrect else "without",
            one.num_solutions,
            one.weight,
            one.num_seen,
            one.num_left_out,
        )
