"""Image files as bytes: found under the data root, read within a size limit, told apart by content.

In: paths that a record or a user names. Out: bytes. Every failure is an `ImageError` that names the file; nothing here
ever stands in for a file that cannot be read.
"""

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from medprm.errors import InputError
from medprm.images.settings import ImageLimits

DEFAULT_LIMITS = ImageLimits()

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
# First bytes of what people bring by mistake, so that the error can name it. Longest prefixes first.
_OTHER_FORMATS = (
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"BM", "a BMP image"),
    (b"RIFF", "a WebP or other RIFF file"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file without a DICOM header"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 stream without a DICOM header"),
    (b"\x1f\x8b", "a gzip file (NIfTI volumes often are)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"%PDF", "a PDF document"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was never downloaded"),
    (b"<", "a web page or another text in markup"),
)


class ImageError(InputError):
    """An image cannot be used. The message names the file, what is wrong with it, and what to do."""


def resolve_image(root: Path, relative: str) -> Path:
    """The file that a record names, which must lie under `root`, links followed. Raises ImageError.

    A record is data from elsewhere: an absolute path, `..`, a URL or a link out of the root would read any file here.
    """
    expected = f"expected a path relative to the data root {root} that stays inside it"
    if not relative or "\x00" in relative or "://" in relative:
        raise ImageError(f"image path {relative!r}: {expected}")
    windows, posix = PureWindowsPath(relative), PurePosixPath(relative)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise ImageError(f"image path {relative!r}: {expected}")
    resolved_root = root.resolve()
    path = (resolved_root / relative).resolve()
    if not path.is_relative_to(resolved_root):
        raise ImageError(f"image path {relative!r} is a link to {path}: {expected}")
    return path


def read_image_bytes(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """The whole file, at most `limits.max_file_bytes`. Raises ImageError."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{path}: not a regular file; expected a DICOM, PNG or JPEG file")
            # Python sets aside as many bytes as it is asked to read.
            data = file.read(min(status.st_size, limits.max_file_bytes) + 1)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file; check the image path and the data root") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path}: is a folder; name one DICOM, PNG or JPEG file in it") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read ({error}); check its permissions") from error
    if not data:
        raise ImageError(f"{path}: the file is empty (0 bytes); copy it again from its source")
    if len(data) > limits.max_file_bytes:
        raise ImageError(
            f"{path}: larger than {limits.max_file_bytes:,} bytes; export the one frame that is needed, or raise "
            "ImageLimits.max_file_bytes if the file can be trusted"
        )
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    # Opening a named pipe for reading would wait for ever for its writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def sniff_format(data: bytes, path: Path) -> str:
    """`dicom`, `png` or `jpeg` by content; the file's name is not looked at. Raises ImageError."""
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(JPEG_SIGNATURE):
        return "jpeg"
    # The second form lacks the preamble but has the file meta group (0002,xxxx), which says how to read the rest.
    if data[128:132] == b"DICM" or data.startswith(b"\x02\x00"):
        return "dicom"
    raise ImageError(f"{path}: {_what_it_is(data)}; expected DICOM (with file meta information), PNG or JPEG")


def _what_it_is(data: bytes) -> str:
    for prefix, description in _OTHER_FORMATS:
        if data.startswith(prefix):
            return f"is {description}"
    if data.startswith((b"\x08\x00", b"\x00\x08")):
        return "looks like DICOM without file meta information, so its transfer syntax is unknown"
    return f"is of an unknown format (it begins with {data[:8].hex(' ')})"


def check_pixel_budget(width: int, height: int, path: Path, limits: ImageLimits) -> None:
    """Refuse, before anything is decoded, an image whose header asks for none or too many pixels."""
    if width < 1 or height < 1:
        raise ImageError(f"{path}: the header says {width} x {height} pixels; the file is damaged")
    if width * height > limits.max_pixels:
        raise ImageError(
            f"{path}: the header says {width} x {height} pixels, more than {limits.max_pixels:,}; scale it down, or "
            "raise ImageLimits.max_pixels if the file can be trusted"
        )
