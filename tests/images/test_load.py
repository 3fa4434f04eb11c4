"""PNG, JPEG and DICOM through one door, as RGB; damaged files never come out as a picture."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from medprm.images.files import ImageError
from medprm.images.load import load_image, open_image, read_size, to_png_bytes
from medprm.images.settings import ImageLimits


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, file_format: str = "PNG", **options) -> Path:
    Image.fromarray(pixels).save(path, format=file_format, **options)
    return path


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_png_of_any_name_and_mode(tmp_path: Path, rgb: np.ndarray) -> None:
    path = save(tmp_path / "named.jpg", rgb)
    image = load_image(path)
    assert image.mode == "RGB" and np.array_equal(np.asarray(image), rgb)
    grey = rgb[..., 0]
    assert np.array_equal(np.asarray(load_image(save(tmp_path / "g.png", grey))), np.stack([grey] * 3, -1))
    Image.fromarray(grey).convert("1").save(tmp_path / "one.png")
    assert set(np.unique(np.asarray(load_image(tmp_path / "one.png")))) == {0, 255}
    Image.fromarray(rgb).quantize(256).save(tmp_path / "p.png")
    assert load_image(tmp_path / "p.png").mode == "RGB"


def test_16_bit_grey_png_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    opened = open_image(save(tmp_path / "deep.png", values))
    pixels = np.asarray(opened.image)
    assert np.array_equal(pixels[..., 0], np.rint(values / 257))
    assert pixels.max() == 255 and len(np.unique(pixels)) == 256
    assert opened.applied["mode"] == "I;16"


def test_12_bit_values_in_a_16_bit_png_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "dark.png", np.arange(4096, dtype=np.uint16).reshape(64, 64))
    with pytest.raises(ImageError, match="dark.png: .*brightest pixel is 4095 of 65535"):
        load_image(path)


def test_opaque_alpha_is_dropped_and_any_other_refused(tmp_path: Path, rgb: np.ndarray) -> None:
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, dtype=np.uint8)])
    assert np.array_equal(np.asarray(load_image(save(tmp_path / "opaque.png", rgba))), rgb)
    rgba[3, 4, 3] = 254
    with pytest.raises(ImageError, match="transparent pixels"):
        load_image(save(tmp_path / "glass.png", rgba))
    with pytest.raises(ImageError, match="transparent pixels"):
        load_image(save(tmp_path / "key.png", rgb, transparency=tuple(rgb[0, 0].tolist())))


def test_jpeg_and_its_exif_orientation(tmp_path: Path) -> None:
    pixels = np.zeros((32, 64, 3), dtype=np.uint8)
    pixels[:, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to show upright
    opened = open_image(save(tmp_path / "a.jpg", pixels, "JPEG", exif=exif.tobytes()))
    shown = np.asarray(opened.image)
    assert shown.shape == (64, 32, 3) and opened.applied["orientation"] == 6
    assert shown[:28].min() > 200 and shown[36:].max() < 55


def test_cmyk_and_animation_are_refused(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "print.jpg", format="JPEG")
    with pytest.raises(ImageError, match="colour mode CMYK"):
        load_image(tmp_path / "print.jpg")
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    frames[0].save(tmp_path / "film.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animated PNG"):
        load_image(tmp_path / "film.png")
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="a GIF image"):
        load_image(tmp_path / "film.gif")


def test_frame_of_a_picture(tmp_path: Path, rgb: np.ndarray) -> None:
    path = save(tmp_path / "a.png", rgb)
    assert np.array_equal(np.asarray(load_image(path, frame=0)), rgb)
    with pytest.raises(ImageError, match="frame 1 of a PNG file"):
        load_image(path, frame=1)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_cut_off_pictures_are_refused(tmp_path: Path, rgb: np.ndarray, file_format: str) -> None:
    data = save(tmp_path / "whole", rgb, file_format).read_bytes()
    for length in [*range(1, 60), *range(60, len(data) - 2, 7)]:
        path = tmp_path / "cut"
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match="cut: "):
            load_image(path)


def test_a_png_with_any_byte_altered_is_refused_or_unchanged(tmp_path: Path, rgb: np.ndarray) -> None:
    data = bytearray(save(tmp_path / "whole.png", rgb).read_bytes())
    for position in range(8, len(data), 13):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path = tmp_path / "damaged.png"
        path.write_bytes(damaged)
        with pytest.raises(ImageError, match="damaged.png"):
            load_image(path)


@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (0, 5)])
def test_png_bomb_is_refused_from_its_header(tmp_path: Path, width: int, height: int) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(ImageError, match=f"the header says {width} x {height} pixels"):
        load_image(tmp_path / "bomb.png")


def test_limits_are_ours_and_pillow_is_left_alone(tmp_path: Path, rgb: np.ndarray) -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    for file_format in ("PNG", "JPEG"):
        path = save(tmp_path / "a", rgb, file_format)
        assert load_image(path, limits=ImageLimits(max_pixels=600)).size == (30, 20)
        with pytest.raises(ImageError, match="30 x 20 pixels, more than 599"):
            load_image(path, limits=ImageLimits(max_pixels=599))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_another_library_filling_in_grey_is_noticed(tmp_path: Path, rgb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageError, match="LOAD_TRUNCATED_IMAGES"):
        load_image(save(tmp_path / "a.png", rgb))


def test_dicom_comes_out_as_rgb_with_its_record(write_dicom, ramp: np.ndarray) -> None:
    opened = open_image(write_dicom(ramp, name="film.png", PhotometricInterpretation="MONOCHROME1"))
    pixels = np.asarray(opened.image)
    assert opened.image.mode == "RGB" and pixels[0, 0].tolist() == [255] * 3 and pixels[-1, -1].tolist() == [0] * 3
    assert opened.applied["format"] == "dicom" and opened.applied["inverted"]


def test_png_bytes_for_reports(rgb: np.ndarray) -> None:
    image = Image.fromarray(rgb)
    same = Image.open(io.BytesIO(to_png_bytes(image, 30)))
    assert np.array_equal(np.asarray(same), rgb)
    assert Image.open(io.BytesIO(to_png_bytes(image, 15))).size == (15, 10)
    assert Image.open(io.BytesIO(to_png_bytes(Image.new("RGB", (1000, 2)), 10))).size == (10, 1)
    assert to_png_bytes(image, 15) == to_png_bytes(image, 15)


def test_every_real_picture_loads(real_data: Path) -> None:
    folders = ("cxr_covid_ccby/images", "cxr_nih512", "vqa_rad/images", "cxr_hannover/png", "derm_isic_uda1")
    paths = [path for name in folders for path in sorted((real_data / name).rglob("*.[jp][pn]*g"))]
    # Every fifth large one: all were opened once by hand, and the rest shares their origin.
    for path in [*paths[:10], *paths[10::5]]:
        image = load_image(path)
        assert image.mode == "RGB" and min(image.size) > 100, path
    assert len(paths) > 100


def test_the_size_is_read_from_the_header_alone(tmp_path: Path, write_dicom: Callable[..., Path]) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    dicom = write_dicom(np.zeros((20, 40), dtype=np.uint16))
    assert read_size(tmp_path / "plain.png") == read_size(dicom) == (40, 20)
    assert read_size(tmp_path / "turned.jpg") == load_image(tmp_path / "turned.jpg").size == (20, 40)
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.png", exif=exif)
    assert read_size(tmp_path / "turned.png") == load_image(tmp_path / "turned.png").size == (20, 40)
    cut = (tmp_path / "plain.png").read_bytes()[:45]
    (tmp_path / "cut.png").write_bytes(cut)
    assert read_size(tmp_path / "cut.png") == (40, 20), "the header is enough"
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.dcm").write_bytes(b"\0" * 128 + b"DICM")
    for name, said in (("text.png", "its size"), ("empty.dcm", "a DICOM file without"), ("absent.png", "its size")):
        with pytest.raises(ImageError, match=f"{name}: {said}"):
            read_size(tmp_path / name)
