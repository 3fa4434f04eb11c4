"""What a reader of a public format gives back: the cases, and a count of everything that it left out."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from medprm.cases.schema import CaseSolutions

logger = logging.getLogger(__name__)


class Reading(NamedTuple):
    """`num_read` solutions were in the source; `refused` (reason -> count) of them are not in `cases`.

    `left_out` (what -> count) is missing from solutions that were kept. A set of questions has no solutions: `unit` is
    "cases", and cases are counted.
    """

    cases: list[CaseSolutions]
    num_read: int
    refused: Mapping[str, int]
    left_out: Mapping[str, int] = MappingProxyType({})
    unit: str = "solutions"

    @property
    def num_kept(self) -> int:
        return len(self.cases) if self.unit == "cases" else sum(len(item.solutions) for item in self.cases)

    def log(self, source: str) -> None:
        """One line with the counts, and one for each reason."""
        unit = self.unit
        logger.info("%s: %d %s read, %d kept, %d cases", source, self.num_read, unit, self.num_kept, len(self.cases))
        for reason, count in self.refused.items():
            logger.warning("%s: %d %s refused: %s", source, count, unit, reason)
        for what, count in self.left_out.items():
            logger.warning("%s: left out of %d %s: %s", source, count, unit, what)
