"""Tiles on disk, found by the content of an image file and how it was cut: what was decoded once is not decoded again.

In: the bytes of a file, the frame, how it is cut. Out: its tiles as arrays of bytes. A renamed or moved file is found
again, a changed one is not; other decoding packages, or other versions of them, make another entry. Several processes
may share a folder. A damaged entry is made anew, and said.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from medprm.cases.atomic import replaced_file
from medprm.images.settings import ImageSettings

logger = logging.getLogger(__name__)

# Whatever decodes a file; one that is installed later decodes other files, or the same ones to other values.
DECODERS = (
    *("pillow", "pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm"),
    "pyjpegls",
)


@cache
def rendering() -> str:
    """Name of how a file becomes tiles; a change of what `images/` makes of a file needs another number."""
    return " ".join(["tiles-1", *(f"{name}-{_version(name)}" for name in DECODERS)])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


class TileCache:
    """A folder of tiles; nothing is added beyond `max_bytes`, as far as this process knows of it."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.max_bytes = max_bytes
        self._num_bytes = sum(one.stat().st_size for one in _entries(folder))
        self._is_full = False

    def path(self, data: bytes, frame: int | None, settings: ImageSettings) -> Path:
        """Where the tiles of these bytes are, or would be."""
        digest = hashlib.sha256(data)
        how = [rendering(), frame, settings.tile_size, settings.max_tiles, settings.use_thumbnail]
        if settings.windows:  # else as before there were any, so that older folders stay of use
            how.append(list(settings.windows))
        digest.update(json.dumps(how).encode())
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}.npy"

    def get(self, path: Path) -> np.ndarray | None:
        """Tiles (N, H, W) grey or (N, H, W, 3), of bytes; None where there are none."""
        try:
            tiles = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            return None
        except (ValueError, EOFError, OSError) as error:
            logger.warning("%s is damaged (%s) and made anew", path, error)
            return None
        return tiles

    def put(self, path: Path, tiles: np.ndarray) -> None:
        """Keep them, unless the folder is full."""
        if self._num_bytes + tiles.nbytes > self.max_bytes:
            if not self._is_full:
                logger.warning("%s is full (%.1f GiB): further tiles are not kept", self.folder, self.max_bytes / 2**30)
            self._is_full = True
            return
        with replaced_file(path) as draft, open(draft, "wb") as file:
            np.save(file, tiles, allow_pickle=False)
        self._num_bytes += tiles.nbytes


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    for part in os.scandir(folder):
        if part.is_dir():
            yield from (one for one in os.scandir(part.path) if one.name.endswith(".npy"))
