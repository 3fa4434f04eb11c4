"""Text burned into pixels: found by OCR in every frame, told from markers such as L and PORTABLE, covered.

In: a data set whose header is clean. Out: boxes of text that may identify somebody; stored pixels with them filled.
RapidOCR (PP-OCR on onnxruntime; its models come inside the wheel, nothing is fetched). A grey frame is read as it is
shown and, where a window clips it, once more over its whole range, since text may stand beyond the window.
"""

import functools
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom import Dataset, FileDataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from medprm.images.dicom import GREY, decode_dicom
from medprm.images.files import ImageError

# What a technician puts into the picture; nobody is recognised by it.
MARKERS = frozenset(
    """
    L R LT RT LEFT RIGHT AP PA LAT LATERAL OBL AXIAL CORONAL SAGITTAL PORTABLE PORT MOBILE ERECT UPRIGHT SUPINE PRONE
    SEMI SEMIERECT SITTING STANDING LIEGEND STEHEND SITZEND BETTAUFNAHME DECUB DECUBITUS INSP EXP INSPIRATION
    EXPIRATION CHEST THORAX ABDOMEN AM PM HFS FFS
    KV KVP MA MAS MS CM MM HU WL WW WC W C A P H F S I SE IM SL ST THK ZOOM LPO RPO LAO RAO CC MLO RCC LCC RMLO LMLO
    """.split()  # noqa: SIM905 - forty lines of quotes say no more
)
# Ribs and catheters are read as one or two characters, or with less confidence than this.
LEAST_CONFIDENCE = 0.6
LEAST_CHARACTERS = 3
# Larger pictures are read in pieces, since the detector would shrink them until small print is gone.
PIECE, OVERLAP = 900, 250
_MARGIN = 0.25  # of a box's height, on each side


class TextBox(NamedTuple):
    """A rectangle around text, in pixels, the ends not included; whether it is only a marker."""

    left: int
    top: int
    right: int
    bottom: int
    is_marker: bool


class Found(NamedTuple):
    """Boxes of text as (frame, left, top, right, bottom), and how many markers stand in the frames."""

    text: list[tuple[int, int, int, int, int]]
    num_markers: int


def require_reader() -> None:
    """Raises ImageError where the OCR library is not installed."""
    _engine()


def find_text(pixels: np.ndarray) -> list[TextBox]:
    """Text in a picture, uint8 (H, W) or (H, W, 3). The words themselves are not given out."""
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    boxes = []
    for top in _starts(rgb.shape[0]):
        for left in _starts(rgb.shape[1]):
            piece = np.ascontiguousarray(rgb[top : top + PIECE, left : left + PIECE])
            boxes += [_moved(box, left, top, rgb.shape) for box in _read(piece)]
    return boxes


def cover_burned_in_text(dataset: FileDataset, is_allowed: bool) -> Found:
    """Cover the text of every frame in place; what was found. Markers are left.

    Compressed pixels become uncompressed where something is covered. With `is_allowed` false nothing is changed.
    Raises ImageError where a frame cannot be decoded, or cannot be written.
    """
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    found = {frame: _text_of_frame(buffer.getvalue(), dataset, frame) for frame in range(num_frames)}
    to_cover = {frame: [box for box in boxes if not box.is_marker] for frame, boxes in found.items()}
    text = [(frame, *box[:4]) for frame, boxes in to_cover.items() for box in boxes]
    if text and is_allowed:
        _cover(dataset, to_cover)
    return Found(text, sum(box.is_marker for boxes in found.values() for box in boxes))


def _text_of_frame(data: bytes, dataset: Dataset, frame: int) -> list[TextBox]:
    shown = decode_dicom(data, Path("the file"), frame)
    boxes = find_text(shown.pixels)
    if dataset.PhotometricInterpretation in GREY:
        whole_range = _without_window(data, frame)
        if np.abs(whole_range.astype(np.int16) - shown.pixels).mean() > 1.0:
            boxes += [box for box in find_text(whole_range) if not any(_is_centre_in(box, one) for one in boxes)]
    return boxes


def _is_centre_in(box: TextBox, other: TextBox) -> bool:
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    # The larger of two boxes of one text is not left out for the smaller.
    is_covered = box.right - box.left <= 1.1 * (other.right - other.left)
    return is_covered and other.left <= x <= other.right and other.top <= y <= other.bottom


def _without_window(data: bytes, frame: int) -> np.ndarray:
    dataset = dcmread(io.BytesIO(data))
    groups = [*(dataset.get("SharedFunctionalGroupsSequence") or []), *_per_frame(dataset)]
    for name in ("WindowCenter", "WindowWidth", "VOILUTSequence", "FrameVOILUTSequence"):
        for holder in (dataset, *groups):
            if name in holder:
                del holder[name]
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return decode_dicom(buffer.getvalue(), Path("the file"), frame).pixels


