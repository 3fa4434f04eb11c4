"""One image file -> RGB: DICOM, PNG or JPEG, told apart by content.

Rules: a file is shown or refused, never replaced. 16-bit grey PNG is scaled from its full range 0..65535 (PNG
section 13.12), and refused where it uses less than a sixteenth of it (12-bit values stored as they are would come out
black). EXIF orientation is applied. Alpha is dropped where it is opaque everywhere, else refused. Animated files and
CMYK are refused. Of a phone's multi-picture JPEG the first, full picture is read. Pillow's limits are left alone:
sizes are read from the headers here. A JPEG whose coded data was altered, not cut, cannot be told from an intact one:
the format has no checksum.
"""

import io
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pydicom
from PIL import Image, ImageFile, ImageOps

from medprm.images.codestream import is_complete, read_stream_size
from medprm.images.dicom import decode_dicom
from medprm.images.files import (
    DEFAULT_LIMITS,
    PNG_SIGNATURE,
    ImageError,
    check_pixel_budget,
    read_image_bytes,
    sniff_format,
)
from medprm.images.settings import ImageLimits

_LEAST_16_BIT_MAXIMUM = 4096


class LoadedImage(NamedTuple):
    """An RGB image and what was applied to get it."""

    image: Image.Image
    applied: dict[str, Any]


def load_image(
    path: Path, frame: int | None = None, limits: ImageLimits = DEFAULT_LIMITS, windows: Sequence[str] = ()
) -> Image.Image:
    """One image as RGB. `frame` counts from 0; it must be named where a DICOM file has several. Raises ImageError.

    `windows`: one or three CT windows (`hounsfield`), refused where the file is no CT in Hounsfield units.
    """
    return open_image(path, frame, limits, windows).image


def open_image(
    path: Path, frame: int | None = None, limits: ImageLimits = DEFAULT_LIMITS, windows: Sequence[str] = ()
) -> LoadedImage:
    """As `load_image`, with the record of what was applied (window, inversion, decoder, ...)."""
    path = Path(path)
    return decode_image(read_image_bytes(path, limits), path, frame, limits, windows)


def decode_image(
    data: bytes,
    path: Path,
    frame: int | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
    windows: Sequence[str] = (),
) -> LoadedImage:
    """The same from the bytes of a file; `path` names it in errors."""
    file_format = sniff_format(data, path)
    if file_format == "dicom":
        dicom = decode_dicom(data, path, frame, limits, windows)
        return LoadedImage(Image.fromarray(dicom.pixels).convert("RGB"), dicom.applied)
    if windows:
        raise ImageError(f"{path}: a {file_format.upper()} has no Hounsfield units; leave the CT windows out")
    if frame not in (None, 0):
        raise ImageError(f"{path}: frame {frame} of a {file_format.upper()} file; it has one, frame 0")
    check = _check_png_header if file_format == "png" else _check_jpeg_header
    check(data, path, limits)
    return _decode_picture(data, path, file_format)


def read_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels from the file's header; no pixel is read."""
    try:
        with open(path, "rb") as file:
            start = file.read(132)
            if start.startswith(PNG_SIGNATURE) and len(start) >= 33:
                return _png_size(file, struct.unpack(">II", start[16:24]))
        if start[128:] == b"DICM":
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
            return int(header["Columns"].value), int(header["Rows"].value)
        with Image.open(path) as opened:
            return _turned(opened.size, opened.getexif())
    except KeyError as error:
        raise ImageError(f"{path}: a DICOM file without {error} in its header; it is damaged, copy it again") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: its size cannot be read ({error}); copy it again from its source") from error


