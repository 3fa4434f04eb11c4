"""NIfTI volumes (.nii, .nii.gz) -> axial slices as a radiologist sees them: the patient's right on the left, front up.

In: the path of a volume and the number of a slice, counted from the feet (0) to the head whatever the file's axis
order. Out: values (H, W) as the file scales them (HU where it is CT), or an RGB picture through `hounsfield`'s windows.
One slice is read at a time; of a compressed volume everything before it is inflated and thrown away. Reading is by
nibabel (MIT), the extra `sets`. Source: NIfTI-1.1 header, nifti.nimh.nih.gov.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medprm.images.files import DEFAULT_LIMITS, ImageError, check_pixel_budget
from medprm.images.hounsfield import render_windows
from medprm.images.settings import ImageLimits


@dataclass(frozen=True)
class Volume:
    """An opened volume: header read, values on disk. Without `has_orientation` nobody said which side is right."""

    path: Path
    num_slices: int
    height: int
    width: int
    spacing_mm: tuple[float, float, float]
    has_orientation: bool
    image: Any
    # For right, front and head: the axis of the file, and whether it runs the other way.
    axes: tuple[tuple[int, bool], ...]

    def slice(self, index: int) -> np.ndarray:
        """Slice `index` (0 at the feet), float32 (H, W), by the file's slope and intercept. Raises ImageError."""
        if not 0 <= index < self.num_slices:
            raise ImageError(f"{self.path}: slice {index}; expected 0 to {self.num_slices - 1}")
        (right, right_flips), (front, front_flips), (head, head_flips) = self.axes
        place: list[Any] = [slice(None)] * self.image.ndim
        place[head] = self.num_slices - 1 - index if head_flips else index
        for axis in range(3, self.image.ndim):
            place[axis] = 0
        try:
            plane = np.asarray(self.image.dataobj[tuple(place)], dtype=np.float32)
        # nibabel passes on what files, gzip and numpy raise on a damaged volume.
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ImageError(f"{self.path}: slice {index} cannot be read ({error}); copy the file again") from error
        if right > front:
            plane = plane.T
        # Now (right, front); rows run from front to back, columns from the patient's right to the left.
        plane = plane[:: 1 if right_flips else -1, :: 1 if front_flips else -1].T
        if not np.isfinite(plane).all():
            raise ImageError(f"{self.path}: slice {index} has values that are not finite; the file is damaged")
        return plane

    def picture(self, index: int, windows: Sequence[str]) -> Image.Image:
        """Slice `index` as RGB through one or three CT windows. Raises ImageError, InputError."""
        return Image.fromarray(render_windows(self.slice(index), windows)).convert("RGB")


def open_volume(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> Volume:
    """The header of a NIfTI volume, checked; no value is read. Raises ImageError."""
    image = _load(path)
    shape = tuple(int(side) for side in image.shape)
    if len(shape) < 3 or any(side != 1 for side in shape[3:]):
        raise ImageError(f"{path}: a volume of shape {shape}; expected three axes, one value a voxel")
    if image.get_data_dtype().kind not in "iuf":
        raise ImageError(f"{path}: voxels of type {image.get_data_dtype()}; expected numbers, one a voxel")
    axes = _axes(image, path)
    width, height, num_slices = (shape[axis] for axis, _flips in axes)
    check_pixel_budget(width, height, path, limits)
    if num_slices < 1:
        raise ImageError(f"{path}: the header says {num_slices} slices; the file is damaged")
    _check_length(path, image, shape)
    spacing = image.header.get_zooms()
    has_orientation = bool(image.header["qform_code"] or image.header["sform_code"])
    mm = tuple(float(spacing[axis]) for axis, _flips in axes)
    return Volume(path, num_slices, height, width, mm, has_orientation, image, axes)  # type: ignore[arg-type]


def _load(path: Path) -> Any:
    try:
        import nibabel  # heavy, and not needed without volumes
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
    except ImportError as error:
        raise ImageError(f"{path}: reading NIfTI needs nibabel; pip install -e '.[sets]'") from error
    if not path.is_file():
        raise ImageError(f"{path}: no such file; expected a NIfTI volume (.nii or .nii.gz)")
    try:
        image = nibabel.load(path)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        said = " ".join(str(error).split())
        raise ImageError(f"{path}: not a readable NIfTI volume ({said}); copy it again from its source") from error
    # Not .hdr/.img, whose header names no second file but whose loader opens one beside it; not Analyze.
    if not isinstance(image, (nibabel.Nifti1Image, nibabel.Nifti2Image)):
        raise ImageError(f"{path}: {type(image).__name__}; expected NIfTI in one file (.nii or .nii.gz)")
    return image


def _axes(image: Any, path: Path) -> tuple[tuple[int, bool], ...]:
    """For right, front and head: which axis of the file, and whether it runs towards left, back or feet."""
    from nibabel.orientations import io_orientation  # heavy, as above

    if not np.isfinite(image.affine).all():
        raise ImageError(f"{path}: the affine has values that are not finite; the file is damaged")
    try:
        orientation = io_orientation(image.affine)[:3]
    except np.linalg.LinAlgError as error:
        raise ImageError(f"{path}: the affine does not say how the axes lie ({error}); the file is damaged") from error
    if sorted(orientation[:, 0].tolist()) != [0, 1, 2]:
        raise ImageError(f"{path}: the affine does not say how the axes lie; the file is damaged")
    found = {int(world): (axis, direction < 0) for axis, (world, direction) in enumerate(orientation)}
    return found[0], found[1], found[2]


def _check_length(path: Path, image: Any, shape: tuple[int, ...]) -> None:
    """An uncompressed file must hold what its header announces."""
    if path.suffix == ".gz":
        return
    needed = int(np.prod(shape, dtype=object)) * image.get_data_dtype().itemsize + int(image.dataobj.offset)
    if path.stat().st_size < needed:
        raise ImageError(
            f"{path}: {path.stat().st_size:,} bytes, but the header announces {needed:,}; the file is cut off, copy it "
            "again"
        )
