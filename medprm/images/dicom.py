"""DICOM files -> 8-bit pixels as a viewer shows them, with a record of what was applied.

In: bytes of a DICOM Part 10 file, compressed or not. Out: uint8 (H, W) or (H, W, 3). Grey frames go through `grey`;
colour (RGB, YBR, palette) becomes RGB, and windows are not applied to it. Everything is bounded before it is opened:
inflation, pixels, and the size inside the compressed stream. Decoding is by pydicom 3 with pylibjpeg-openjpeg
(JPEG 2000) and GDCM (JPEG, JPEG-LS). Source: DICOM PS3.3, PS3.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    MPEGTransferSyntaxes,
    RLELossless,
)

from medprm.images.codestream import is_complete, read_stream_size
from medprm.images.ct import render_ct
from medprm.images.dicom_file import one_line, open_dicom, told_as_image_error
from medprm.images.files import DEFAULT_LIMITS, ImageError, check_pixel_budget, read_image_bytes
from medprm.images.grey import render_grey
from medprm.images.header import is_whole_slide
from medprm.images.settings import ImageLimits

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
# Decoders in a fixed order, so that one more installed plugin does not change the pixels of files that worked before.
_PLUGIN_ORDER = ("pydicom", "gdcm", "pillow", "pyjpegls", "pylibjpeg")
_PLUGIN_ORDER_JPEG_2000 = ("pylibjpeg", "gdcm", "pillow")


@dataclass(frozen=True)
class DicomImage:
    """One frame as shown: uint8 (H, W) or (H, W, 3), and what was applied to the stored values."""

    pixels: np.ndarray
    applied: dict[str, Any] = field(default_factory=dict)


def load_dicom(
    path: Path, frame: int | None = None, limits: ImageLimits = DEFAULT_LIMITS, windows: Sequence[str] = ()
) -> DicomImage:
    """Read one frame, counted from 0; it must be named where the file holds several. Raises ImageError."""
    return decode_dicom(read_image_bytes(path, limits), path, frame, limits, windows)


def decode_dicom(
    data: bytes,
    path: Path,
    frame: int | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
    windows: Sequence[str] = (),
) -> DicomImage:
    """As `load_dicom`, from the file's bytes; `path` is for messages.

    `windows`: none (the file's own), or one or three CT windows (`hounsfield`), which only a CT in HU can be shown in.
    """
    return render_dicom(open_dicom(data, path, limits), path, frame, limits, windows)


def render_dicom(
    dataset: FileDataset,
    path: Path,
    frame: int | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
    windows: Sequence[str] = (),
) -> DicomImage:
    """As `decode_dicom`, from what `open_dicom` gave."""
    with told_as_image_error(path):
        frame = _check_header(dataset, path, frame, limits)
        return _render(dataset, path, frame, windows)


@dataclass(frozen=True)
class StoredFrame:
    """One frame as it is stored, (H, W) or (H, W, samples), with the data set that says what the values mean."""

    values: np.ndarray
    dataset: FileDataset
    frame: int


def decode_stored(
    data: bytes, path: Path, frame: int | None = None, limits: ImageLimits = DEFAULT_LIMITS
) -> StoredFrame:
    """The stored values before any window, for a viewer that windows them itself; checks as in `decode_dicom`."""
    dataset = open_dicom(data, path, limits)
    with told_as_image_error(path):
        frame = _check_header(dataset, path, frame, limits)
        return StoredFrame(_decode_frame(dataset, path, frame)[0], dataset, frame)


def _check_header(dataset: FileDataset, path: Path, frame: int | None, limits: ImageLimits) -> int:
    """The frame to decode, once the header has been found sane. Raises ImageError."""
    if not dataset.file_meta.get("TransferSyntaxUID"):
        raise ImageError(f"{path}: no Transfer Syntax UID (0002,0010), so the pixels cannot be read; export it again")
    if dataset.file_meta.TransferSyntaxUID in MPEGTransferSyntaxes:
        raise ImageError(
            f"{path}: a video ({dataset.file_meta.TransferSyntaxUID.name} is not supported); convert the moment "
            "that is meant to a still image"
        )
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        kind = dataset.get("Modality") or "unknown"
        raise ImageError(
            f"{path}: holds no pixel data (modality {kind}): a report, a waveform, or an image cut off before its "
            "pixels; name an image file"
        )
    if dataset.get("Rows") is None or dataset.get("Columns") is None:
        raise ImageError(f"{path}: no Rows or Columns (0028,0010, 0028,0011); the file is damaged, export it again")
    check_pixel_budget(int(dataset.Columns), int(dataset.Rows), path, limits)
    if dataset.get("PhotometricInterpretation") not in (*GREY, *COLOUR, "PALETTE COLOR"):
        raise ImageError(
            f"{path}: photometric interpretation {dataset.get('PhotometricInterpretation')!r}; expected one of "
            f"{', '.join((*GREY, *COLOUR, 'PALETTE COLOR'))}; convert the file to RGB"
        )
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    if frame is None and num_frames > 1 and is_whole_slide(dataset):
        raise ImageError(
            f"{path}: a whole-slide image of {num_frames} tiles, and no tile is the slide; export the region that is "
            f"meant as PNG, or name one tile, frame 0 to {num_frames - 1}"
        )
    return _choose_frame(num_frames, frame, path)


def _choose_frame(num_frames: int, frame: int | None, path: Path) -> int:
    if num_frames < 1:
        raise ImageError(f"{path}: NumberOfFrames is {num_frames}; the file is damaged, export it again")
    if frame is None and num_frames > 1:
        raise ImageError(f"{path}: holds {num_frames} frames; name one, frame 0 to {num_frames - 1}")
    chosen = frame or 0
    if not 0 <= chosen < num_frames:
        raise ImageError(f"{path}: frame {chosen}; expected 0 to {num_frames - 1}")
    return chosen


def _render(dataset: FileDataset, path: Path, frame: int, windows: Sequence[str]) -> DicomImage:
    stored, decoder_name, photometric = _decode_frame(dataset, path, frame)
    syntax = dataset.file_meta.TransferSyntaxUID
    applied: dict[str, Any] = {
        "format": "dicom",
        "transfer_syntax": syntax.name,
        "decoder": decoder_name,
        "photometric": str(dataset.PhotometricInterpretation),
        "frame": frame,
        "num_frames": int(dataset.get("NumberOfFrames") or 1),
    }
    if dataset.PhotometricInterpretation in GREY:
        if stored.ndim != 2:
            raise ImageError(f"{path}: grey, but with {stored.shape[-1]} samples a pixel; the file is damaged")
        rendered = render_ct(stored, dataset, frame, windows) if windows else render_grey(stored, dataset, frame)
        return DicomImage(rendered.pixels, applied | rendered.applied)
    if windows:
        raise ImageError(f"{path}: colour has no Hounsfield units; leave the windows out")
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        rgb = apply_color_lut(stored, dataset)
        return DicomImage(_scale_to_8_bits(rgb, rgb.dtype.itemsize * 8), applied)
    if photometric != "RGB" or stored.ndim != 3 or stored.shape[-1] != 3:
        raise ImageError(f"{path}: decodes to {photometric} of shape {stored.shape}, not to RGB; convert it to RGB")
    return DicomImage(_scale_to_8_bits(stored, int(dataset.BitsStored)), applied)


def _scale_to_8_bits(rgb: np.ndarray, num_bits: int) -> np.ndarray:
    if num_bits == 8:
        return rgb.astype(np.uint8)
    return np.rint(np.clip(rgb / float((1 << num_bits) - 1), 0.0, 1.0) * 255.0).astype(np.uint8)


def _decode_frame(dataset: FileDataset, path: Path, frame: int) -> tuple[np.ndarray, str, str]:
    """Stored values, the decoder's name, and the colour space after decoding."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise ImageError(
            f"{path}: transfer syntax {syntax.name} ({syntax}) is not supported; convert the file to Explicit VR "
            "Little Endian, for example with `gdcmconv --raw`"
        ) from error
    if not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian:
        array, properties = decoder.as_array(dataset, index=frame)
        return array, "pydicom", str(properties["photometric_interpretation"])
    _check_compressed_frame(dataset, path, frame)
    failures = []
    for plugin in _plugins(decoder, syntax, path):
        try:
            array, properties = decoder.as_array(dataset, index=frame, decoding_plugin=plugin)
            return array, plugin, str(properties["photometric_interpretation"])
        # Each plugin has its own errors; all of them are told if none succeeds.
        except Exception as error:
            failures.append(one_line(error).rpartition("all available plugins: ")[2])
    raise ImageError(
        f"{path}: {syntax.name}, {dataset.get('BitsStored')} bits, could not be decoded ({'; '.join(failures)}); "
        f"the file is damaged, or needs another decoder{_missing(decoder)}"
    )


