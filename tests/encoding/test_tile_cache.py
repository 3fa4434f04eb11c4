"""Tiles on disk: the same pixels, found by content and by how they are cut, made anew where damaged."""

import logging
import multiprocessing
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from tiny import IMAGE_SETTINGS, full_record, make_cases

from medprm.encoding import pixels
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.settings import TileSettings
from medprm.encoding.tile_cache import TileCache, rendering
from medprm.errors import InputError


def kept(folder: Path, **changes: float) -> TileSettings:
    return TileSettings(folder=str(folder), memory_mib=0, **changes)  # type: ignore[arg-type]


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded, in order."""
    seen: list[Path] = []
    original = pixels.cut_tiles

    def count(data: bytes, path: Path, *how: Any, **named: Any) -> object:
        seen.append(path)
        return original(data, path, *how, **named)

    monkeypatch.setattr(pixels, "cut_tiles", count)
    return seen


def test_a_second_process_reads_the_same_pixels_and_decodes_nothing(tmp_path: Path, decoded: list[Path]) -> None:
    cases = [one.case for one in make_cases(tmp_path, 4)]
    plain = [PixelLoader(tmp_path, IMAGE_SETTINGS).load(case) for case in cases]
    decoded.clear()
    for _ in range(2):
        loader = PixelLoader(tmp_path, IMAGE_SETTINGS, kept=kept(tmp_path / "tiles"))
        for case, expected in zip(cases, plain, strict=True):
            found = loader.load(case)
            assert found.num_tiles == expected.num_tiles
            np.testing.assert_array_equal(found.values, expected.values)
    assert len(decoded) == 4 and len(entries(tmp_path / "tiles")) == 4


def test_content_and_cut_decide_not_the_name(tmp_path: Path, decoded: list[Path]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 96, 3), dtype=np.uint8)
    PillowImage.fromarray(noise).save(tmp_path / "case_1.png")
    case, settings = full_record().case(), kept(tmp_path / "tiles")
    PixelLoader(tmp_path, IMAGE_SETTINGS, kept=settings).load(case)
    (tmp_path / "case_1.png").rename(tmp_path / "other.png")
    PixelLoader(tmp_path, IMAGE_SETTINGS, kept=settings).load(full_record(images=[{"path": "other.png"}]).case())
    assert len(decoded) == 1, "a renamed file is found"
    PixelLoader(tmp_path, replace(IMAGE_SETTINGS, max_tiles=2), kept=settings).load(
        full_record(images=[{"path": "other.png"}]).case()
    )
    assert len(decoded) == 2, "another cut is another entry"
    PillowImage.fromarray(noise[::-1]).save(tmp_path / "other.png")
    changed = PixelLoader(tmp_path, IMAGE_SETTINGS, kept=settings).load(
        full_record(images=[{"path": "other.png"}]).case()
    )
    assert len(decoded) == 3, "a changed file is read anew"
    expected = PixelLoader(tmp_path, IMAGE_SETTINGS).load(full_record(images=[{"path": "other.png"}]).case())
    np.testing.assert_array_equal(changed.values, expected.values)


def test_a_damaged_entry_is_made_anew_and_said(
    tmp_path: Path, decoded: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    case = make_cases(tmp_path, 1)[0].case
    settings = kept(tmp_path / "tiles")
    expected = PixelLoader(tmp_path, IMAGE_SETTINGS, kept=settings).load(case)
    (entry,) = entries(tmp_path / "tiles")
    whole = entry.read_bytes()
    for damaged in (b"", whole[:40], whole[:-7], b"\x80\x04pickle"):
        entry.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = PixelLoader(tmp_path, IMAGE_SETTINGS, kept=settings).load(case)
        np.testing.assert_array_equal(found.values, expected.values)
        assert "is damaged" in caplog.text and entry.read_bytes() == whole
    assert len(decoded) == 5


@pytest.mark.parametrize("package", ["pillow", "pydicom", "pylibjpeg-openjpeg", "python-gdcm"])
def test_another_version_of_a_decoder_is_another_entry(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = metadata.version
    cache = TileCache(tmp_path, 2**20)
    found = set()
    for version in (None, "99.1", "99.2"):
        monkeypatch.setattr(
            metadata, "version", lambda name, new=version: (new if name == package else None) or installed(name)
        )
        rendering.cache_clear()
        found.add(cache.path(b"a film", None, IMAGE_SETTINGS))
    monkeypatch.undo()
    rendering.cache_clear()
    assert len(found) == 3


def test_a_full_folder_takes_no_more_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = [one.case for one in make_cases(tmp_path, 6)]
    size = 3 * IMAGE_SETTINGS.tile_size**2
    settings = kept(tmp_path / "tiles", max_gib=2.5 * size / 2**30)
    with caplog.at_level(logging.WARNING):
        loader = PixelLoader(tmp_path, IMAGE_SETTINGS, kept=settings)
        for case in cases:
            loader.load(case)
    assert 1 <= len(entries(tmp_path / "tiles")) <= 2
    assert caplog.text.count("is full") == 1
    again = TileCache(tmp_path / "tiles", int(2.5 * size))
    again.put(tmp_path / "tiles" / "ff" / "ff.npy", np.zeros((2, 32, 32, 3), dtype=np.uint8))
    assert not (tmp_path / "tiles" / "ff").exists(), "what other processes have put there counts"


def _load_all(root: Path, folder: Path) -> None:
    loader = PixelLoader(root, IMAGE_SETTINGS, kept=kept(folder))
    for number in range(6):
        loader.load(full_record(images=[{"path": f"{number}.png"}]).case())


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    cases = [one.case for one in make_cases(tmp_path, 6)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_load_all, args=(tmp_path, tmp_path / "tiles")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(entries(tmp_path / "tiles")) == 6 and not list((tmp_path / "tiles").rglob("*.tmp"))
    for case in cases:
        found = PixelLoader(tmp_path, IMAGE_SETTINGS, kept=kept(tmp_path / "tiles")).load(case)
        np.testing.assert_array_equal(found.values, PixelLoader(tmp_path, IMAGE_SETTINGS).load(case).values)


def test_a_limit_without_a_folder_is_refused() -> None:
    with pytest.raises(InputError, match=r"tiles.max_gib is 3.0 but tiles.folder is null"):
        TileSettings(max_gib=3.0)
    with pytest.raises(InputError, match=r"tiles.max_gib is 0"):
        TileSettings(folder="x", max_gib=0)
