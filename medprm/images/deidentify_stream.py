"""What hides beside the pixels: bits above those stored, bytes after the last frame, comments in compressed streams.

In: a data set with pixel data. Out: the data set with clean pixel data, and words for what was taken away. The pixels
themselves decode to the same values. Source: PS3.5 section 8, ITU-T T.81 (JPEG), T.800 (JPEG 2000).
"""

import math

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRBigEndian, JPEG2000TransferSyntaxes, JPEGTransferSyntaxes, RLELossless

from medprm.images.files import ImageError

_JPEG_START, _JPEG_2000_START = b"\xff\xd8", b"\xff\x4f"
_COMMENT_JPEG, _COMMENT_JPEG_2000, _SCAN, _TILE = 0xFE, 0x64, 0xDA, 0x90
# Application segments that change how pixels are decoded: JFIF's (YCbCr), the colour transforms of JPEG-LS and Adobe.
_NEEDED_SEGMENTS = {0xE0: b"JFIF\0", 0xE8: b"mrfx", 0xEE: b"Adobe"}
_LONGEST_NEEDED = 14  # bytes; a longer one carries a thumbnail or more


def clean_pixel_bytes(dataset: Dataset) -> list[str]:
    """Clean `PixelData` in place; what was removed, in words. Raises ImageError for a stream it cannot look into."""
    if "PixelData" not in dataset:
        return []
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        return _clean_streams(dataset)
    return _clean_native(dataset)


def _clean_native(dataset: Dataset) -> list[str]:
    removed = []
    data = dataset.PixelData
    expected = _num_native_bytes(dataset)
    if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        expected += expected % 2  # bytes may be swapped in pairs, the padding among them
    if len(data) > expected + expected % 2 or any(data[expected:]):
        data, removed = data[:expected] + b"\0" * (expected % 2), ["bytes after the last frame"]
    cleaned = _without_unused_bits(dataset, data)
    if cleaned != data:
        removed.append("bits above those stored")
    if removed:
        dataset.PixelData = cleaned
    return removed


def _num_native_bytes(dataset: Dataset) -> int:
    num_samples = int(dataset.get("SamplesPerPixel", 1))
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        num_samples = 2
    num_pixels = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
    return math.ceil(num_pixels * num_samples * int(dataset.BitsAllocated) / 8)


def _without_unused_bits(dataset: Dataset, data: bytes) -> bytes:
    """Bits beside the stored ones zero, or the sign where the values have one (retired overlays were kept there)."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored", dataset.BitsAllocated))
    lowest = int(dataset.get("HighBit", stored - 1)) + 1 - stored
    if allocated not in (8, 16, 32) or not 0 < stored < allocated or lowest < 0 or len(data) % (allocated // 8):
        return data
    order = ">" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    values = np.frombuffer(data, dtype=f"{order}u{allocated // 8}")
    kept = values & ((1 << stored) - 1 << lowest)
    if dataset.get("PixelRepresentation") and lowest == 0:
        sign_bits = (1 << allocated) - (1 << stored)
        kept = np.where(kept >> stored - 1 & 1, kept | sign_bits, kept)
    return kept.astype(values.dtype).tobytes()


def _clean_streams(dataset: Dataset) -> list[str]:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == RLELossless:
        return []
    if syntax not in (*JPEGTransferSyntaxes, *JPEG2000TransferSyntaxes) and "JPEG" not in syntax.name:
        raise ImageError(f"{syntax.name}: a stream that comments cannot be looked for in; convert it to single images")
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    offsets = [dataset.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    extended = (offsets[0], offsets[1]) if all(offsets) else None
    frames = list(generate_frames(dataset.PixelData, number_of_frames=num_frames, extended_offsets=extended))
    cleaned = [_without_comments(frame) for frame in frames]
    if cleaned == frames:
        return []
    dataset.PixelData = encapsulate(cleaned)
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if name in dataset:
            del dataset[name]
    return ["comments in the compressed stream"]


def _without_comments(stream: bytes) -> bytes:
    end = stream.rfind(b"\xff\xd9")
    stream = stream[: end + 2] if end > 0 and len(stream) - end - 2 > 1 else stream
    if stream.startswith(_JPEG_2000_START):
        return _without_segments(stream, last=_TILE, is_comment=lambda marker, _: marker == _COMMENT_JPEG_2000)
    if stream.startswith(_JPEG_START):
        return _without_segments(stream, last=_SCAN, is_comment=_is_jpeg_comment)
    raise ImageError("the compressed frame is neither a JPEG nor a JPEG 2000 codestream; export the file again")


def _is_jpeg_comment(marker: int, content: bytes) -> bool:
    if marker in _NEEDED_SEGMENTS:
        return not content.startswith(_NEEDED_SEGMENTS[marker]) or len(content) > _LONGEST_NEEDED
    return marker == _COMMENT_JPEG or 0xE0 <= marker <= 0xEF


def _without_segments(stream: bytes, last: int, is_comment) -> bytes:
    """The stream less those segments of its header that are comments; from the first scan or tile on as it was."""
    kept, position = [stream[:2]], 2
    while position + 4 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == last:
            return b"".join((*kept, stream[position:]))
        length = int.from_bytes(stream[position + 2 : position + 4])
        segment = stream[position : position + 2 + length]
        if not is_comment(marker, segment[4:]):
            kept.append(segment)
        position += 2 + length
    raise ImageError("the header of the compressed frame ends before its first scan; the file is damaged")
