"""Finding and reading image files: every wrong path has its own clear error."""

import os
from pathlib import Path

import pytest

from medprm.errors import InputError
from medprm.images.files import ImageError, check_pixel_budget, read_image_bytes, resolve_image, sniff_format
from medprm.images.settings import ImageLimits


def test_image_errors_are_input_errors() -> None:
    assert issubclass(ImageError, InputError)


def test_paths_inside_the_root_resolve(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.dcm").write_bytes(b"x")
    assert resolve_image(tmp_path, "images/a.dcm") == (tmp_path / "images" / "a.dcm").resolve()
    assert resolve_image(tmp_path, "images/absent..dcm").name == "absent..dcm"


@pytest.mark.parametrize(
    "relative",
    ["", "/etc/passwd", "../a.dcm", "images/../../a.dcm", "https://host/a.png", "file:///a.png", "a\x00.png"]
    + ["C:\\a.png", "..\\a.png", "\\\\host\\a.png"],
)
def test_paths_out_of_the_root_are_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(ImageError, match="expected a path relative to the data root"):
        resolve_image(tmp_path, relative)


def test_links_out_of_the_root_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    for relative in ("link.png", "folder/secret.png"):
        with pytest.raises(ImageError, match="is a link to"):
            resolve_image(root, relative)


def test_unreadable_things_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "long.png").write_bytes(bytes(101))
    for name, words in (
        ("absent.png", "no such file"),
        (".", "is a folder"),
        ("empty.png", "empty"),
        ("long.png", "larger than 100 bytes"),
        ("long.png/x.png", "cannot be read"),
    ):
        with pytest.raises(ImageError, match=words) as caught:
            read_image_bytes(tmp_path / name, ImageLimits(max_file_bytes=100))
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image_bytes(tmp_path / "pipe.png")


def test_format_is_by_content_not_by_name() -> None:
    assert sniff_format(b"\x89PNG\r\n\x1a\n...", Path("a.jpg")) == "png"
    assert sniff_format(b"\xff\xd8\xff\xe0...", Path("a.dcm")) == "jpeg"
    assert sniff_format(bytes(128) + b"DICM", Path("a.png")) == "dicom"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GIF89a", "a GIF image"),
        (b"II*\x00", "a TIFF image"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"\x08\x00\x05\x00CS", "without file meta information"),
        (b"hello", "unknown format"),
    ],
)
def test_other_formats_are_told_by_name(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=f"a.png: .*{words}.*; expected DICOM"):
        sniff_format(data, Path("a.png"))


def test_pixel_budget() -> None:
    limits = ImageLimits(max_pixels=100)
    check_pixel_budget(10, 10, Path("a"), limits)
    for width, height in ((101, 1), (0, 5), (5, -1)):
        with pytest.raises(ImageError, match=f"{width} x {height} pixels"):
            check_pixel_budget(width, height, Path("a"), limits)
