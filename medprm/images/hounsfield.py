"""CT values in Hounsfield units -> 8 bits through windows (`ct_windows`), one grey picture or one a colour channel.

In: values in HU (H, W) and one or three windows. Out: uint8 (H, W) or (H, W, 3). A CT slice has some 4,000 grey levels
and a screen 256: three windows as red, green and blue keep lung, soft tissue and bone apart in one picture.
"""

from collections.abc import Sequence

import numpy as np

from medprm.errors import InputError
from medprm.images.ct_windows import check_windows, parse_window
from medprm.images.grey import apply_window


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
