"""The bytes of a DICOM file -> a data set, bounded before it is opened; pixels are not decoded here.

Out: pydicom's data set. Refused: a deflated file that inflates beyond the limit, sequences nested too deeply, and
whatever pydicom cannot parse, always as an `ImageError` that names the file. Source: DICOM PS3.5, PS3.10.
"""

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import Dataset, FileDataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medprm.images.files import DEFAULT_LIMITS, ImageError
from medprm.images.settings import ImageLimits


def open_dicom(data: bytes, path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> FileDataset:
    """The data set of a Part 10 file, with or without its preamble; `path` is for messages. Raises ImageError."""
    with told_as_image_error(path):
        _refuse_inflation_bomb(data, path, limits)
        dataset = dcmread(io.BytesIO(data), force=True)
        _refuse_deep_nesting(dataset, path, limits)
        return dataset


@contextmanager
def told_as_image_error(path: Path) -> Iterator[None]:
    """Whatever pydicom and its decoders raise in the block becomes an ImageError that names the file."""
    try:
        yield
    except ImageError:
        raise
    except RecursionError as error:
        raise ImageError(f"{path}: sequences are nested too deeply; the file is damaged or hostile") from error
    except MemoryError as error:
        raise ImageError(f"{path}: does not fit into memory; use a smaller file or a larger machine") from error
    # pydicom and its decoders raise some twenty unrelated types on a damaged file (AttributeError, struct.error, ...).
    except Exception as error:
        raise ImageError(
            f"{path}: not a readable DICOM image ({one_line(error)}); the file is damaged, export it again"
        ) from error


def one_line(error: Exception) -> str:
    """Type and text of an error, shortened."""
    text = " ".join(str(error).split()) or "no further word"
    return f"{type(error).__name__}: {text[:300]}"


def _refuse_deep_nesting(dataset: Dataset, path: Path, limits: ImageLimits) -> None:
    """pydicom parses sequences of known length when they are asked for, so a deep one is found only by asking."""
    level, depth = [dataset], 0
    while level := [item for one in level for item in _items(one)]:
        depth += 1
        if depth > limits.max_nesting:
            raise ImageError(
                f"{path}: sequences are nested too deeply (more than {limits.max_nesting}); the file is damaged or "
                "hostile"
            )


def _items(dataset: Dataset) -> Iterator[Dataset]:
    for tag in list(dataset.keys()):
        if _is_sequence(dataset, tag):
            yield from dataset[tag].value or ()


def _is_sequence(dataset: Dataset, tag: BaseTag) -> bool:
    element = dataset.get_item(tag)
    vr = element.VR if element is not None else None
    if vr is None:  # implicit: the dictionary knows
        try:
            return dictionary_VR(tag) == "SQ"
        except KeyError:
            return False
    return vr == "SQ"


def _refuse_inflation_bomb(data: bytes, path: Path, limits: ImageLimits) -> None:
    """pydicom inflates a deflated file whole and without bound, so its size is measured before."""
    stream = io.BytesIO(data)
    stream.seek(132 if data[128:132] == b"DICM" else 0)
    # Exactly how pydicom finds the end of the file meta group, so that both inflate the same bytes.
    meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_is_after_file_meta)
    for tag in list(meta.keys())[:1]:
        meta[tag]  # raises on a file meta group in implicit VR, which pydicom would read once more and otherwise
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, num_bytes, chunk = zlib.decompressobj(-zlib.MAX_WBITS), 0, stream.read()
    if chunk.startswith(b"\x00\x00"):
        # pydicom would skip command elements (group 0000) here, and inflate other bytes than were measured.
        raise ImageError(f"{path}: command elements before a deflated data set; convert to Explicit VR Little Endian")
    while chunk and not inflater.eof:
        num_bytes += len(inflater.decompress(chunk, 2**20))
        chunk = inflater.unconsumed_tail
        if num_bytes > limits.max_inflated_bytes:
            raise ImageError(
                f"{path}: the deflated content is larger than {limits.max_inflated_bytes:,} bytes; convert the file to "
                "Explicit VR Little Endian, or raise ImageLimits.max_inflated_bytes if the file can be trusted"
            )


def _is_after_file_meta(tag: int, vr: str | None, length: int) -> bool:
    return tag >> 16 != 2
