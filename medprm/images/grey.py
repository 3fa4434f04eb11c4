"""Stored grey values of one DICOM frame -> 8 bits as a viewer shows them (DICOM PS3.3 C.11.1, C.11.2, C.7.6.3.1.2).

In: stored values (H, W) and the dataset. Out: uint8 (H, W), 0 black and 255 white, and a record of what was applied.
Order: modality LUT or rescale; VOI LUT, else the first window, else min-max of the valid pixels; inversion of
MONOCHROME1; padding black. Attributes are looked up in the frame's own functional group first, then in the shared one,
then in the dataset. Overlays, pixel aspect ratio and presentation states are not applied.
"""

from typing import Any, NamedTuple

import numpy as np
from pydicom import Dataset

VOI_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


class Rendered(NamedTuple):
    """Pixels uint8 (H, W) and what was done to get them."""

    pixels: np.ndarray
    applied: dict[str, Any]


class Lut(NamedTuple):
    """A lookup table: entry i belongs to the input value first + i; inputs outside get the end entries."""

    entries: np.ndarray
    first: int
    num_bits: int


def render_grey(stored: np.ndarray, dataset: Dataset, frame: int) -> Rendered:
    """One frame of MONOCHROME1 or MONOCHROME2 as shown. Raises ValueError where the file's attributes make no sense."""
    values, is_padding, modality = modality_values(stored, dataset, frame)
    share, window = apply_voi(values, functional_group(dataset, frame, "FrameVOILUTSequence"), ~is_padding)
    is_inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    pixels = np.rint((1.0 - share if is_inverted else share) * 255.0).astype(np.uint8)
    pixels[is_padding] = 0
    applied = {
        "modality": modality,
        "window": window,
        "inverted": is_inverted,
        "num_padding_pixels": int(is_padding.sum()),
    }
    contradiction = _contradicting_shape(dataset, is_inverted)
    if contradiction:
        applied["contradiction"] = contradiction
    return Rendered(pixels, applied)


