"""Images of a case: the same tiles each time, blanked to grey without a change of number, never replaced."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from studies import write_file
from tiny import IMAGE_SETTINGS, TILE_SIZE, full_record, make_cases

from medprm.encoding.pixels import PixelLoader
from medprm.encoding.settings import EncodingSettings, TileSettings
from medprm.errors import InputError


def test_a_memory_that_holds_one_image_gives_the_same_pixels(tmp_path: Path) -> None:
    cases = [one.case for one in make_cases(tmp_path, 4)]
    large = PixelLoader(tmp_path, IMAGE_SETTINGS)
    small = PixelLoader(tmp_path, IMAGE_SETTINGS)
    small.max_cached_bytes = 3 * 3 * TILE_SIZE**2
    for case in [*cases, *cases[::-1], *cases]:
        one, two = large.load(case), small.load(case)
        assert one.num_tiles == two.num_tiles
        np.testing.assert_array_equal(one.values, two.values)
        assert small._num_cached_bytes <= small.max_cached_bytes
    assert len(large._cache) == 4


def test_blank_images_are_one_grey_and_keep_their_number_of_tiles(tmp_path: Path) -> None:
    for case, _ in make_cases(tmp_path, 2):
        seen = PixelLoader(tmp_path, IMAGE_SETTINGS).load(case)
        blank = PixelLoader(tmp_path, IMAGE_SETTINGS, is_blank=True).load(case)
        assert seen.num_tiles == blank.num_tiles
        assert seen.values is not None
        assert blank.values is not None
        assert blank.values.shape == seen.values.shape
        assert np.ptp(blank.values, axis=(0, 2, 3)).max() == 0
        assert abs(blank.values).max() < 0.5, "mid-grey lies near the mean of ImageNet"


def test_several_images_share_the_limit_of_tiles(tmp_path: Path) -> None:
    wide = np.zeros((TILE_SIZE, 4 * TILE_SIZE, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        PillowImage.fromarray(wide).save(tmp_path / name)
    loader = PixelLoader(tmp_path, IMAGE_SETTINGS)
    assert loader.load(full_record(images=[{"path": "a.png"}]).case()).num_tiles == (5,)
    both = loader.load(full_record(images=[{"path": "a.png"}, {"path": "b.png"}]).case())
    assert both.num_tiles == (3, 3)
    assert both.values is not None
    assert len(both.values) == 6


def test_a_case_without_images_has_no_pixels(tmp_path: Path) -> None:
    pixels = PixelLoader(tmp_path, IMAGE_SETTINGS).load(full_record(images=[]).case())
    assert pixels.values is None
    assert pixels.num_tiles == ()


def test_a_missing_or_broken_file_raises(tmp_path: Path) -> None:
    loader = PixelLoader(tmp_path, IMAGE_SETTINGS)
    with pytest.raises(InputError, match=r"case_1\.png"):
        loader.load(full_record().case())
    (tmp_path / "case_1.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"case_1\.png"):
        loader.load(full_record().case())


def test_ct_windows_are_what_is_read_and_kept_apart_on_disk(tmp_path: Path) -> None:
    write_file(tmp_path / "slice.dcm", Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    case = full_record(images=[{"path": "slice.dcm"}]).case()
    kept = TileSettings(folder=str(tmp_path / "kept"))
    own = PixelLoader(tmp_path, IMAGE_SETTINGS, kept=kept).load(case).values
    through = replace(IMAGE_SETTINGS, windows=("lung", "mediastinum", "bone"))
    colours = PixelLoader(tmp_path, through, kept=kept).load(case).values
    assert own is not None and colours is not None
    assert not np.array_equal(own, colours)
    np.testing.assert_array_equal(colours, PixelLoader(tmp_path, through).load(case).values)
    with pytest.raises(InputError, match="window 'lungs'"):
        EncodingSettings(ct_windows=["lungs"])
    assert EncodingSettings(ct_windows=["lung"]).ct_windows == ["lung"]
