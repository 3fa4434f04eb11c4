"""What became of the judge's verdicts over a run: how many there are, and why some are unknown.

In: records. Out: numbers for the log and the labels report.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from medprm.cases.schema import Record

logger = logging.getLogger(__name__)


class JudgeCounts:
    """Counts over the records that pass."""

    def __init__(self) -> None:
        self.num_verdicts = 0
        self.unknown: Counter[str] = Counter()

    def passing(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, counted."""
        for record in records:
            self.add(record)
            yield record

    def add(self, record: Record) -> None:
        for step in record.solution_steps:
            for one in step.sources.judge if step.sources else ():
                self.num_verdicts += 1
                self.unknown.update([one.reason or "no reason given"] if one.verdict == "unknown" else [])

    def as_json(self) -> dict[str, Any]:
        return {"num_verdicts": self.num_verdicts, "unknown": dict(self.unknown.most_common())}

    def say(self) -> None:
        """A line of the log for each reason."""
        for reason, count in self.unknown.most_common():
            logger.warning("%d of %d verdicts of the judge are unknown: %s", count, self.num_verdicts, reason)