def _per_frame(dataset: Dataset) -> list[Dataset]:
    return list(dataset.get("PerFrameFunctionalGroupsSequence") or [])


def _cover(dataset: FileDataset, boxes: dict[int, list[TextBox]]) -> None:
    if dataset.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian:
        _make_native(dataset)
    if dataset.PhotometricInterpretation not in (*GREY, "RGB", "YBR_FULL", "PALETTE COLOR"):
        raise ImageError(f"burned-in text in {dataset.PhotometricInterpretation} pixels; convert the file to RGB")
    num_bits = int(dataset.BitsAllocated)
    if num_bits not in (8, 16, 32) or "PixelData" not in dataset:
        raise ImageError(f"burned-in text in pixels of {num_bits} bits; convert the file to 8 or 16 bits")
    kind = "i" if dataset.PixelRepresentation else "u"
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    is_planar = samples > 1 and int(dataset.get("PlanarConfiguration") or 0) == 1
    shape = (len(boxes), samples, rows, columns) if is_planar else (len(boxes), rows, columns, samples)
    num_values = int(np.prod(shape))
    values = np.frombuffer(dataset.PixelData, f"<{kind}{num_bits // 8}", num_values).reshape(shape).copy()
    frames = np.moveaxis(values, 1, -1) if is_planar else values
    for frame, found in boxes.items():
        for box in found:
            frames[frame, box.top : box.bottom, box.left : box.right] = _black(dataset, frames[frame])
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    dataset["PixelData"].VR = "OB" if num_bits == 8 else "OW"


def _make_native(dataset: FileDataset) -> None:
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.decompress(generate_instance_uid=False)
    elif not dataset.file_meta.TransferSyntaxUID.is_little_endian:
        raise ImageError("burned-in text in a big-endian file; convert it to Explicit VR Little Endian")
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=True)


def _black(dataset: Dataset, frame: np.ndarray) -> Any:
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        return frame.max()
    if dataset.PhotometricInterpretation == "YBR_FULL":
        return np.array([0, 128, 128])
    return frame.min() if dataset.PhotometricInterpretation == "MONOCHROME2" else 0


def _read(piece: np.ndarray) -> list[TextBox]:
    result = _engine()(piece)
    texts = getattr(result, "txts", None)
    if not texts:
        return []
    boxes = []
    for corners, text, score in zip(result.boxes, texts, result.scores, strict=True):
        characters = re.sub(r"[\W_]+", "", text)
        if score < LEAST_CONFIDENCE or not characters:
            continue
        is_marker = is_only_markers(text)
        if not is_marker and len(characters) < LEAST_CHARACTERS:
            continue
        left, top = (int(one) for one in np.floor(corners.min(axis=0)))
        right, bottom = (int(one) for one in np.ceil(corners.max(axis=0)))
        margin = round(_MARGIN * min(bottom - top, right - left))
        boxes.append(TextBox(left - margin, top - margin, right + margin, bottom + margin, is_marker))
    return boxes


def is_only_markers(text: str) -> bool:
    """Whether a text is made of markers, single letters and numbers of one or two digits (scales)."""
    words = re.findall(r"[A-Z]+|\d+", text.upper())
    return all(
        word in MARKERS or _is_near_marker(word) or len(word) == 1 or (word.isdigit() and len(word) <= 2)
        for word in words
    ) and (sum(word.isdigit() for word in words) <= 1)


def _is_near_marker(word: str) -> bool:
    """A marker read with its first or last letter missing."""
    return len(word) >= 4 and any(word in (marker[1:], marker[:-1]) for marker in MARKERS)


def _starts(length: int) -> list[int]:
    if length <= PIECE:
        return [0]
    num_pieces = -(-(length - OVERLAP) // (PIECE - OVERLAP))
    return [round(index * (length - PIECE) / (num_pieces - 1)) for index in range(num_pieces)]


def _moved(box: TextBox, left: int, top: int, shape: tuple[int, ...]) -> TextBox:
    height, width = shape[:2]
    return TextBox(
        max(0, box.left + left),
        max(0, box.top + top),
        min(width, box.right + left),
        min(height, box.bottom + top),
        box.is_marker,
    )


@functools.cache
def _engine() -> Any:
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise ImageError(
            "burned-in text is looked for with rapidocr and onnxruntime, which are not installed: pip install "
            "'medprm[ocr]', or burned_in=off for pictures that are known to hold none"
        ) from error
    # One thread: files are spread over processes.
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
