"""What became of the judge's verdicts over a run: why some are unknown, what was refused or cut.

In: records. Out: numbers for the log and the labels report.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from medprm.annotation.judging import NUM_CUT, NUM_REFUSED
from medprm.cases.schema import JudgeVerdict, Record

logger = logging.getLogger(__name__)


class JudgeCounts:
    """Counts over the records that pass."""

    def __init__(self) -> None:
        self.sums = Counter(num_verdicts=0, num_citations=0, num_refused_citations=0, num_cut_reasons=0)
        self.unknown: Counter[str] = Counter()

    def passing(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, counted."""
        for record in records:
            self.add(record)
            yield record

    def add(self, record: Record) -> None:
        for step in record.solution_steps:
            for one in step.sources.judge if step.sources else ():
                self._add(one)

    def _add(self, one: JudgeVerdict) -> None:
        lost = one.extra or {}
        self.sums.update(
            num_verdicts=1,
            num_citations=len(one.citations),
            num_refused_citations=lost.get(NUM_REFUSED, 0),
            num_cut_reasons=NUM_CUT in lost,
        )
        if one.verdict == "unknown":
            self.unknown[one.reason or "no reason given"] += 1

    def as_json(self) -> dict[str, Any]:
        return {**self.sums, "unknown": dict(self.unknown.most_common())}

    def say(self) -> None:
        """A line of the log for each reason, one for the citations, and one for reasons that were cut."""
        sums = self.sums
        for reason, count in self.unknown.most_common():
            logger.warning("%d of %d verdicts of the judge are unknown: %s", count, sums["num_verdicts"], reason)
        refused = sums["num_refused_citations"]
        logger.info(
            "%d of %d citations were refused: not in the passage that they name, or over the most of one verdict",
            *(refused, refused + sums["num_citations"]),
        )
        if sums["num_cut_reasons"]:
            logger.warning("%d reasons of the judge were cut", sums["num_cut_reasons"])
