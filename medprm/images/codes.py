"""Grey values for a viewer that windows them itself: 16-bit codes, and what a code means.

In: a DICOM, PNG or JPEG file and a frame. Out: `ViewerImage`: codes uint16 (H, W), or RGB uint8 (H, W, 3) for colour.
value = code * slope + intercept, in the units of the modality (HU of a CT). Integers that span less than 65,535 are
kept exactly; wider ranges and floats are rounded to 65,535 levels, which `is_exact` says. Rendered by the window given
here, a frame looks as `medprm.images.dicom` shows it. Source: DICOM PS3.3 C.7.6.1.1.1, C.7.6.2.1.1, C.11.1, C.11.2.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset

from medprm.images.dicom import GREY, decode_stored
from medprm.images.files import DEFAULT_LIMITS, read_image_bytes, sniff_format
from medprm.images.grey import apply_modality, apply_voi, functional_group, padding_mask
from medprm.images.load import decode_image
from medprm.images.settings import ImageLimits

PADDING_CODE = 65535  # padding is black under every window, also inverted
MOST_LEVELS = 65535  # codes 0 ... 65534
OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}


@dataclass(frozen=True)
class Window:
    """A VOI window in modality units; `function` is LINEAR, LINEAR_EXACT or SIGMOID."""

    center: float
    width: float
    function: str


@dataclass(frozen=True)
class ViewerImage:
    """What a viewer needs of one frame. `lut` (65536,) uint8 stands for the file's window where that is a table."""

    pixels: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    window: Window = Window(127.5, 255.0, "LINEAR_EXACT")
    lut: np.ndarray | None = None
    is_inverted: bool = False
    has_padding: bool = False
    is_exact: bool = True
    num_frames: int = 1
    frame: int = 0
    modality: str | None = None
    edges: dict[str, str] | None = None  # left, right, top, bottom -> L, R, A, P, H, F
    laterality: str | None = None  # of a paired part: L, R or B


def read_viewer_image(path: Path, frame: int | None = None, limits: ImageLimits = DEFAULT_LIMITS) -> ViewerImage:
    """One frame, counted from 0; None is frame 0. Raises ImageError."""
    data = read_image_bytes(path, limits)
    if sniff_format(data, path) != "dicom":
        return _of_rgb(np.asarray(decode_image(data, path, frame, limits).image))
    stored = decode_stored(data, path, frame or 0, limits)
    dataset = stored.dataset
    shared = {
        "num_frames": int(dataset.get("NumberOfFrames") or 1),
        "frame": stored.frame,
        "modality": str(dataset.get("Modality") or "") or None,
        "edges": _edges(dataset, stored.frame),
        "laterality": _laterality(dataset, stored.frame),
    }
    if dataset.PhotometricInterpretation not in GREY:
        return _of_rgb(np.asarray(decode_image(data, path, frame or 0, limits).image), **shared)
    return _of_grey(stored.values, dataset, stored.frame, shared)


def _of_rgb(rgb: np.ndarray, **shared: object) -> ViewerImage:
    """Colour as it is; a picture whose channels are equal is grey, with the codes 0 to 255."""
    if (rgb[..., :1] == rgb).all():
        return ViewerImage(np.ascontiguousarray(rgb[..., 0]).astype("<u2"), **shared)  # type: ignore[arg-type]
    return ViewerImage(np.ascontiguousarray(rgb), **shared)  # type: ignore[arg-type]


def _of_grey(stored: np.ndarray, dataset: Dataset, frame: int, shared: dict) -> ViewerImage:
    is_padding = padding_mask(stored, dataset)
    values, modality = apply_modality(stored, functional_group(dataset, frame, "PixelValueTransformationSequence"))
    source = values if modality["kind"] == "lut" else stored
    slope, intercept = (float(modality.get(name, default)) for name, default in (("slope", 1), ("intercept", 0)))
    valid = source[~is_padding] if not is_padding.all() else source
    lowest, highest = valid.min(), valid.max()
    span = float(highest) - float(lowest)
    is_integer = source.dtype.kind in "iu" or modality["kind"] == "lut"
    is_exact = is_integer and span < MOST_LEVELS
    quantum = 1.0 if is_exact else (span or 1.0) / (MOST_LEVELS - 1)
    codes = np.rint((np.clip(source.astype(np.float64), lowest, highest) - float(lowest)) / quantum).astype("<u2")
    codes[is_padding] = PADDING_CODE
    slope, intercept = quantum * slope, float(lowest) * slope + intercept
    voi = functional_group(dataset, frame, "FrameVOILUTSequence")
    every_code = np.arange(65536) * slope + intercept
    shown, window = apply_voi(every_code, voi, np.arange(65536) <= span / quantum)
    lut = None
    if window["kind"] == "voi_lut":
        lut = np.rint(shown * 255).astype(np.uint8)
        width = abs(slope) * span / quantum or 1.0
        found = Window(intercept + slope * span / quantum / 2, width, "LINEAR_EXACT")  # once the table is left
    elif window["kind"] == "window":
        found = Window(window["center"], window["width"], window["function"])
    else:
        width = (window["maximum"] - window["minimum"]) or 1.0
        found = Window(window["minimum"] + width / 2, width, "LINEAR_EXACT")
    return ViewerImage(
        codes,
        slope,
        intercept,
        found,
        lut,
        is_inverted=dataset.PhotometricInterpretation == "MONOCHROME1",
        has_padding=bool(is_padding.any()),
        is_exact=is_exact,
        **shared,
    )


def _edges(dataset: Dataset, frame: int) -> dict[str, str] | None:
    """Which side of the patient lies at each edge of the picture; None where the file does not say."""
    plane = functional_group(dataset, frame, "PlaneOrientationSequence")
    cosines = plane.get("ImageOrientationPatient")
    if cosines and len(cosines) == 6:
        right, down = _main_direction(cosines[:3]), _main_direction(cosines[3:])
    else:
        orientation = dataset.get("PatientOrientation")
        if not orientation or isinstance(orientation, str) or len(orientation) != 2:
            return None
        right, down = (str(one)[:1].upper() for one in orientation)
    if right not in OPPOSITE or down not in OPPOSITE:
        return None
    return {"left": OPPOSITE[right], "right": right, "top": OPPOSITE[down], "bottom": down}


def _main_direction(cosine: list[float]) -> str:
    """x grows to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1)."""
    axis = int(np.argmax(np.abs(np.asarray(cosine, dtype=np.float64))))
    return ("L", "P", "H")[axis] if float(cosine[axis]) > 0 else ("R", "A", "F")[axis]


def _laterality(dataset: Dataset, frame: int) -> str | None:
    anatomy = functional_group(dataset, frame, "FrameAnatomySequence")
    found = anatomy.get("FrameLaterality") or dataset.get("ImageLaterality") or dataset.get("Laterality")
    return str(found) if found in ("L", "R", "B") else None
