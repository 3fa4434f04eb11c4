"""All sequences of a case on one trunk: what they begin with alike is there once.

In: encoded sequences of one case. Out: `Tree`, its tokens in depth-first order. Sequences that agree in their first k
ids share k tokens; where one differs, a branch begins. Two sequences share a step only where everything before it
agrees, ids of images, documents and earlier labels included. Axes: T tokens of a tree.

One number per token says who sees whom: token q attends to token k where `k <= q < subtree_ends[k]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medprm.encoding.encoder import Encoded


@dataclass(frozen=True)
class Tree:
    """`depths` (T,) is a token's position in its sequence; `subtree_ends` (T,) the index behind all that follow it.

    `label_positions[n]` are the tokens of sequence n at which its steps are read, in the order given to `build_tree`;
    sequences that share a step share its token.
    """

    input_ids: np.ndarray
    depths: np.ndarray
    subtree_ends: np.ndarray
    label_positions: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.input_ids)


class Run(NamedTuple):
    """Tokens `begin` to `end` of a row, a chain; `ancestors` are the tokens before it on its path."""

    begin: int
    end: int
    ancestors: np.ndarray


class _Branch(NamedTuple):
    """A sequence and how many of its first ids the sequence before it, in sorted order, has as well."""

    index: int
    ids: np.ndarray
    num_shared: int


def build_tree(sequences: Sequence[Encoded]) -> Tree:
    """The tree of sequences that share their images (`group_sequences` sees to that)."""
    branches = _sorted_branches(sequences)
    num_tokens = sum(len(one.ids) - one.num_shared for one in branches)
    input_ids, depths, ends = (np.empty(num_tokens, dtype=np.int64) for _ in range(3))
    label_positions: list[tuple[int, ...]] = [()] * len(sequences)
    path = np.empty(0, dtype=np.int64)  # the tokens of the sequence last laid down
    size = 0
    for index, ids, num_shared in branches:
        ends[path[num_shared:]] = size
        begin, size = size, size + len(ids) - num_shared
        input_ids[begin:size] = ids[num_shared:]
        depths[begin:size] = np.arange(num_shared, len(ids))
        path = np.concatenate([path[:num_shared], np.arange(begin, size)])
        label_positions[index] = tuple(path[sequences[index].label_positions].tolist())
    ends[path] = size
    return Tree(input_ids, depths, ends, tuple(label_positions))


def group_sequences(sequences: Sequence[Encoded], max_tokens: int, max_sequences: int | None = None) -> list[list[int]]:
    """Which sequences share a tree: index lists, every index once.

    A sequence begins another tree where it would make this one longer than `max_tokens`, where the tree holds
    `max_sequences`, or where it differs from it before the end of the images (fewer documents, say). One that is
    longer by itself has a tree of its own.
    """
    groups: list[list[int]] = []
    size = 0
    for branch in _sorted_branches(sequences):
        num_new = len(branch.ids) - branch.num_shared
        shares_images = branch.num_shared >= sequences[branch.index].images_end
        is_full = bool(groups) and max_sequences is not None and len(groups[-1]) >= max_sequences
        if groups and shares_images and not is_full and size + num_new <= max_tokens:
            groups[-1].append(branch.index)
            size += num_new
        else:
            groups.append([branch.index])
            size = len(branch.ids)
    return [sorted(group) for group in groups]


def tree_size(sequences: Sequence[Encoded]) -> int:
    """Number of tokens of the tree, without building it."""
    return sum(len(one.ids) - one.num_shared for one in _sorted_branches(sequences))


def find_runs(subtree_ends: np.ndarray) -> list[Run]:
    """The chains of a row of trees, (T,) -> runs that cover it: a run ends where the next token is no child."""
    num_tokens = len(subtree_ends)
    is_leaf = subtree_ends == np.arange(1, num_tokens + 1)
    begins = np.concatenate([[0], np.flatnonzero(is_leaf[:-1]) + 1])
    ends = np.concatenate([begins[1:], [num_tokens]])
    return [
        Run(int(begin), int(end), np.flatnonzero(subtree_ends[:begin] > begin))
        for begin, end in zip(begins, ends, strict=True)
    ]


def _sorted_branches(sequences: Sequence[Encoded]) -> list[_Branch]:
    """In the order of their ids each sequence shares most with the one before it: a depth-first walk."""
    order = sorted(range(len(sequences)), key=lambda index: sequences[index].input_ids)
    branches: list[_Branch] = []
    before = np.empty(0, dtype=np.int64)
    for index in order:
        ids = np.asarray(sequences[index].input_ids, dtype=np.int64)
        branches.append(_Branch(index, ids, _num_shared(before, ids)))
        before = ids
    return branches


def _num_shared(one: np.ndarray, two: np.ndarray) -> int:
    length = min(len(one), len(two))
    different = np.flatnonzero(one[:length] != two[:length])
    return int(different[0]) if len(different) else length
