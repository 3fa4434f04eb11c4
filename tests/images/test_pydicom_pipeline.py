"""Every DICOM file that comes with pydicom, and every real one: our pixels are those of pydicom's own functions.

The other side is pydicom alone: `pixel_array`, `apply_modality_lut`, `apply_voi` or `apply_windowing`, inversion of
MONOCHROME1, `apply_color_lut`. Where pydicom has no pixels we must refuse; where we refuse and pydicom does not, the
file is listed here with the reason.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing

from medprm.images.dicom import load_dicom
from medprm.images.files import ImageError

pytestmark = pytest.mark.filterwarnings("ignore")

# File name -> why it is refused although pydicom gives pixels. None is known.
REFUSED_WITH_PIXELS: dict[str, str] = {}
MAX_FRAMES = 3


def packaged() -> list[Path]:
    root = Path(pydicom.data.__file__).parent
    return sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def real(real_data: Path) -> list[Path]:
    return sorted(path for folder in real_data.glob("dicom_*") for path in folder.rglob("*") if path.is_file())


def pydicom_frames(path: Path) -> Iterator[tuple[int | None, np.ndarray]]:
    """Frames as pydicom shows them, float shares of white in [0, 1] or RGB in [0, 255]; NaN where it is padding."""
    dataset = dcmread(path, force=True)
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    for frame in range(min(num_frames, MAX_FRAMES)):
        stored = pixel_array(dataset, index=frame)
        yield (frame if num_frames > 1 else None), _shown(stored, dataset, frame)


def _shown(stored: np.ndarray, dataset: Dataset, frame: int) -> np.ndarray:
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return _to_255(apply_color_lut(stored, dataset))
    if stored.ndim == 3:
        return np.rint(stored / (2.0**dataset.BitsStored - 1) * 255)
    for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
        for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            items = dataset.get(groups) or []
            item = items[frame if groups.startswith("Per") and frame < len(items) else 0] if items else Dataset()
            if name in item:
                for element in item[name].value[0]:
                    dataset[element.tag] = element
    padding = _padding(stored, dataset)
    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        bits = dataset.VOILUTSequence[0].LUTDescriptor[2]
        share = apply_voi(np.rint(values).astype(np.int64), dataset) / (2.0**bits - 1)
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        lowest, highest = _range(dataset)
        share = (apply_windowing(values, dataset) - lowest) / (highest - lowest)
    else:
        valid = values[~padding].astype(np.float64)
        share = (values - valid.min()) / ((valid.max() - valid.min()) or 1.0)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1.0 - share
    shown = np.rint(np.clip(share.astype(np.float64), 0, 1) * 255)
    shown[padding] = 0
    return shown


def _range(dataset: Dataset) -> tuple[float, float]:
    """What pydicom's windowing calls y_min and y_max: the range of the values that the bits can hold."""
    if dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    bits = dataset.BitsStored
    lowest, highest = (
        (0, 2**bits - 1) if dataset.PixelRepresentation == 0 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return float(lowest), float(highest)
    return float(lowest * slope + intercept), float(highest * slope + intercept)


def _padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    value = dataset.get("PixelPaddingValue")
    return stored == value if isinstance(value, int) else np.zeros(stored.shape, dtype=bool)


def _to_255(rgb: np.ndarray) -> np.ndarray:
    return np.rint(rgb / (2.0 ** (8 * rgb.dtype.itemsize) - 1) * 255)


def compare(paths: list[Path]) -> dict[str, Any]:
    """Compares all, and returns what was found; every difference is an assertion."""
    found: dict[str, Any] = {"equal": 0, "frames": 0, "both refuse": 0, "listed": {}}
    for path in paths:
        try:
            frames = list(pydicom_frames(path))
        # pydicom raises some twenty types on a file that it cannot decode.
        except Exception:
            with pytest.raises(ImageError, match=re.escape(str(path))):
                load_dicom(path)
            found["both refuse"] += 1
            continue
        try:
            ours = [load_dicom(path, frame) for frame, _shown in frames]
        except ImageError as error:
            assert str(path) in str(error)
            found["listed"][path.name] = str(error)
            continue
        for (_frame, expected), image in zip(frames, ours, strict=True):
            assert image.pixels.shape == expected.shape, path
            difference = np.abs(image.pixels - expected)
            assert difference.max() == 0, (str(path), difference.max(), (difference > 0).mean())
            found["frames"] += 1
        found["equal"] += 1
    return found


def check(paths: list[Path], least_equal: int) -> None:
    found = compare(paths)
    print({name: value for name, value in found.items() if name != "listed"}, found["listed"])
    assert found["equal"] >= least_equal
    assert set(found["listed"]) == {path.name for path in paths} & set(REFUSED_WITH_PIXELS)
    for name, said in found["listed"].items():
        assert re.search(REFUSED_WITH_PIXELS[name], said), (name, said)


def test_every_file_of_pydicom() -> None:
    check(packaged(), least_equal=100)


def test_every_real_dicom_file(real_data: Path) -> None:
    check(real(real_data), least_equal=26)