def modality_values(stored: np.ndarray, dataset: Dataset, frame: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Values (H, W) after modality LUT or rescale (HU for CT), which of them are padding, and what was applied."""
    is_padding = padding_mask(stored, dataset)
    if is_padding.all():
        raise ValueError("every pixel has the padding value (PixelPaddingValue)")
    values, modality = apply_modality(stored, functional_group(dataset, frame, "PixelValueTransformationSequence"))
    if not np.isfinite(values).all():
        raise ValueError("pixel values are not finite after rescaling")
    return values, is_padding, modality


def _contradicting_shape(dataset: Dataset, is_inverted: bool) -> str | None:
    """PS3.3 C.8.11.3.1.2: INVERSE goes with MONOCHROME1, IDENTITY with MONOCHROME2. The photometric one is shown."""
    shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()
    if not shape or shape == ("INVERSE" if is_inverted else "IDENTITY"):
        return None
    photometric = dataset.PhotometricInterpretation
    return f"PresentationLUTShape {shape} with {photometric}; shown as {photometric}"


def functional_group(dataset: Dataset, frame: int, name: str) -> Dataset:
    """The item of an enhanced multi-frame object that holds this frame's attributes, or the dataset itself."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    own = [per_frame[frame]] if frame < len(per_frame) else []
    for group in (*own, *shared[:1]):
        if group.get(name):
            return group[name].value[0]
    return dataset


def padding_mask(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int) or stored.dtype.kind not in "iu":
        return np.zeros(stored.shape, dtype=bool)
    last = dataset.get("PixelPaddingRangeLimit")
    ends = [_as_stored(end, stored.dtype) for end in (first, first if not isinstance(last, int) else last)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value: int, dtype: np.dtype) -> int:
    # Writers give -2000 as the unsigned 63536 and the other way round; the bits are what is meant.
    num_bits = dtype.itemsize * 8
    value &= (1 << num_bits) - 1
    return value - (1 << num_bits) if dtype.kind == "i" and value >> (num_bits - 1) else value


def apply_modality(stored: np.ndarray, holder: Dataset) -> tuple[np.ndarray, dict[str, Any]]:
    if holder.get("ModalityLUTSequence"):
        lut = _read_lut(holder.ModalityLUTSequence[0], bool(stored.min() < 0))
        return _look_up(stored, lut).astype(np.float64), {"kind": "lut", "num_bits": lut.num_bits}
    values = stored.astype(np.float64)
    slope, intercept = holder.get("RescaleSlope"), holder.get("RescaleIntercept")
    if slope is None and intercept is None:
        return values, {"kind": "none"}
    slope = 1.0 if slope is None else float(slope)
    intercept = 0.0 if intercept is None else float(intercept)
    if slope == 0.0:
        raise ValueError("RescaleSlope is 0, which makes every pixel equal; correct the tag")
    record = {"kind": "rescale", "slope": slope, "intercept": intercept}
    if holder.get("RescaleType"):
        record["rescale_type"] = str(holder.RescaleType)
    return values * slope + intercept, record


def apply_voi(values: np.ndarray, holder: Dataset, is_valid: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Modality values -> share of white in [0, 1]."""
    if holder.get("VOILUTSequence"):
        lut = _read_lut(holder.VOILUTSequence[0], bool(values.min() < 0))
        share = _look_up(np.rint(values).astype(np.int64), lut) / float((1 << lut.num_bits) - 1)
        return share, {"kind": "voi_lut", "index": 0, "num_bits": lut.num_bits}
    center, width = _first(holder.get("WindowCenter")), _first(holder.get("WindowWidth"))
    if center is not None and width is not None:
        function = str(holder.get("VOILUTFunction") or "LINEAR")
        record = {"kind": "window", "index": 0, "center": center, "width": width, "function": function}
        return apply_window(values, center, width, function), record
    lowest, highest = float(values[is_valid].min()), float(values[is_valid].max())
    # One grey level has no contrast to stretch: black, as a viewer shows it.
    span = (highest - lowest) or 1.0
    share = np.clip((values - lowest) / span, 0.0, 1.0)
    return share, {"kind": "min_max", "minimum": lowest, "maximum": highest}


def apply_window(values: np.ndarray, center: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Values -> share of white in [0, 1] by PS3.3 C.11.2.1.2 and C.11.2.1.3. Raises ValueError on a bad window."""
    least_width = 1.0 if function == "LINEAR" else np.nextafter(0.0, 1.0)
    if not (np.isfinite(center) and np.isfinite(width) and width >= least_width):
        raise ValueError(f"window center {center}, width {width}; a {function} window needs a width >= {least_width:g}")
    if function == "SIGMOID":
        # Far from the centre exp overflows to infinity, and the share to 0, as it should.
        with np.errstate(over="ignore"):
            return 1.0 / (1.0 + np.exp(-4.0 * (values - center) / width))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if function != "LINEAR":
        raise ValueError(f"VOILUTFunction {function!r}; expected one of {', '.join(VOI_FUNCTIONS)}")
    if width == 1.0:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _first(value: Any) -> float | None:
    """The first of several windows; the file's order is the maker's choice."""
    if value is None or value == "":
        return None
    if isinstance(value, (str, int, float)):
        return float(value)
    values = list(value)
    return float(values[0]) if values else None


def _read_lut(item: Dataset, has_negative_input: bool) -> Lut:
    num_entries, first, num_bits = (int(number) for number in item.LUTDescriptor)
    num_entries = num_entries or 1 << 16
    if first >= 1 << 15 and has_negative_input:
        first -= 1 << 16
    data = item.LUTData
    if isinstance(data, bytes):
        # Two bytes an entry, in a table of 8 bits sometimes one.
        data = np.frombuffer(data, dtype=np.uint8 if len(data) < 2 * num_entries else _word(item))
    entries = np.atleast_1d(np.asarray(data, dtype=np.int64))[:num_entries]
    if not 1 <= num_bits <= 16 or len(entries) < num_entries or entries.max() >= 1 << num_bits:
        raise ValueError(f"lookup table of {num_entries} entries of {num_bits} bits does not hold what it announces")
    return Lut(entries, first, num_bits)


def _word(item: Dataset) -> np.dtype:
    is_little_endian = item.original_encoding[1]
    return np.dtype(np.uint16).newbyteorder(">" if is_little_endian is False else "<")


def _look_up(values: np.ndarray, lut: Lut) -> np.ndarray:
    return lut.entries[np.clip(values.astype(np.int64) - lut.first, 0, len(lut.entries) - 1)]
