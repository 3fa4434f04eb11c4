"""Several sets in one run: how often each solution is seen, from which file, and that streaming changes nothing."""

import logging
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import IMAGE_SETTINGS, make_cases, tiny_encoder

from medprm.cases.jsonl import write_cases
from medprm.cases.schema import CaseSolutions
from medprm.cases.stored import scan_cases
from medprm.encoding.settings import LabelSettings
from medprm.errors import InputError
from medprm.training.dataset import StepDataset, StoredItems, build_dataset
from medprm.training.mixture import MixedDataset, Part, copies_of, has_incorrect
from medprm.training.packing import pack_dataset
from medprm.training.settings import MixSettings


def dataset(folder: Path, num_cases: int, seed: int, source: str, is_stored: bool = False) -> StepDataset:
    folder.mkdir(exist_ok=True)
    cases = [
        CaseSolutions(
            item.case.model_copy(update={"metadata": item.case.metadata.model_copy(update={"source": source})}),
            item.solutions,
        )
        for item in make_cases(folder, num_cases, num_solutions=3, seed=seed)
    ]
    write_cases(folder / "train.jsonl", cases)
    read: Any = scan_cases(folder / "train.jsonl") if is_stored else cases
    return build_dataset(read, tiny_encoder(), LabelSettings(), folder, IMAGE_SETTINGS)


def parts(tmp_path: Path, is_stored: bool = False) -> list[Part]:
    """Both sets have cases of the same names, with other images."""
    return [
        Part("a", dataset(tmp_path / "a", 6, 0, "x", is_stored)),
        Part("b", dataset(tmp_path / "b", 4, 1, "y", is_stored)),
    ]


def seen(mixed: MixedDataset) -> Counter[tuple[int, int]]:
    return Counter(zip(mixed.of_part, mixed.indices, strict=True))


@pytest.mark.parametrize(
    ("num", "weight", "expected"), [(10, 1.0, 10), (10, 0.25, 2), (10, 2.5, 25), (3, 0.1, 0), (0, 2.0, 0)]
)
def test_copies_add_up_and_differ_by_one_at_most(num: int, weight: float, expected: int) -> None:
    copies = copies_of(num, weight, random.Random(0))
    assert sum(copies) == expected and len(copies) == num
    assert not copies or max(copies) - min(copies) <= 1


def test_without_weights_every_solution_is_seen_once(tmp_path: Path) -> None:
    both = parts(tmp_path)
    mixed = MixedDataset(both, MixSettings(), seed=0)
    assert seen(mixed) == Counter({(part, i): 1 for part in (0, 1) for i in range(len(both[part].dataset))})
    assert mixed.counts.num_solutions_kept == len(mixed) == 30


def test_weights_multiply_and_the_counts_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    both = parts(tmp_path)
    settings = MixSettings(weights={"a": 0.5}, source_weights={"y": 2.0}, upsample_incorrect=3.0)
    with caplog.at_level(logging.INFO):
        mixed = MixedDataset(both, settings, seed=0)
    found: Counter[tuple[int, bool]] = Counter()
    for index in range(len(mixed)):
        found[mixed.of_part[index], has_incorrect(mixed.item(index).targets)] += 1
    there = Counter(
        (part, has_incorrect(both[part].dataset.item(index).targets))
        for part in (0, 1)
        for index in range(len(both[part].dataset))
    )
    assert len(there) == 4, "no solution of some kind in this test"
    for (part, is_wrong), num in there.items():
        assert found[part, is_wrong] == round(num * (0.5 if part == 0 else 2.0) * (3.0 if is_wrong else 1.0))
    for counts in mixed.mixture:
        key = ("ab".index(counts.name), counts.has_incorrect)
        assert (counts.num_seen, counts.num_solutions) == (found[key], there[key])
        assert f"{counts.num_seen} seen an epoch, {counts.num_left_out} left out" in caplog.text
    left_out = 30 - len(seen(mixed))
    assert left_out == sum(counts.num_left_out for counts in mixed.mixture) > 0
    assert seen(MixedDataset(both, settings, seed=0)) == seen(mixed)
    assert seen(MixedDataset(both, settings, seed=1)) != seen(mixed)


def test_images_come_from_the_folder_of_their_set_and_trees_do_not_mix(tmp_path: Path) -> None:
    both = parts(tmp_path)
    mixed = MixedDataset(both, MixSettings(upsample_incorrect=2.0), seed=0)
    for index in range(len(mixed)):
        own = both[mixed.of_part[index]].dataset
        np.testing.assert_array_equal(mixed.load_pixels(index), own.load_pixels(mixed.indices[index]))
        assert mixed[index].encoded == own[mixed.indices[index]].encoded
    packed = pack_dataset(mixed, "tree", 900)
    trees = [tree for row in packed.rows for tree in row]
    assert sorted(index for tree in trees for index in tree) == list(range(len(mixed)))
    for tree in trees:
        members = [(mixed.of_part[index], mixed.indices[index]) for index in tree]
        assert len(set(members)) == len(members), "a solution twice on one tree"
        assert len({(part, mixed.item(i).case.case_id) for i, (part, _) in zip(tree, members, strict=True)}) == 1


def test_streaming_gives_the_same_rows(tmp_path: Path) -> None:
    settings = MixSettings(weights={"b": 1.5})
    whole, stored = (MixedDataset(parts(tmp_path, one), settings, seed=0) for one in (False, True))
    assert isinstance(stored.parts[0].dataset.items, StoredItems)
    assert stored.counts == whole.counts and stored.mixture == whole.mixture
    first, second = pack_dataset(whole, "tree", 900), pack_dataset(stored, "tree", 900)
    assert first.rows == second.rows
    for one, other in zip(first, second, strict=True):
        for tree, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(tree.tree.input_ids, same.tree.input_ids)
            np.testing.assert_array_equal(tree.pixel_values, same.pixel_values)
            assert tree.targets == same.targets


def test_names_that_nothing_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mix.source_weights.z: no solution is of this source; expected some of x, y"):
        MixedDataset(parts(tmp_path), MixSettings(source_weights={"z": 2.0}), seed=0)
    with pytest.raises(InputError, match=r"mix.weights.c: no such set; expected one of a, b"):
        MixSettings(sets={"b": "folder"}, weights={"c": 2.0}).check_names("a")
    with pytest.raises(InputError, match="data.name is a, too"):
        MixSettings(sets={"a": "folder"}).check_names("a")
    with pytest.raises(InputError, match="mix weight a=0"):
        MixSettings(weights={"a": 0.0})
