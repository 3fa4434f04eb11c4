"""Images in an HDF5 file (PatchCamelyon): one dataset of N pictures -> one picture at a time.

In: the path of the file and the name of its dataset, uint8 (N, H, W, 3), (N, H, W, 1) or (N, H, W). Out: RGB pictures,
or any other dataset as numbers. Refused: links to other files, virtual and external storage, user-defined filters (HDF5
would load a plugin for them), chunks larger than the limit. Reading is by h5py (BSD), the extra `sets`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medprm.images.files import DEFAULT_LIMITS, ImageError, check_pixel_budget
from medprm.images.settings import ImageLimits

# Built into HDF5: gzip, shuffle, Fletcher's checksum, szip, n-bit, scale-offset. 32000 is h5py's own LZF.
_BUILT_IN_FILTERS = frozenset((1, 2, 3, 4, 5, 6, 32000))


class ImageArray:
    """N pictures of an open file, read when asked for."""

    def __init__(self, dataset: Any, where: str) -> None:
        self._dataset = dataset
        self._where = where

    def __len__(self) -> int:
        return int(self._dataset.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, the same for all."""
        return int(self._dataset.shape[2]), int(self._dataset.shape[1])

    def pixels(self, index: int) -> np.ndarray:
        """Picture `index`, counted from 0, as stored: uint8 (H, W) or (H, W, 3). Raises ImageError."""
        if not 0 <= index < len(self):
            raise ImageError(f"{self._where}: picture {index}; expected 0 to {len(self) - 1}")
        pixels = _read(self._dataset, index, self._where)
        return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels

    def picture(self, index: int) -> Image.Image:
        """The same as RGB."""
        return Image.fromarray(self.pixels(index)).convert("RGB")


@contextmanager
def open_image_array(path: Path, name: str = "x", limits: ImageLimits = DEFAULT_LIMITS) -> Iterator[ImageArray]:
    """The dataset `name` as pictures, while the block lasts. Raises ImageError."""
    with _open_dataset(path, name, limits) as dataset:
        shape = dataset.shape
        if dataset.dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))):
            raise ImageError(
                f"{path}: dataset {name!r} is {dataset.dtype} of shape {shape}; expected uint8, (N, H, W) or "
                "(N, H, W, 3)"
            )
        check_pixel_budget(shape[2], shape[1], path, limits)
        yield ImageArray(dataset, f"{path}: dataset {name!r}")


def read_numbers(path: Path, name: str = "y", limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """The whole dataset `name`, such as PatchCamelyon's labels (N, 1, 1, 1), without axes of length 1 but the first."""
    with _open_dataset(path, name, limits) as dataset:
        where = f"{path}: dataset {name!r}"
        if dataset.dtype.kind not in "iufb" or not dataset.shape:
            raise ImageError(f"{where} is {dataset.dtype} of shape {dataset.shape}; expected an array of numbers")
        if dataset.size * dataset.dtype.itemsize > limits.max_inflated_bytes:
            raise ImageError(
                f"{where} has {dataset.size:,} values, more than fit into {limits.max_inflated_bytes:,} bytes"
            )
        values = _read(dataset, (), where)
    return values.reshape(len(values), *(side for side in values.shape[1:] if side != 1))


@contextmanager
def _open_dataset(path: Path, name: str, limits: ImageLimits) -> Iterator[Any]:
    try:
        import h5py  # heavy, and not needed without such files
    except ImportError as error:
        raise ImageError(f"{path}: reading HDF5 needs h5py; pip install -e '.[sets]'") from error
    if not path.is_file():
        raise ImageError(f"{path}: no such file; expected an HDF5 file, unpacked if it came as .gz")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ImageError(f"{path}: not a readable HDF5 file ({error}); unpack it if it came as .gz") from error
    with file:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or not isinstance(dataset := file[name], h5py.Dataset):
            raise ImageError(f"{path}: no dataset {name!r} in it; it holds {', '.join(sorted(file)) or 'nothing'}")
        _check_storage(dataset, f"{path}: dataset {name!r}", limits)
        yield dataset


def _check_storage(dataset: Any, where: str, limits: ImageLimits) -> None:
    if dataset.external or dataset.is_virtual:
        raise ImageError(f"{where} keeps its values in other files; copy them into this one")
    plist = dataset.id.get_create_plist()
    filters = {int(plist.get_filter(number)[0]) for number in range(plist.get_nfilters())}
    if filters - _BUILT_IN_FILTERS:
        raise ImageError(f"{where} needs filter {min(filters - _BUILT_IN_FILTERS)}; save it again with gzip")
    num_bytes = int(np.prod(dataset.chunks or (1,), dtype=object)) * dataset.dtype.itemsize
    if num_bytes > limits.max_inflated_bytes:
        raise ImageError(f"{where} has chunks of {num_bytes:,} bytes, more than {limits.max_inflated_bytes:,}")


def _read(dataset: Any, place: Any, where: str) -> np.ndarray:
    try:
        return np.asarray(dataset[place])
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageError(f"{where} cannot be read ({error}); the file is damaged, copy it again") from error
