"""Dynamic tiles of InternVL: one RGB image in, square RGB tiles and their normalised pixels out.

The algorithm is InternVL2.5's `dynamic_preprocess` (internvl/train/dataset.py) step for step, Pillow's default bicubic
included: the grid with the closest aspect ratio, the whole image stretched onto it without padding, tiles in reading
order, and the whole image once more as a thumbnail where there is more than one tile. An image whose channels are
equal, as radiographs are, is cut as one channel: the same numbers for a third of the work.
Axes: N tiles, H and W pixels.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops

from medprm.images.settings import ImageSettings

IMAGENET_MEAN = np.array((0.485, 0.456, 0.406), dtype=np.float32)
IMAGENET_STD = np.array((0.229, 0.224, 0.225), dtype=np.float32)
# (256, 3): what each of the 256 values of a channel becomes.
NORMALISED = (np.arange(256, dtype=np.float32)[:, None] / np.float32(255) - IMAGENET_MEAN) / IMAGENET_STD


class Grid(NamedTuple):
    """How many tiles an image is cut into, across and down."""

    cols: int
    rows: int


@lru_cache(maxsize=64)
def candidate_grids(min_tiles: int, max_tiles: int) -> tuple[Grid, ...]:
    """Every grid of min_tiles to max_tiles tiles, smaller ones first."""
    sides = range(1, max_tiles + 1)
    grids = (Grid(cols, rows) for cols in sides for rows in sides if min_tiles <= cols * rows <= max_tiles)
    return tuple(sorted(grids, key=lambda grid: grid.cols * grid.rows))


def choose_grid(width: int, height: int, tile_size: int, min_tiles: int, max_tiles: int) -> Grid:
    """The grid closest in aspect ratio to an image of width x height pixels.

    Of equally close grids the later, larger one wins only if the image has more than half of its pixels.
    """
    assert width > 0 and height > 0 and 1 <= min_tiles <= max_tiles, (width, height, min_tiles, max_tiles)
    aspect_ratio = width / height
    best, best_difference = Grid(1, 1), float("inf")
    for grid in candidate_grids(min_tiles, max_tiles):
        difference = abs(aspect_ratio - grid.cols / grid.rows)
        is_large_enough = width * height > 0.5 * tile_size * tile_size * grid.cols * grid.rows
        if difference < best_difference or (difference == best_difference and is_large_enough):
            best, best_difference = grid, difference
    return best


def count_tiles(width: int, height: int, settings: ImageSettings) -> int:
    """How many tiles `split_tiles` makes of an image of this size, the thumbnail included; nothing is decoded."""
    grid = choose_grid(width, height, settings.tile_size, 1, settings.max_tiles)
    num_tiles = grid.cols * grid.rows
    return num_tiles + 1 if settings.use_thumbnail and num_tiles > 1 else num_tiles


def split_tiles(
    image: Image.Image, tile_size: int, max_tiles: int, use_thumbnail: bool = True, min_tiles: int = 1
) -> list[Image.Image]:
    """RGB image -> tiles of tile_size x tile_size, row by row, then the thumbnail unless the grid is 1 x 1.

    The tiles are RGB, or grey (mode L) where the three channels of the image are equal.
    """
    assert image.mode == "RGB", f"tiles are cut from RGB images, not {image.mode}: use load_image"
    cols, rows = choose_grid(image.width, image.height, tile_size, min_tiles, max_tiles)
    if _has_equal_channels(image):
        image = image.getchannel(0)
    resized = image.resize((cols * tile_size, rows * tile_size))
    corners = [(col * tile_size, row * tile_size) for row in range(rows) for col in range(cols)]
    tiles = [resized.crop((left, top, left + tile_size, top + tile_size)) for left, top in corners]
    if use_thumbnail and len(tiles) > 1:
        tiles.append(image.resize((tile_size, tile_size)))
    return tiles


def pixel_values(tiles: Sequence[Image.Image | np.ndarray]) -> np.ndarray:
    """Tiles of one size, (H, W) grey or (H, W, 3) -> (N, 3, H, W) float32, normalised by ImageNet's statistics."""
    assert len(tiles), "no tiles"
    pixels = [np.asarray(tile) for tile in tiles]
    values = np.empty((len(pixels), 3, *pixels[0].shape[:2]), dtype=np.float32)
    for number, tile in enumerate(pixels):
        for channel in range(3):
            np.take(NORMALISED[:, channel], tile[..., channel] if tile.ndim == 3 else tile, out=values[number, channel])
    return values


def _has_equal_channels(image: Image.Image) -> bool:
    red, green, blue = image.split()
    return all(ImageChops.difference(red, other).getbbox() is None for other in (green, blue))
