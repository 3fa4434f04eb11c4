"""Images for the browser: one frame as its raw values and what they mean, sent once and windowed there.

Out: 4 bytes (little-endian) length of a JSON header, the header padded with spaces to an even length, then uint16
codes (H, W) little-endian, or RGB uint8 (H, W, 3); where the header says `has_lut`, 65,536 bytes of a table follow.
"""

import json
import struct
import threading
from collections import OrderedDict
from dataclasses import asdict

from medprm.images.codes import PADDING_CODE, read_viewer_image
from medprm.images.files import resolve_image
from medprm.review.material import Material

MOST_KEPT_BYTES = 256 * 2**20


class Pixels:
    """Frames as sent, the last ones kept in memory: a film is decoded once for its experts."""

    def __init__(self, material: Material) -> None:
        self._material = material
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int | None], bytes] = OrderedDict()
        self._num_bytes = 0

    def frame(self, image: int, frame: int | None) -> bytes:
        """KeyError where there is no such image; ImageError where it cannot be shown."""
        if not 0 <= image < len(self._material.images):
            raise KeyError(image)
        key = (image, frame)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self._read(*key)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = found
                self._num_bytes += len(found)
            while self._num_bytes > MOST_KEPT_BYTES and len(self._kept) > 1:
                self._num_bytes -= len(self._kept.popitem(last=False)[1])
        return found

    def _read(self, number: int, frame: int | None) -> bytes:
        image = self._material.images[number]
        shown = read_viewer_image(
            resolve_image(self._material.image_root, image.path), image.frame if frame is None else frame
        )
        height, width = shown.pixels.shape[:2]
        header = {
            "kind": "grey" if shown.pixels.ndim == 2 else "rgb",
            "width": width,
            "height": height,
            "slope": shown.slope,
            "intercept": shown.intercept,
            "window": asdict(shown.window),
            "has_lut": shown.lut is not None,
            "is_inverted": shown.is_inverted,
            "padding_code": PADDING_CODE if shown.has_padding else None,
            "is_exact": shown.is_exact,
            "modality": shown.modality,
            "num_frames": shown.num_frames if image.frame is None else 1,
            "frame": shown.frame,
            "edges": shown.edges,
            "laterality": shown.laterality,
            "view": image.view,
        }
        text = json.dumps(header, allow_nan=False).encode()
        text += b" " * (len(text) % 2)
        lut = b"" if shown.lut is None else shown.lut.tobytes()
        return struct.pack("<I", len(text)) + text + shown.pixels.tobytes() + lut