def _png_size(file: BinaryIO, size: tuple[int, int]) -> tuple[int, int]:
    """As shown: turned where an eXIf chunk says so. Pillow would decode the whole picture to look for one."""
    file.seek(len(PNG_SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            exif = Image.Exif()
            exif.load(b"Exif\x00\x00" + file.read(length))
            return _turned(size, exif)
        file.seek(length + 4, os.SEEK_CUR)
    return size


def _turned(size: tuple[int, int], exif: Image.Exif) -> tuple[int, int]:
    """Width and height after EXIF's orientation."""
    return (size[1], size[0]) if int(exif.get(0x0112, 1) or 1) >= 5 else size


def to_png_bytes(image: Image.Image, max_side: int) -> bytes:
    """PNG for reports, scaled down (never up) so that neither side is over `max_side` pixels."""
    assert max_side >= 1, max_side
    scale = min(1.0, max_side / max(image.size))
    if scale < 1.0:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _check_png_header(data: bytes, path: Path, limits: ImageLimits) -> None:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise ImageError(f"{path}: a PNG without its header; the file is cut off, copy it again")
    check_pixel_budget(*struct.unpack(">II", data[16:24]), path, limits)
    _check_png_chunks(data, path)


def _check_png_chunks(data: bytes, path: Path) -> None:
    """Walk all chunks and compare checksums: Pillow stops reading once it has its rows, and shows damaged ones."""
    position, name = len(PNG_SIGNATURE), b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, position) if position + 8 <= len(data) else (0, b"")
        end = position + 12 + length
        if not name or end > len(data):
            raise ImageError(f"{path}: the PNG is cut off at byte {len(data):,}; copy it again from its source")
        if zlib.crc32(data[position + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ImageError(f"{path}: the PNG is damaged at byte {position:,} (checksum of {name!r}); copy it again")
        if name == b"acTL":
            raise ImageError(f"{path}: an animated PNG; expected a still image, export the frame that is meant")
        position = end


def _check_jpeg_header(data: bytes, path: Path, limits: ImageLimits) -> None:
    size = read_stream_size(data)
    if size is None:
        raise ImageError(f"{path}: a JPEG without a frame header; the file is damaged, copy it again")
    check_pixel_budget(size.width, size.height, path, limits)
    # Phones append further pictures and data after the end marker, so it is looked for in the whole file, and Pillow
    # itself reports where it runs dry.
    if not is_complete(data) and b"\xff\xd9" not in data:
        raise ImageError(f"{path}: the JPEG is cut off (no end marker); copy it again from its source")


def _decode_picture(data: bytes, path: Path, file_format: str) -> LoadedImage:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(
            f"{path}: another library has set PIL.ImageFile.LOAD_TRUNCATED_IMAGES, under which damaged files are "
            "filled with grey; set it to False"
        )
    try:
        with Image.open(io.BytesIO(data), formats=[file_format.upper()]) as opened:
            orientation = int(opened.getexif().get(0x0112, 1) or 1)
            opened.load()
            picture = ImageOps.exif_transpose(opened)
    except MemoryError as error:
        raise ImageError(f"{path}: does not fit into memory; use a smaller file or a larger machine") from error
    # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others on a damaged file.
    except Exception as error:
        raise ImageError(f"{path}: a damaged {file_format.upper()} ({error}); copy it again from its source") from error
    applied = {"format": file_format, "mode": picture.mode, "orientation": orientation}
    return LoadedImage(_to_rgb(picture, path), applied)


def _to_rgb(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode in ("I;16", "I;16B", "I") and not picture.has_transparency_data:
        values = np.asarray(picture).astype(np.int64)
        if values.max() > 65535 or values.min() < 0 or 0 < values.max() < _LEAST_16_BIT_MAXIMUM:
            raise ImageError(
                f"{path}: a 16-bit PNG whose brightest pixel is {values.max()} of 65535 would be shown black; scale "
                "its values to 0..65535, or give the DICOM file"
            )
        picture = Image.fromarray(np.rint(values / 257.0).astype(np.uint8))
    if picture.has_transparency_data:
        if picture.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise ImageError(f"{path}: has transparent pixels, which have no colour; flatten the image onto one")
        return picture.convert("RGBA").convert("RGB")
    if picture.mode not in ("1", "L", "P", "RGB"):
        raise ImageError(f"{path}: colour mode {picture.mode}; expected grey or RGB, convert the file")
    return picture.convert("RGB")
