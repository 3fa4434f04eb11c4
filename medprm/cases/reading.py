"""What a reader of a public format gives back: the cases, and a count of everything that it left out."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from medprm.cases.schema import CaseSolutions

logger = logging.getLogger(__name__)


class Reading(NamedTuple):
    """`num_read` solutions were in the source; `refused` (reason -> count) of them are not in `cases`.

    `left_out` (what -> count) is missing from solutions that were kept.
    """

    cases: list[CaseSolutions]
    num_read: int
    refused: Mapping[str, int]
    left_out: Mapping[str, int] = MappingProxyType({})

    @property
    def num_kept(self) -> int:
        return sum(len(item.solutions) for item in self.cases)

    def log(self, source: str) -> None:
        """One line with the counts, and one for each reason."""
        logger.info("%s: %d solutions read, %d kept, %d cases", source, self.num_read, self.num_kept, len(self.cases))
        for reason, count in self.refused.items():
            logger.warning("%s: %d solutions refused: %s", source, count, reason)
        for what, count in self.left_out.items():
            logger.warning("%s: left out of %d solutions: %s", source, count, what)