def _plugins(decoder: Decoder, syntax: UID, path: Path) -> list[str]:
    is_jpeg_2000 = syntax in JPEG2000TransferSyntaxes or "HTJ2K" in syntax.keyword
    order = _PLUGIN_ORDER_JPEG_2000 if is_jpeg_2000 else _PLUGIN_ORDER
    plugins = [plugin for plugin in order if plugin in decoder.available_plugins]
    if not plugins:
        raise ImageError(f"{path}: no decoder for {syntax.name} is installed{_missing(decoder)}")
    return plugins


def _missing(decoder: Decoder) -> str:
    """The packages that pydicom could decode this syntax with, if they were installed."""
    missing = ", or ".join(decoder.missing_dependencies)
    licence = " (pylibjpeg-libjpeg is GPL-3.0)" if "pylibjpeg-libjpeg" in missing else ""
    return f": {missing}{licence}" if missing else ", and all known ones are installed"


def _check_compressed_frame(dataset: Dataset, path: Path, frame: int) -> None:
    """Refuse a frame whose own header asks for another size than the dataset's, or that is cut off."""
    rows, columns, num_samples = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    offsets = [dataset.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    stream = get_frame(
        dataset.PixelData,
        frame,
        number_of_frames=int(dataset.get("NumberOfFrames") or 1),
        extended_offsets=(offsets[0], offsets[1]) if all(offsets) else None,
    )
    if dataset.file_meta.TransferSyntaxUID == RLELossless:
        # A run of RLE grows 64-fold at most; what does not compress at all takes one byte more in 128.
        if len(stream) > 1.1 * rows * columns * num_samples * int(dataset.BitsAllocated) / 8 + 4096:
            raise ImageError(f"{path}: frame {frame} has {len(stream):,} bytes of RLE, too many for its size; damaged")
        return
    size = read_stream_size(stream)
    if size is None:
        raise ImageError(f"{path}: frame {frame} is not the compressed image that the header announces; damaged")
    if size != (columns, rows, num_samples):
        raise ImageError(
            f"{path}: frame {frame} is {size.width} x {size.height} with {size.num_samples} samples, but the header "
            f"says {columns} x {rows} with {num_samples}; the file is damaged, export it again"
        )
    if not is_complete(stream):
        raise ImageError(f"{path}: frame {frame} is cut off (no end marker); the file is damaged, copy it again")
