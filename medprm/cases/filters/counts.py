"""What filters left out, and the guard that keeps them off evaluation sets."""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.schema import CaseSolutions
from medprm.errors import InputError

logger = logging.getLogger(__name__)

HELD_OUT_SPLITS = ("validation", "test")


@dataclass
class FilterCounts:
    """Cases and solutions read and kept. `left_out`: reason -> solutions; cases that went count in `cases_left_out`.

    solutions read = kept + the sum of `left_out`.
    """

    num_cases_read: int = 0
    num_cases_kept: int = 0
    num_solutions_read: int = 0
    num_solutions_kept: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    cases_left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str, num_solutions: int) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + num_solutions

    def leave_out_case(self, reason: str, item: CaseSolutions) -> None:
        self.cases_left_out[reason] = self.cases_left_out.get(reason, 0) + 1
        self.leave_out(reason, len(item.solutions))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def log(self, where: str) -> None:
        """One line with the sums, and one for each reason."""
        logger.info(
            "%s: %d of %d solutions kept, %d of %d cases",
            where,
            self.num_solutions_kept,
            self.num_solutions_read,
            self.num_cases_kept,
            self.num_cases_read,
        )
        for reason, num in self.left_out.items():
            num_cases = self.cases_left_out.get(reason)
            logger.info(
                "%s: left out %d solutions%s: %s", where, num, f" of {num_cases} cases" * bool(num_cases), reason
            )


class Filtered(NamedTuple):
    """What is kept, in order, and the counts."""

    cases: list[CaseSolutions]
    counts: FilterCounts


def counted(before: Iterable[CaseSolutions], counts: FilterCounts, kept: list[CaseSolutions]) -> Filtered:
    """The sums of both sides; the reasons must explain the difference."""
    for item in before:
        counts.num_cases_read += 1
        counts.num_solutions_read += len(item.solutions)
    counts.num_cases_kept = len(kept)
    counts.num_solutions_kept = sum(len(item.solutions) for item in kept)
    missing = counts.num_solutions_read - counts.num_solutions_kept - sum(counts.left_out.values())
    assert missing == 0, f"{missing} solutions left out without a reason"
    return Filtered(kept, counts)


def check_is_training(cases: Iterable[CaseSolutions], file: Path, names: list[str]) -> None:
    """InputError where filters would change an evaluation set: by the name of its file, or what its cases say."""
    shown = ", ".join(f"filters.{name}" for name in names)
    if file.stem in HELD_OUT_SPLITS:
        raise InputError(
            f"{file}: an evaluation set by its name, and {shown} would change what it measures; filters=none"
        )
    for item in cases:
        if item.case.metadata.split in HELD_OUT_SPLITS:
            raise InputError(
                f"{file} case {item.case.case_id}: of the {item.case.metadata.split} split (metadata.split), and "
                f"{shown} would change what it measures; filters=none, or give the training cases alone"
            )
