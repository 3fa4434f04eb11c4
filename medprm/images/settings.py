"""Settings of the images room: how an image is cut into tiles, and how much of a file may be opened.

Light on purpose: no import beyond the standard library and `ct_windows`, so that `--help` stays fast.
"""

from dataclasses import dataclass

from medprm.errors import InputError
from medprm.images.ct_windows import check_windows


@dataclass(frozen=True)
class ImageSettings:
    """How an image becomes the tiles that the vision tower reads (InternVL2.5, dynamic resolution)."""

    # Side of one square tile, in pixels; the vision tower fixes it (448 for InternVL2.5).
    tile_size: int = 448
    # Most tiles one image may be cut into, the thumbnail not counted.
    max_tiles: int = 12
    # Append the whole image at tile size wherever it was cut into more than one tile.
    use_thumbnail: bool = True
    # CT windows that a slice is read through: none (the file's own), one (grey) or three (red, green, blue).
    windows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tile_size < 1:
            raise InputError(f"tile_size is {self.tile_size}; expected at least 1 pixel, 448 for InternVL2.5")
        if self.max_tiles < 1:
            raise InputError(f"max_tiles is {self.max_tiles}; expected at least 1, 12 in InternVL2.5's examples")
        check_windows(self.windows)


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before it is opened: a small hostile file can ask for gigabytes of memory."""

    # Largest file that is read, in bytes.
    max_file_bytes: int = 256 * 2**20
    # Largest image that is decoded, in pixels of one frame; a mammogram has 20 million.
    max_pixels: int = 64 * 10**6
    # Largest content of a deflated DICOM file after inflation, in bytes.
    max_inflated_bytes: int = 256 * 2**20
    # Deepest sequence within sequences of a DICOM file; structured reports go to about 15.
    max_nesting: int = 64
