"""Solutions to rows of trees: what the solutions of a case share is computed once.

In: a `StepDataset`, a budget of tokens. Out: `PackedDataset`, one row of trees an item, the same rows in every epoch.
`tree` puts the solutions of a case on one trunk; `sequence` keeps every solution apart and only packs. Loss, gradients
and scores are those of the solutions alone. Every solution is in exactly one row; nothing is cut.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from torch.utils.data import Dataset

from medprm.encoding.collator import Row, TreeExample
from medprm.encoding.rows import plan_rows
from medprm.encoding.tree import build_tree
from medprm.training.dataset import StepDataset
from medprm.training.mixture import MixedDataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackedDataset(Dataset[Row]):
    """`rows[i]` are the trees of row i, each a list of indices into `solutions`."""

    solutions: StepDataset | MixedDataset
    rows: Sequence[Sequence[Sequence[int]]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return [self._tree(group) for group in self.rows[index]]

    def _tree(self, group: Sequence[int]) -> TreeExample:
        encoded = [self.solutions.encode(index) for index in group]
        targets = tuple(self.solutions.item(index).targets for index in group)
        return TreeExample(build_tree(encoded), self.solutions.load_pixels(group[0]), targets)


def pack_dataset(
    solutions: StepDataset | MixedDataset, kind: str, max_row_tokens: int, max_tree_solutions: int | None = None
) -> PackedDataset:
    """All solutions of the data set in rows of about `max_row_tokens`; `kind` is tree or sequence.

    `max_tree_solutions` is the most solutions on one tree; without it as many as a case has.
    """
    by_case = _by_case(solutions)
    encoded = ([solutions.encode(index) for index in indices] for indices in by_case)
    plan = plan_rows(encoded, max_row_tokens, 1 if kind == "sequence" else max_tree_solutions)
    logger.info("%d solutions: %s", len(solutions), plan)
    rows = [[[by_case[case][n] for n in chosen] for case, chosen in row] for row in plan.rows]
    return PackedDataset(solutions, rows)


def _by_case(solutions: StepDataset | MixedDataset) -> list[list[int]]:
    """The indices of each case's solutions, cases in the order of their first."""
    indices: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(solutions.groups):
        indices[group].append(index)
    return list(indices.values())
