"""Which labelled solutions are trained on: the most informative, by the labels that they have, or some at random.

In: cases with labelled solutions, the label settings. Out: `Selected`, the same cases with fewer solutions, in order,
and the counts by source. No new label is bought.

`bis` is the Balanced-Information Score of arXiv 2602.04145: (p (1 - p) + 0.05) R of one solution, p the share of its
labelled steps that are positive, R the mean Monte Carlo score of these. Solutions that mix right and wrong steps carry
information, and positives that rollouts rarely confirm are often none. Where no step is positive R is 1 (ours).
A score of rollouts that were stopped early is good enough here: it ranks, it is no label.
"""

import logging
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from medprm.cases.schema import CaseSolutions, Solution, Step
from medprm.cases.stored import ChosenCases
from medprm.cases.verdicts import share_so_far
from medprm.encoding.settings import LabelSettings
from medprm.encoding.targets import Row, step_targets
from medprm.errors import InputError
from medprm.training.settings import SelectionSettings

logger = logging.getLogger(__name__)

SMOOTHING = 0.05
NO_SOURCE = "(none)"


@dataclass
class SelectionCounts:
    """What was chosen from, by source of the cases."""

    kind: str = "none"
    share: float = 1.0
    num_read: dict[str, int] = field(default_factory=dict)
    num_kept: dict[str, int] = field(default_factory=dict)
    # Solutions without any labelled step: there is nothing to rank, they are left out.
    num_without_label: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Selected(NamedTuple):
    """The cases that keep a solution, in order, and the counts."""

    cases: ChosenCases
    counts: SelectionCounts


class _Place(NamedTuple):
    case: int
    solution: int


def select(cases: Sequence[CaseSolutions], settings: SelectionSettings, labels: LabelSettings, seed: int) -> Selected:
    """The best `settings.share` of the solutions of each source, or as many at random; at least one of each source.

    Of equal scores the draw decides, not the order of the file. InputError where `bis` finds positive steps and none of
    them has a Monte Carlo score.
    """
    counts = SelectionCounts(settings.kind, settings.share)
    by_source: dict[str, list[tuple[float, float, _Place]]] = defaultdict(list)
    generator = random.Random(seed)
    for place, item, solution in _placed(cases):
        source = source_of(item)
        counts.num_read[source] = counts.num_read.get(source, 0) + 1
        score = _score(item, solution, settings, labels)
        if score is None:
            counts.num_without_label[source] = counts.num_without_label.get(source, 0) + 1
            continue
        by_source[source].append((-score, generator.random(), place))
    kept: set[_Place] = set()
    for source, ranked in by_source.items():
        chosen = sorted(ranked)[: num_of(settings.share, len(ranked))]
        kept.update(place for _, _, place in chosen)
        counts.num_kept[source] = len(chosen)
    _log(counts)
    return Selected(_only(cases, kept), counts)


def balanced_information(scores: Sequence[float | None], is_positive: Sequence[bool | None]) -> float | None:
    """(p (1 - p) + 0.05) R of a solution; `is_positive` None is a step without a label. None where there is no label.

    `scores` are Monte Carlo scores in [0, 1]; only those of positive steps are read, those that there are. ValueError
    where there are none.
    """
    known = [place for place, one in enumerate(is_positive) if one is not None]
    if not known:
        return None
    positive = [place for place in known if is_positive[place]]
    share = len(positive) / len(known)
    reliability = 1.0
    if positive:
        of_positive = [score for place in positive if (score := scores[place]) is not None]
        if not of_positive:
            raise ValueError("none of its positive steps has a Monte Carlo score")
        reliability = math.fsum(of_positive) / len(of_positive)
    return (share * (1 - share) + SMOOTHING) * reliability


def num_of(share: float, num: int) -> int:
    """How many of `num` a share means: rounded, at least one."""
    return min(num, max(1, round(share * num)))


def source_of(item: CaseSolutions) -> str:
    return item.case.metadata.source or NO_SOURCE


def _placed(cases: Sequence[CaseSolutions]) -> Iterator[tuple[_Place, CaseSolutions, Solution]]:
    for number, item in enumerate(cases):
        for index, solution in enumerate(item.solutions):
            yield _Place(number, index), item, solution


def _score(item: CaseSolutions, solution: Solution, settings: SelectionSettings, labels: LabelSettings) -> float | None:
    """Larger is chosen first; at random all are alike. None without a labelled step."""
    rows = step_targets(solution, labels).rows
    if all(_is_positive(row) is None for row in rows):
        return None
    if settings.kind == "random":
        return 0.0
    scores = [_rollout_score(step) for step in solution.solution_steps]
    # The answer's own step has no rollouts: whether the answer is right says what they would.
    if scores[-1] is None and solution.is_correct is not None:
        scores[-1] = float(solution.is_correct)
    try:
        return balanced_information(scores, [_is_positive(row) for row in rows])
    except ValueError as error:
        raise InputError(
            f"case {item.case.case_id} solution {solution.solution_id}: {error}; selection.kind=bis ranks by rollouts: "
            "annotate with them, or choose selection.kind=random"
        ) from None


def _is_positive(row: Row | None) -> bool | None:
    """Of "+", ("=",) "-" the most probable; None for "=", and where nothing is known."""
    if row is None:
        return None
    place = row.index(max(row))
    return True if place == 0 else False if place == len(row) - 1 else None


def _rollout_score(step: Step) -> float | None:
    """Share of correct rollouts among those run, stopped early or not; the stored score where no counts are kept."""
    runs = step.sources.monte_carlo if step.sources else ()
    return share_so_far(runs) if runs else step.mc_score


def _only(cases: Sequence[CaseSolutions], kept: set[_Place]) -> ChosenCases:
    by_case: dict[int, list[int]] = defaultdict(list)
    for place in sorted(kept):
        by_case[place.case].append(place.solution)
    return ChosenCases(cases, list(by_case.items()))


def _log(counts: SelectionCounts) -> None:
    for source, num_read in counts.num_read.items():
        logger.info(
            "selection %s: %d of %d solutions of source %s kept, %d of them had no label",
            counts.kind,
            counts.num_kept.get(source, 0),
            num_read,
            source,
            counts.num_without_label.get(source, 0),
        )
