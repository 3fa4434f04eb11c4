"""Stored values of a CT slice -> Hounsfield units -> named windows (`hounsfield`).

In: stored values (H, W) and the dataset. Out: uint8 (H, W) or (H, W, 3). Refused: what is not in Hounsfield units by
its header (PS3.3 C.8.2.1: Rescale Type HU, or none given), since a window would then mean nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom import Dataset

from medprm.images.ct_windows import parse_window
from medprm.images.grey import Rendered, modality_values
from medprm.images.hounsfield import render_windows


def render_ct(stored: np.ndarray, dataset: Dataset, frame: int, windows: Sequence[str]) -> Rendered:
    """One CT frame through one window (grey) or three (red, green, blue). Raises ValueError where it is not in HU."""
    if dataset.get("Modality") != "CT":
        raise ValueError(f"windows in Hounsfield units for modality {dataset.get('Modality')!r}; leave the windows out")
    if dataset.PhotometricInterpretation != "MONOCHROME2":
        raise ValueError(f"a CT in {dataset.PhotometricInterpretation}, which has no Hounsfield units")
    values, is_padding, modality = modality_values(stored, dataset, frame)
    if modality["kind"] != "rescale" or (modality.get("rescale_type") or "HU") != "HU":
        raise ValueError(
            f"a CT without Hounsfield units (rescale {modality['kind']}, type {modality.get('rescale_type')!r}); leave "
            "the windows out"
        )
    applied: dict[str, Any] = {
        "modality": modality,
        "window": {"kind": "ct", "windows": [[name, *parse_window(name)] for name in windows]},
        "inverted": False,
        "num_padding_pixels": int(is_padding.sum()),
    }
    return Rendered(render_windows(values, windows, is_padding), applied)
