"""The size that a compressed stream says of itself: JPEG, JPEG-LS and JPEG 2000 headers.

Decoders allocate by the stream's own header, not by DICOM's Rows and Columns, so a budget must look here as well.
Sources: ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000).
"""

from typing import NamedTuple

_JPEG_2000_START = b"\xff\x4f\xff\x51"
_JP2_BOX = b"\x00\x00\x00\x0cjP  "
# Start-of-frame markers: SOF0-SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}


class StreamSize(NamedTuple):
    """Pixels and samples a pixel of one compressed frame."""

    width: int
    height: int
    num_samples: int


def read_stream_size(stream: bytes) -> StreamSize | None:
    """The size in the stream's header; None where the stream is no JPEG, JPEG-LS or JPEG 2000, or is cut off."""
    try:
        if stream.startswith(b"\xff\xd8"):
            return _jpeg_size(stream)
        start = 0 if stream.startswith(_JPEG_2000_START) else stream.find(_JPEG_2000_START)
        if start == 0 or (start > 0 and stream.startswith(_JP2_BOX)):
            return _jpeg_2000_size(stream, start)
    except IndexError:
        return None
    return None


def is_complete(stream: bytes) -> bool:
    """Whether the end marker is there. All three standards end with FF D9, and forbid it inside coded data.

    Decoders fill what is missing with grey and succeed, so a cut-off stream must be found before. A few bytes of
    padding may follow the marker.
    """
    return b"\xff\xd9" in stream[-16:]


def _jpeg_size(stream: bytes) -> StreamSize | None:
    position = 2
    while position < len(stream):
        if stream[position] != 0xFF:
            return None
        marker = stream[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _START_OF_FRAME:
            header = position + 5
            return StreamSize(_uint16(stream, header + 2), _uint16(stream, header), stream[header + 4])
        else:
            position += 2 + _uint16(stream, position + 2)
    return None


def _jpeg_2000_size(stream: bytes, start: int) -> StreamSize:
    # SIZ: marker 2, length 2, capabilities 2, then Xsiz, Ysiz, XOsiz, YOsiz, four tile fields, and Csiz.
    xsiz, ysiz, xosiz, yosiz = (_uint32(stream, start + 8 + 4 * field) for field in range(4))
    return StreamSize(xsiz - xosiz, ysiz - yosiz, _uint16(stream, start + 40))


def _uint16(stream: bytes, position: int) -> int:
    return stream[position] << 8 | stream[position + 1]


def _uint32(stream: bytes, position: int) -> int:
    return _uint16(stream, position) << 16 | _uint16(stream, position + 2)
