"""The images of a case as pixel values: one function for training and for scoring, with a memory of bounded size.

In: a case and the folder of its files. Out: `CasePixels`, tiles of all images in order. Under `blank: [images]`
every tile is mid-grey and their number stays the same. A file that cannot be read raises; nothing stands in for it.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from medprm.cases.schema import Case, Image
from medprm.images.files import resolve_image
from medprm.images.load import load_image, read_size
from medprm.images.settings import ImageSettings
from medprm.images.tiles import count_tiles, pixel_values, split_tiles

MID_GREY = (128, 128, 128)


@dataclass(frozen=True)
class CasePixels:
    """`values` (tiles, 3, H, W) float32, None for a case without images; `num_tiles` has one number per image."""

    values: np.ndarray | None
    num_tiles: tuple[int, ...]


class PixelLoader:
    """Reads, tiles and normalises; keeps the tiles of the files used last, up to `max_cached_bytes`."""

    def __init__(
        self, root: Path, settings: ImageSettings, is_blank: bool = False, max_cached_bytes: int = 512 * 2**20
    ) -> None:
        self.root = root
        self.settings = settings
        self.is_blank = is_blank
        self.max_cached_bytes = max_cached_bytes
        self._num_cached_bytes = 0
        self._sizes: dict[str, tuple[int, int]] = {}
        self._cache: OrderedDict[tuple[str, int | None, int], list[PillowImage.Image]] = OrderedDict()

    def load(self, case: Case) -> CasePixels:
        """The tiles of all images; several images share the limit of tiles, each gets at least one."""
        images = case.all_images
        if not images:
            return CasePixels(values=None, num_tiles=())
        max_tiles = self._max_tiles(case)
        tiles = [self._tiles(image, max_tiles) for image in images]
        if self.is_blank:
            tiles = [[PillowImage.new("RGB", one.size, MID_GREY) for one in group] for group in tiles]
        values = pixel_values([one for group in tiles for one in group])
        return CasePixels(values=values, num_tiles=tuple(len(group) for group in tiles))

    def count(self, case: Case) -> tuple[int, ...]:
        """`num_tiles` of `load` from the headers of the files; no pixel is read."""
        settings = replace(self.settings, max_tiles=self._max_tiles(case))
        return tuple(self._count(image, settings) for image in case.all_images)

    def _count(self, image: Image, settings: ImageSettings) -> int:
        if settings.max_tiles == 1:
            return 1
        if image.path not in self._sizes:
            self._sizes[image.path] = read_size(resolve_image(self.root, image.path))
        return count_tiles(*self._sizes[image.path], settings)

    def _max_tiles(self, case: Case) -> int:
        return max(1, self.settings.max_tiles // max(1, len(case.all_images)))

    def _tiles(self, image: Image, max_tiles: int) -> list[PillowImage.Image]:
        key = (image.path, image.frame, max_tiles)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        picture = load_image(resolve_image(self.root, image.path), frame=image.frame)
        tiles = split_tiles(picture, self.settings.tile_size, max_tiles, self.settings.use_thumbnail)
        self._cache[key] = tiles
        self._num_cached_bytes += _num_bytes(tiles)
        while self._num_cached_bytes > self.max_cached_bytes and self._cache:
            self._num_cached_bytes -= _num_bytes(self._cache.popitem(last=False)[1])
        return tiles


def _num_bytes(tiles: list[PillowImage.Image]) -> int:
    return sum(3 * one.width * one.height for one in tiles)
