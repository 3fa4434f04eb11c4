"""Cases with candidates to the rows that a scorer runs, each ready for one forward.

In: cases, step texts, an encoder, the images. Out: `TreeRows`, a map-style data set that worker processes can read:
tensors of a row, and whose scores come out of it. A row is made when it is asked for; only its plan is held.
Axes: T tokens of a row, S steps, M tiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch.utils.data import Dataset

from medprm.cases.schema import Case
from medprm.encoding.collator import lay_out_trees, stack_tiles
from medprm.encoding.encoder import Encoded, Encoder, check_positions
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.rows import RowPlan, plan_rows
from medprm.encoding.tree import build_tree
from medprm.images.tile_files import TileFile

Batch = dict[str, torch.Tensor]


class Candidates(NamedTuple):
    """A case and the steps of each of its solutions. `cut`: the tiles of its images, where they were cut beforehand."""

    case: Case
    steps: Sequence[Sequence[str]]
    cut: Sequence[TileFile] | None = None


class SolutionRef(NamedTuple):
    """A solution by the number of its case and its number within it, and how many steps it has."""

    case: int
    solution: int
    num_steps: int


class Rows(Protocol):
    """The work of a scorer, row by row."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch: ...

    def owners(self, index: int) -> list[SolutionRef]:
        """Whose scores come out of row `index`, in their order."""
        ...


@dataclass(frozen=True)
class TreeRows(Dataset[Batch]):
    """Rows of trees: input_ids, position_ids, subtree_ends (1, T), positions (1, S), pixel_values (M, 3, H, W)."""

    cases: Sequence[Candidates]
    encoder: Encoder
    pixels: PixelLoader
    plan: RowPlan

    def __len__(self) -> int:
        return len(self.plan.rows)

    def __getitem__(self, index: int) -> Batch:
        trees, values, positions, begin = [], [], [], 0
        for number, chosen in self.plan.rows[index]:
            case, steps, cut = self.cases[number]
            pixels = self.pixels.load(case, cut)
            tree = build_tree([self.encoder.encode(case, steps[n], pixels.num_tiles) for n in chosen])
            positions += [begin + position for one in tree.label_positions for position in one]
            begin += len(tree)
            trees.append(tree)
            values.append(pixels.values)
        batch = lay_out_trees([trees], pad_id=0)  # a row by itself is not padded
        return batch | {"positions": torch.tensor([positions])} | stack_tiles(values)

    def owners(self, index: int) -> list[SolutionRef]:
        return [
            SolutionRef(case, n, len(self.cases[case].steps[n]))
            for case, chosen in self.plan.rows[index]
            for n in chosen
        ]


def plan_tree_rows(
    cases: Sequence[Candidates], encoder: Encoder, pixels: PixelLoader, max_row_tokens: int, max_positions: int
) -> TreeRows:
    """All solutions as rows of at most `max_row_tokens`; one that is longer than `max_positions` raises."""

    def encoded(item: Candidates) -> list[Encoded]:
        num_tiles = pixels.count(item.case, item.cut)
        found = [encoder.encode(item.case, steps, num_tiles) for steps in item.steps]
        for number, one in enumerate(found):
            check_positions(one, max_positions, f"case {item.case.case_id} solution {number}")
        return found

    return TreeRows(cases, encoder, pixels, plan_rows((encoded(item) for item in cases), max_row_tokens))
