"""Cases to rows of trees: which solutions of a case share a tree, and which trees share a row.

In: the encoded solutions of each case, a budget of tokens. Out: `RowPlan`, by number, the same each time. Training and
scoring both go by it. Every solution is in exactly one row; nothing is cut.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from medprm.encoding.encoder import Encoded
from medprm.encoding.packing import fill, pack
from medprm.encoding.tree import group_sequences, tree_size


class TreeRef(NamedTuple):
    """Solutions of one case that share a tree: the case's number, and theirs within it."""

    case: int
    solutions: tuple[int, ...]


class RowPlan(NamedTuple):
    """The trees of each row, and how many tokens they save and fill."""

    rows: list[list[TreeRef]]
    num_trees: int
    num_tokens: int
    num_tokens_alone: int
    fill: float

    def __str__(self) -> str:
        return (
            f"{self.num_tokens_alone} tokens as {self.num_trees} trees of {self.num_tokens} tokens in "
            f"{len(self.rows)} rows ({100 * self.fill:.1f} % filled)"
        )


def plan_rows(
    cases: Iterable[Sequence[Encoded]], max_row_tokens: int, max_tree_solutions: int | None = None
) -> RowPlan:
    """Rows of at most `max_row_tokens`, long trees first. `max_tree_solutions`: the most on one tree; None: all.

    A solution that is longer than a row by itself has one of its own.
    """
    trees: list[TreeRef] = []
    lengths: list[int] = []
    num_tokens_alone = 0
    for number, encoded in enumerate(cases):
        num_tokens_alone += sum(len(one.input_ids) for one in encoded)
        for group in group_sequences(encoded, max_row_tokens, max_tree_solutions):
            trees.append(TreeRef(number, tuple(group)))
            lengths.append(tree_size([encoded[n] for n in group]))
    rows = pack(lengths, max_row_tokens)
    return RowPlan(
        [[trees[tree] for tree in row] for row in rows],
        len(trees),
        sum(lengths),
        num_tokens_alone,
        fill(lengths, rows, max_row_tokens),
    )
