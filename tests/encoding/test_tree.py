"""Trees: every path reads its sequence, and nothing is there twice or missing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import full_record, tiny_encoder
from trees import branching_cases

from medprm.encoding.encoder import Encoded
from medprm.encoding.tree import build_tree, find_runs, group_sequences, tree_size


def sequence(ids: list[int], images_end: int = 0) -> Encoded:
    return Encoded(ids, [len(ids) - 1], images_end, len(ids), 0, 0)


def path_to(ends: np.ndarray, token: int) -> np.ndarray:
    """The token and its ancestors, by the rule of who sees whom."""
    index = np.arange(len(ends))
    return np.flatnonzero((index <= token) & (token < ends))


SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=16)


@settings(max_examples=200, deadline=None)
@given(SEQUENCES)
def test_every_path_reads_its_sequence_and_each_beginning_is_there_once(lists: list[list[int]]) -> None:
    tree = build_tree([sequence(ids) for ids in lists])
    for ids, positions in zip(lists, tree.label_positions, strict=True):
        path = path_to(tree.subtree_ends, positions[-1])
        assert tree.input_ids[path].tolist() == ids
        assert tree.depths[path].tolist() == list(range(len(ids)))
    beginnings = {tuple(ids[:length]) for ids in lists for length in range(1, len(ids) + 1)}
    assert len(tree) == len(beginnings) == tree_size([sequence(ids) for ids in lists])


@settings(max_examples=100, deadline=None)
@given(SEQUENCES)
def test_runs_cover_the_row_and_know_their_ancestors(lists: list[list[int]]) -> None:
    ends = build_tree([sequence(ids) for ids in lists]).subtree_ends
    runs = find_runs(ends)
    assert [token for run in runs for token in range(run.begin, run.end)] == list(range(len(ends)))
    for run in runs:
        for token in range(run.begin, run.end):
            assert path_to(ends, token).tolist() == [*run.ancestors, *range(run.begin, token + 1)]


@settings(max_examples=100, deadline=None)
@given(SEQUENCES, st.integers(1, 30))
def test_groups_hold_every_sequence_once_and_stay_in_the_budget(lists: list[list[int]], budget: int) -> None:
    sequences = [sequence(ids) for ids in lists]
    groups = group_sequences(sequences, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(lists)))
    for group in groups:
        size = tree_size([sequences[index] for index in group])
        assert size <= budget or len({tuple(lists[index]) for index in group}) == 1


def test_sequences_that_differ_before_the_images_have_trees_of_their_own() -> None:
    image = [7, 7, 7]
    sequences = [sequence([1, 2, *image, 4], 5), sequence([1, 3, *image, 4], 5), sequence([1, 2, *image, 5], 5)]
    assert sorted(group_sequences(sequences, 100)) == [[0, 2], [1]]


@pytest.mark.parametrize("history", ["plus", "labels"])
def test_steps_are_shared_only_where_all_before_them_agrees(history: str) -> None:
    """Under history: labels the labels of earlier steps are in the ids, and keep branches apart."""
    encoder = tiny_encoder(history=history)
    case = full_record().case()
    labels = (None, None) if history == "plus" else (["+", "+"], ["-", "+"])
    one, two = (encoder.encode(case, ["clear", "heart enlarged"], [1], label) for label in labels)
    tree = build_tree([one, two])
    first, second = zip(*tree.label_positions, strict=True)
    assert first[0] == first[1]
    assert (second[0] == second[1]) == (history == "plus")


def test_a_real_case_shares_its_trunk(tmp_path: Path) -> None:
    case, solutions = branching_cases(tmp_path, seed=3)[0]
    encoder = tiny_encoder()
    tiles = [1] * len(case.all_images)
    encoded = [encoder.encode(case, one.step_texts, tiles) for one in solutions]
    tree = build_tree(encoded)
    assert len(solutions) > 2
    assert len(tree) < 0.6 * sum(len(one.input_ids) for one in encoded)
    for one, positions in zip(encoded, tree.label_positions, strict=True):
        assert tree.depths[list(positions)].tolist() == one.label_positions
