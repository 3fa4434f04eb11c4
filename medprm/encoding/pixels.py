"""The images of a case as pixel values: one function for training and for scoring, with a memory of bounded size.

In: a case and the folder of its files. Out: `CasePixels`, tiles of all images in order. Under `blank: [images]`
every tile is mid-grey and their number stays the same. A file that cannot be read raises; nothing stands in for it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medprm.cases.schema import Case, Image
from medprm.encoding.settings import TileSettings
from medprm.encoding.tile_cache import TileCache
from medprm.images.files import DEFAULT_LIMITS, check_pixel_budget, read_image_bytes, resolve_image
from medprm.images.load import read_size
from medprm.images.settings import ImageSettings
from medprm.images.tile_files import TileFile, cut_tiles
from medprm.images.tiles import count_tiles, pixel_values

MID_GREY = 128
MAX_REMEMBERED_SIZES = 1_000_000


@dataclass(frozen=True)
class CasePixels:
    """`values` (tiles, 3, H, W) float32, None for a case without images; `num_tiles` has one number per image."""

    values: np.ndarray | None
    num_tiles: tuple[int, ...]


class PixelLoader:
    """Reads, tiles and normalises; keeps tiles in memory and on disk as the settings say."""

    def __init__(
        self, root: Path, settings: ImageSettings, is_blank: bool = False, kept: TileSettings | None = None
    ) -> None:
        kept = kept or TileSettings()
        self.root = root
        self.settings = settings
        self.is_blank = is_blank
        self.max_cached_bytes = kept.memory_mib * 2**20
        self._disk = TileCache(Path(kept.folder), int(kept.max_gib * 2**30)) if kept.folder else None
        self._num_cached_bytes = 0
        self._sizes: dict[str, tuple[int, int]] = {}
        self._cache: OrderedDict[tuple[str, int | None, int], np.ndarray] = OrderedDict()

    def load(self, case: Case, cut: Sequence[TileFile] | None = None) -> CasePixels:
        """The tiles of all images; several images share the limit of tiles, each gets at least one.

        `cut`: the tiles of each, where they were cut beforehand as `settings_of_case` says.
        """
        images = case.all_images
        if not images:
            return CasePixels(values=None, num_tiles=())
        settings = settings_of_case(self.settings, case)
        tiles = [self._tiles(one, settings) for one in images] if cut is None else [one.read() for one in cut]
        if self.is_blank:
            tiles = [np.full(one.shape[:3], MID_GREY, dtype=np.uint8) for one in tiles]
        values = pixel_values([one for group in tiles for one in group])
        return CasePixels(values=values, num_tiles=tuple(len(group) for group in tiles))

    def count(self, case: Case, cut: Sequence[TileFile] | None = None) -> tuple[int, ...]:
        """`num_tiles` of `load` from the headers of the files; no pixel is read."""
        if cut is not None:
            return tuple(one.shape[0] for one in cut)
        settings = settings_of_case(self.settings, case)
        return tuple(self._count(image, settings) for image in case.all_images)

    def _count(self, image: Image, settings: ImageSettings) -> int:
        if settings.max_tiles == 1:
            return 1
        if image.path not in self._sizes:
            if len(self._sizes) >= MAX_REMEMBERED_SIZES:
                self._sizes.clear()
            path = resolve_image(self.root, image.path)
            size = read_size(path)
            check_pixel_budget(*size, path, DEFAULT_LIMITS)
            self._sizes[image.path] = size
        return count_tiles(*self._sizes[image.path], settings)

    def _tiles(self, image: Image, settings: ImageSettings) -> np.ndarray:
        """Tiles of bytes, (N, H, W) grey or (N, H, W, 3), from memory, from disk, or from the file."""
        key = (image.path, image.frame, settings.max_tiles)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        path = resolve_image(self.root, image.path)
        data = read_image_bytes(path)
        entry = self._disk.path(data, image.frame, settings) if self._disk else None
        tiles = self._disk.get(entry) if self._disk and entry else None
        if tiles is None:
            tiles = cut_tiles(data, path, image.frame, settings)
            if self._disk and entry:
                self._disk.put(entry, tiles)
        self._cache[key] = tiles
        self._num_cached_bytes += tiles.nbytes
        while self._num_cached_bytes > self.max_cached_bytes and self._cache:
            self._num_cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return tiles


def settings_of_case(settings: ImageSettings, case: Case) -> ImageSettings:
    """How each image of a case is cut."""
    return replace(settings, max_tiles=max(1, settings.max_tiles // max(1, len(case.all_images))))
