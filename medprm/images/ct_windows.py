"""CT windows by name: which Hounsfield units are black and which white. Light: the standard library only.

A window is a name below or `center/width` in HU. The named ones are the usual ones of radiology (Radiopaedia,
"Windowing (CT)"); readers differ by some tens of units.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from medprm.errors import InputError


class CtWindow(NamedTuple):
    """The values shown: from center - width / 2 (black) to center + width / 2 (white)."""

    center_hu: float
    width_hu: float


CT_WINDOWS = {
    "lung": CtWindow(-600, 1500),
    "mediastinum": CtWindow(50, 350),
    "soft_tissue": CtWindow(50, 400),
    "liver": CtWindow(30, 150),
    "bone": CtWindow(400, 1800),
    "brain": CtWindow(40, 80),
    "subdural": CtWindow(75, 215),
    "stroke": CtWindow(40, 40),
    "temporal_bone": CtWindow(600, 2800),
    "spine": CtWindow(50, 250),
}


def parse_window(text: str) -> CtWindow:
    """`lung`, or `-600/1500` (center/width in HU). Raises InputError."""
    if text in CT_WINDOWS:
        return CT_WINDOWS[text]
    center, slash, width = text.partition("/")
    try:
        window = CtWindow(float(center), float(width))
    except ValueError:
        window = None
    if not slash or window is None or not all(map(math.isfinite, window)) or window.width_hu < 1:
        raise InputError(
            f"window {text!r}; expected {', '.join(CT_WINDOWS)}, or center/width in HU with a width of 1 or more, "
            "such as 40/400"
        )
    return window


def check_windows(windows: Sequence[str]) -> None:
    """Raises InputError unless there are none, one (grey) or three (red, green, blue), all of them known."""
    if len(windows) not in (0, 1, 3):
        raise InputError(
            f"{len(windows)} windows ({', '.join(windows)}); expected none (the file's own), one (grey) or three "
            "(red, green and blue)"
        )
    for window in windows:
        parse_window(window)
