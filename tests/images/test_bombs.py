"""Small files that ask for gigabytes: refused in a worker whose memory is watched, and named."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from isolated_tasks import read_watched
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from medprm.images.isolation import IsolationSettings, Item, run_isolated

MAX_GROWTH_MIB = 64
SIDE = 60_000


def meta_end(data: bytes) -> int:
    return 132 + 12 + struct.unpack_from("<I", data, 140)[0]


def refusal(path: Path) -> str:
    """Why the file is refused; it must not take memory on the way."""
    item = Item(path.name, {"path": str(path)})
    (outcome,) = run_isolated(read_watched, [item], IsolationSettings(1, 20.0, 1024))
    assert outcome.refusal is None, "neither a crash nor a hang"
    assert outcome.result["growth_mib"] < MAX_GROWTH_MIB, outcome
    assert str(path) in outcome.result["refusal"]
    return outcome.result["refusal"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_60000_by_60000_in_the_header(write_dicom, syntax: str) -> None:
    path = write_dicom(np.zeros((4, 4), dtype=np.uint8))
    dataset = dcmread(path)
    dataset.Rows = dataset.Columns = SIDE
    if syntax != ExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([b"\0" * 64])
        dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert "60000 x 60000 pixels, more than 64,000,000" in refusal(path)


def test_60000_by_60000_in_the_compressed_stream_alone(write_dicom) -> None:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, format="JPEG2000", no_jp2=True)
    stream = bytearray(buffer.getvalue())
    stream[8:16] = struct.pack(">II", SIDE, SIDE)  # SIZ: Xsiz, Ysiz
    dataset = dcmread(path := write_dicom(np.zeros((4, 4), dtype=np.uint8)))
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([bytes(stream)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert "60000 x 60000 with 1 samples, but the header says 4 x 4" in refusal(path)


def test_300_kb_that_inflate_to_300_mb(write_dicom) -> None:
    path = write_dicom(np.zeros((4, 4), dtype=np.uint8), syntax=DeflatedExplicitVRLittleEndian)
    original = path.read_bytes()
    plain = zlib.decompress(original[meta_end(original) :], -zlib.MAX_WBITS)
    num_zeros = 300 * 10**6
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [deflater.compress(plain + struct.pack("<HH2sHI", 0x7FE1, 0x0010, b"OB", 0, num_zeros))]
    parts += [deflater.compress(bytes(10**6)) for _ in range(300)]
    path.write_bytes(original[: meta_end(original)] + b"".join(parts) + deflater.flush())
    assert path.stat().st_size < 310_000
    assert "deflated content is larger than" in refusal(path)


@pytest.mark.parametrize("depth", [65, 240, 5000])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("is_closed", [True, False])
def test_sequences_nested_deeply(write_dicom, depth: int, syntax: str, is_closed: bool) -> None:
    path = write_dicom(np.zeros((4, 4), dtype=np.uint8), syntax=syntax)
    data = path.read_bytes()
    is_explicit = syntax == ExplicitVRLittleEndian
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    tag = struct.pack("<HH", 0x0040, 0xA730)
    opening = (
        tag + (struct.pack("<2sHI", b"SQ", 0, 0xFFFFFFFF) if is_explicit else struct.pack("<I", 0xFFFFFFFF)) + item
    )
    closing = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    nested = opening * depth + closing * depth
    if is_closed:  # lengths said beforehand: pydicom leaves them unread until somebody asks
        nested = b""
        for _ in range(depth):
            inside = struct.pack("<HHI", 0xFFFE, 0xE000, len(nested)) + nested
            head = struct.pack("<2sHI", b"SQ", 0, len(inside)) if is_explicit else struct.pack("<I", len(inside))
            nested = tag + head + inside
    at = data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    path.write_bytes(data[:at] + nested + data[at:])
    assert "nested too deeply" in refusal(path)


def test_a_million_frames_of_nothing(write_dicom) -> None:
    path = write_dicom(np.zeros((4, 4), dtype=np.uint8), NumberOfFrames=10**6)
    assert "holds 1000000 frames" in refusal(path)
    rle = dcmread(path)
    rle.NumberOfFrames, rle.Rows, rle.Columns = 1, 8000, 8000
    rle.file_meta.TransferSyntaxUID = RLELossless
    rle.PixelData = encapsulate([struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 100])
    rle["PixelData"].is_undefined_length = True
    rle.save_as(path)
    assert "could not be decoded" in refusal(path)


def test_png_of_60000_by_60000(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    assert "60000 x 60000 pixels" in refusal(tmp_path / "bomb.png")
