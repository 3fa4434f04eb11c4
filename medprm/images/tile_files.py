"""Tiles of a file in files of their own: bytes of a stated shape, which are read without a decoder.

In: an image file and how it is cut. Out: `TileFile`. `cut_into_file` is for a worker process (isolation.py): what a
process that a hostile file has taken over can hand back is wrong pixels, and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medprm.images.load import decode_image
from medprm.images.settings import ImageSettings
from medprm.images.tiles import split_tiles


class TileFile(NamedTuple):
    """The tiles of one image: `shape` is (N, H, W) grey or (N, H, W, 3), of bytes."""

    path: Path
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        size = int(np.prod(self.shape))
        return np.fromfile(self.path, dtype=np.uint8, count=size).reshape(self.shape)


def cut_tiles(data: bytes, path: Path, frame: int | None, settings: ImageSettings) -> np.ndarray:
    """The tiles (N, H, W) or (N, H, W, 3) of a file, decoded here; `path` names it in errors."""
    picture = decode_image(data, path, frame, windows=settings.windows).image
    tiles = split_tiles(picture, settings.tile_size, settings.max_tiles, settings.use_thumbnail)
    return np.stack([np.asarray(one) for one in tiles])


def cutting(source: Path, shown: str, target: Path, settings: ImageSettings) -> dict[str, Any]:
    """What `cut_into_file` takes; `shown` names the file in errors."""
    return {"source": str(source), "shown": shown, "target": str(target), "settings": asdict(settings)}


def cut_into_file(value: Mapping[str, Any]) -> list[int]:
    """In a worker: cut `source`, write the tiles to `target`, give their shape. Raises ImageError."""
    given = value["settings"]
    settings = ImageSettings(**{**given, "windows": tuple(given["windows"])})
    tiles = cut_tiles(Path(value["source"]).read_bytes(), Path(value["shown"]), None, settings)
    tiles.tofile(value["target"])
    return list(tiles.shape)


def tile_file(target: Path, shape: Sequence[int], settings: ImageSettings) -> TileFile:
    """What a worker says that it wrote; a shape that no cutting gives is its error, and ours."""
    num, *side = shape
    size = settings.tile_size
    assert 1 <= num <= settings.max_tiles + 1 and side in ([size, size], [size, size, 3]), shape
    return TileFile(target, tuple(shape))
