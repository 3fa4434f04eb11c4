"""BM25: what is found in which order, and the index on disk."""

import os
from pathlib import Path

import pytest

from medprm.annotation.index_folders import NUM_KEPT, index_folder
from medprm.annotation.lexical import LexicalIndex, words_of
from medprm.annotation.passages import Passage

TEXTS = [
    "Effusion is fluid in the pleural space.",
    "Pneumothorax is air.",
    "CT comes first for the lung.",
    "Fluid, fluid.",
]
PASSAGES = [Passage(f"g/{i}", "g", text) for i, text in enumerate(TEXTS)]


def test_search_and_cache(tmp_path: Path) -> None:
    index = LexicalIndex(PASSAGES, tmp_path)
    assert index.search("fluid", 4) == [3, 0]
    assert index.search("lungs", 4) == [2]
    assert index.search("zebra", 4) == [] and index.search("", 4) == []
    before = index.folder.stat().st_mtime_ns
    again = LexicalIndex(PASSAGES, tmp_path)
    assert again.folder.stat().st_mtime_ns == before and again.name == index.name
    assert words_of("The effusions of glass") == ["effusion", "glass"]


def test_a_changed_collection_has_another_index(tmp_path: Path) -> None:
    first = LexicalIndex(PASSAGES, tmp_path)
    more = LexicalIndex([*PASSAGES, Passage("g/4", "g", "Zebra.")], tmp_path)
    titled = LexicalIndex([PASSAGES[0]._replace(title="Zebra"), *PASSAGES[1:]], tmp_path)
    assert len({first.folder, more.folder, titled.folder}) == len({first.name, more.name, titled.name}) == 3
    assert (first.search("zebra", 5), more.search("zebra", 5), titled.search("zebra", 5)) == ([], [4], [0])
    licensed = LexicalIndex([one._replace(licence="MIT") for one in PASSAGES], tmp_path)
    assert licensed.folder == first.folder, "a licence is not searched"


def test_indexes_that_were_not_opened_for_long_are_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def build(folder: Path) -> None:
        (folder / "content").write_text("x")

    def opened(number: int) -> Path:
        return index_folder(tmp_path, "bm25", f"{number:064x}"[::-1], build)

    other_kind = index_folder(tmp_path, "dense", "0" * 64, build)
    folders = [opened(number) for number in range(NUM_KEPT)]
    for second, folder in enumerate(folders):
        os.utime(folder / "done.json", (second, second))
    opened(0)  # the oldest is opened again: now the second one is
    newest = index_folder(tmp_path, "bm25", "f" * 64, build)
    assert not folders[1].exists() and f"removing the index {folders[1]}" in caplog.text
    assert all(one.exists() for one in [*folders[2:], folders[0], newest, other_kind])


def test_a_half_built_index_is_never_opened(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    def build(folder: Path) -> None:
        assert list(folder.iterdir()) == []

    with pytest.raises(KeyboardInterrupt):
        index_folder(tmp_path, "bm25", "a" * 64, fail)
    assert not list(tmp_path.glob("bm25-*"))
    assert [one.name for one in index_folder(tmp_path, "bm25", "a" * 64, build).iterdir()] == ["done.json"]
    assert not list(tmp_path.glob(".building-*"))
