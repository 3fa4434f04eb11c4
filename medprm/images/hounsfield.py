"""CT values in Hounsfield units -> 8 bits through named windows, one grey picture or one window a colour channel.

In: values in HU (H, W) and one or three windows. Out: uint8 (H, W) or (H, W, 3). A window is a name below or
`center/width` in HU. A CT slice has some 4,000 grey levels and a screen 256: three windows as red, green and blue keep
lung, soft tissue and bone apart in one picture. Windows: the usual ones of radiology (Radiopaedia, "Windowing (CT)").
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medprm.errors import InputError
from medprm.images.grey import apply_window


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
    if not slash or window is None or not np.isfinite(window).all() or window.width_hu < 1:
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


def render_windows(values_hu: np.ndarray, windows: Sequence[str], is_padding: np.ndarray | None = None) -> np.ndarray:
    """Values (H, W) in HU -> uint8 (H, W) for one window, (H, W, 3) for three; padding is black. Raises InputError."""
    check_windows(windows)
    if not windows:
        raise InputError("no window for values in Hounsfield units; expected one or three")
    shares = [apply_window(values_hu, *parse_window(window)) for window in windows]
    channels = [np.rint(share * 255.0).astype(np.uint8) for share in shares]
    pixels = channels[0] if len(channels) == 1 else np.stack(channels, axis=-1)
    if is_padding is not None:
        pixels[is_padding] = 0
    return pixels
