"""The size inside compressed streams, against what made them."""

import io

import numpy as np
import pytest
from PIL import Image

from medprm.images.codestream import StreamSize, is_complete, read_stream_size


def encode(mode: str, file_format: str, size: tuple[int, int] = (37, 21), **options) -> bytes:
    num_samples = {"L": (), "RGB": (3,)}[mode]
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], *num_samples), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("mode", "num_samples"), [("L", 1), ("RGB", 3)])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\x00\x00" + bytes(5000), "comment": b"\xff\xd9\xff\xc0"}),
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
    ],
)
def test_size_is_what_was_encoded(mode: str, num_samples: int, file_format: str, options: dict) -> None:
    stream = encode(mode, file_format, **options)
    assert read_stream_size(stream) == StreamSize(37, 21, num_samples)
    assert is_complete(stream) and is_complete(stream + b"\x00")
    assert not is_complete(stream[:-40])


def test_cut_anywhere_is_none_or_the_true_size() -> None:
    for file_format in ("JPEG", "JPEG2000"):
        stream = encode("RGB", file_format)
        for length in range(len(stream)):
            assert read_stream_size(stream[:length]) in (None, StreamSize(37, 21, 3))


def test_other_bytes_have_no_size() -> None:
    for stream in (b"", b"\xff", b"\xff\xd8", b"\x89PNG", bytes(100), b"\xff\xd8\xff\xd9"):
        assert read_stream_size(stream) is None
