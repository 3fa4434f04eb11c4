"""Tiles that were cut in another process are those that are cut here."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprm.images.files import ImageError
from medprm.images.settings import ImageSettings
from medprm.images.tile_files import cut_into_file, cut_tiles, cutting, tile_file

SETTINGS = ImageSettings(tile_size=32, max_tiles=6)


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_come_back_as_they_were_cut(tmp_path: Path, channels: int) -> None:
    source, target = tmp_path / "film.png", tmp_path / "tiles"
    values = np.random.default_rng(0).integers(0, 256, (90, 150, channels), dtype=np.uint8)
    Image.fromarray(values.squeeze()).save(source)
    found = tile_file(target, cut_into_file(cutting(source, "images[0]", target, SETTINGS)), SETTINGS).read()
    np.testing.assert_array_equal(found, cut_tiles(source.read_bytes(), source, None, SETTINGS))
    assert found.ndim == 2 + channels // 3 + 1


def test_what_no_cutting_gives_is_not_read(tmp_path: Path) -> None:
    for shape in ([8, 32, 32], [0, 32, 32], [1, 64, 32], [1, 32, 32, 4], [1, 32], [10**9, 32, 32]):
        with pytest.raises(AssertionError):
            tile_file(tmp_path, shape, SETTINGS)
    (tmp_path / "short").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="reshape"):
        tile_file(tmp_path / "short", [1, 32, 32], SETTINGS).read()


def test_errors_name_the_file_as_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "spooled").write_bytes(b"no image at all")
    with pytest.raises(ImageError, match=r"^images\[0\]: "):
        cut_into_file(cutting(tmp_path / "spooled", "images[0]", tmp_path / "tiles", SETTINGS))
