"""Tiles: the grid rule stated a second time, and pixels equal to transformers' port of the original."""

import numpy as np
import pytest
from PIL import Image

from medprm.errors import InputError
from medprm.images.settings import ImageSettings
from medprm.images.tiles import IMAGENET_MEAN, IMAGENET_STD, choose_grid, count_tiles, pixel_values, split_tiles


def random_image(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def grid_by_rule(width: int, height: int, tile_size: int, min_tiles: int, max_tiles: int) -> tuple[int, int]:
    """The original's rule, said as: of the closest grids take the first, or the last that the image can fill half."""
    grids = {
        (i, j)
        for n in range(min_tiles, max_tiles + 1)
        for i in range(1, n + 1)
        for j in range(1, n + 1)
        if min_tiles <= i * j <= max_tiles
    }
    by_area = sorted(grids, key=lambda grid: grid[0] * grid[1])
    distances = [abs(width / height - i / j) for i, j in by_area]
    closest = [grid for grid, distance in zip(by_area, distances, strict=True) if distance == min(distances)]
    filled = [(i, j) for i, j in closest[1:] if width * height > 0.5 * tile_size**2 * i * j]
    return filled[-1] if filled else closest[0]


@pytest.mark.parametrize("max_tiles", [1, 2, 6, 12, 24])
def test_grid_follows_the_rule_at_many_sizes(max_tiles: int) -> None:
    rng = np.random.default_rng(max_tiles)
    sizes = [*rng.integers(1, 4000, (600, 2)).tolist(), *(28 * rng.integers(1, 80, (300, 2))).tolist()]
    sizes += [[side, side] for side in (1, 447, 448, 633, 634, 635, 896, 1344, 3000)]
    for width, height in sizes:
        for min_tiles in {1, max_tiles // 2 or 1}:
            expected = grid_by_rule(width, height, 448, min_tiles, max_tiles)
            assert choose_grid(width, height, 448, min_tiles, max_tiles) == expected, (width, height)


def test_grid_known_values() -> None:
    assert choose_grid(448, 448, 448, 1, 12) == (1, 1)
    # 2 x 2 needs more than half of its pixels: 633^2 is below, 634^2 above 0.5 * 896^2.
    assert choose_grid(633, 633, 448, 1, 12) == (1, 1)
    assert choose_grid(634, 634, 448, 1, 12) == (2, 2)
    assert choose_grid(3000, 3000, 448, 1, 12) == (3, 3)
    assert choose_grid(1600, 800, 448, 1, 12) == (4, 2)
    assert choose_grid(100, 5000, 448, 1, 6) == (1, 6)


@pytest.mark.parametrize("use_thumbnail", [True, False])
def test_count_tiles_is_what_split_makes(use_thumbnail: bool) -> None:
    rng = np.random.default_rng(3)
    for width, height in rng.integers(1, 300, (40, 2)).tolist():
        settings = ImageSettings(tile_size=32, max_tiles=7, use_thumbnail=use_thumbnail)
        tiles = split_tiles(random_image(width, height), 32, 7, use_thumbnail)
        assert count_tiles(width, height, settings) == len(tiles)
        assert all(tile.size == (32, 32) and tile.mode == "RGB" for tile in tiles)


def test_tiles_reassemble_to_the_resized_image_in_reading_order() -> None:
    image = random_image(150, 100)
    tiles = split_tiles(image, 32, 6)
    assert len(tiles) == 7
    resized = np.asarray(image.resize((96, 64)))
    rows = [np.concatenate([np.asarray(tile) for tile in tiles[3 * row : 3 * row + 3]], axis=1) for row in range(2)]
    assert np.array_equal(np.concatenate(rows), resized)
    assert np.array_equal(np.asarray(tiles[-1]), np.asarray(image.resize((32, 32))))


def test_grey_images_are_cut_as_one_channel_with_the_same_numbers() -> None:
    for width, height in [(90, 60), (32, 32), (31, 200), (299, 300)]:
        grey = random_image(width, height).getchannel(1)
        tiles = split_tiles(grey.convert("RGB"), 32, 6)
        assert {tile.mode for tile in tiles} == {"L"}
        image = grey.convert("RGB")
        cols, rows = choose_grid(width, height, 32, 1, 6)
        resized = image.resize((cols * 32, rows * 32))
        whole = [resized.crop((32 * c, 32 * r, 32 * c + 32, 32 * r + 32)) for r in range(rows) for c in range(cols)]
        whole += [image.resize((32, 32))] if cols * rows > 1 else []
        assert np.array_equal(pixel_values(tiles), pixel_values(whole))
    almost = np.zeros((32, 32, 3), dtype=np.uint8)
    almost[31, 31, 2] = 1
    assert split_tiles(Image.fromarray(almost), 32, 6)[0].mode == "RGB", "one value of one channel is a colour"


def test_values_are_those_of_the_formula() -> None:
    """Not one unit in the last place: the table holds what was computed pixel by pixel."""
    tiles = split_tiles(random_image(90, 60), 32, 6)
    pixels = np.stack([np.asarray(tile, dtype=np.float32) for tile in tiles]) / np.float32(255)
    assert np.array_equal(pixel_values(tiles), ((pixels - IMAGENET_MEAN) / IMAGENET_STD).transpose(0, 3, 1, 2))


def test_pixel_values_undo_to_the_tiles() -> None:
    tiles = split_tiles(random_image(90, 60), 32, 6)
    values = pixel_values(tiles)
    assert values.shape == (len(tiles), 3, 32, 32) and values.dtype == np.float32 and values.flags.c_contiguous
    levels = (values.transpose(0, 2, 3, 1) * IMAGENET_STD + IMAGENET_MEAN) * 255
    assert np.array_equal(np.rint(levels), np.stack([np.asarray(tile) for tile in tiles]))


@pytest.mark.parametrize("max_tiles", [1, 6, 12])
def test_pixels_equal_transformers(max_tiles: int) -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    processor = GotOcr2ImageProcessorPil(
        size={"height": 56, "width": 56},
        crop_to_patches=True,
        min_patches=1,
        max_patches=max_tiles,
        image_mean=IMAGENET_MEAN.tolist(),
        image_std=IMAGENET_STD.tolist(),
    )
    sizes = [(56, 56), (1, 9), (80, 80), (79, 79), (640, 480), (200, 31), (33, 350), (97, 64), (299, 300)]
    for width, height in sizes:
        image = random_image(width, height, seed=width)
        expected = np.asarray(processor(images=[image], return_tensors="np")["pixel_values"]).reshape(-1, 3, 56, 56)
        values = pixel_values(split_tiles(image, 56, max_tiles))
        assert values.shape == expected.shape, (width, height)
        # Measured 0.0; one unit in the last place is 2.4e-7, for a platform that rounds otherwise.
        assert np.abs(values - expected).max() <= 2.4e-7, (width, height)


def test_settings_refuse_what_makes_no_tile() -> None:
    with pytest.raises(InputError, match="tile_size is 0"):
        ImageSettings(tile_size=0)
    with pytest.raises(InputError, match="max_tiles is 0"):
        ImageSettings(max_tiles=0)
