"""DICOM files: what decodes must decode to the right pixels, all else must say what is wrong."""

import csv
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, Sequence, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from medprm.images.dicom import load_dicom
from medprm.images.files import ImageError
from medprm.images.settings import ImageLimits

# Rows of dicom_index.csv that only the GPL decoder pylibjpeg-libjpeg reads (12-bit JPEG): refused here, by name.
ONLY_WITH_GPL_DECODER = {"JPGExtended.dcm"}


def packaged(name: str) -> Path:
    """A file that comes with pydicom."""
    found = get_testdata_file(name, download=False)
    assert found, name
    return Path(str(found))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32"])
def test_stored_types_and_syntaxes_give_the_same_picture(write_dicom, dtype: str, syntax: str) -> None:
    stored = np.arange(-60, 60) if dtype.startswith("int") else np.arange(120)
    image = load_dicom(write_dicom(stored.astype(dtype).reshape(10, 12), syntax=syntax))
    assert image.pixels.dtype == np.uint8
    assert np.array_equal(image.pixels.ravel(), np.rint(np.arange(120) / 119 * 255))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
def test_every_depth_reaches_black_and_white(write_dicom, bits: int) -> None:
    stored = np.linspace(0, 2**bits - 1, 300).astype(np.uint16).reshape(15, 20)
    path = write_dicom(stored, BitsStored=bits, WindowCenter=2 ** (bits - 1), WindowWidth=2**bits)
    pixels = load_dicom(path).pixels
    assert np.abs(pixels - stored / (2**bits - 1) * 255).max() <= 0.5 + 1e-9


def test_record_of_what_was_applied(write_dicom, ramp: np.ndarray) -> None:
    path = write_dicom(
        ramp, BitsStored=12, PhotometricInterpretation="MONOCHROME1", WindowCenter=2048, WindowWidth=4096
    )
    assert load_dicom(path).applied == {
        "format": "dicom",
        "transfer_syntax": "Explicit VR Little Endian",
        "decoder": "pydicom",
        "photometric": "MONOCHROME1",
        "frame": 0,
        "num_frames": 1,
        "modality": {"kind": "none"},
        "window": {"kind": "window", "index": 0, "center": 2048.0, "width": 4096.0, "function": "LINEAR"},
        "inverted": True,
        "num_padding_pixels": 0,
    }


@pytest.mark.parametrize(
    ("compressed", "plain"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("SC_rgb_rle.dcm", "SC_rgb_jpeg_dcmtk.dcm"),
    ],
)
def test_lossless_compression_changes_nothing(compressed: str, plain: str) -> None:
    one, other = load_dicom(packaged(compressed)), load_dicom(packaged(plain))
    # The last pair is lossy JPEG of the same colour bars: measured 6.
    tolerance = 8 if "jpeg_dcmtk" in plain else 0
    assert np.abs(one.pixels.astype(int) - other.pixels).max() <= tolerance
    assert one.pixels.max() > 200 and one.pixels.std() > 10


def test_round_trip_through_our_own_compression(write_dicom, ramp: np.ndarray) -> None:
    plain = write_dicom(ramp, BitsStored=12)
    expected = load_dicom(plain).pixels
    for syntax, decoder in ((RLELossless, "pydicom"), (JPEG2000Lossless, "pylibjpeg")):
        dataset = dcmread(plain)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path := plain.with_name("compressed.dcm"))
        image = load_dicom(path)
        assert np.array_equal(image.pixels, expected)
        assert image.applied["decoder"] == decoder


def test_rgb_of_8_and_16_bits(write_dicom) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    assert np.array_equal(load_dicom(write_dicom(rgb)).pixels, rgb)
    wide = write_dicom(rgb.astype(np.uint16) * 257, name="wide.dcm")
    assert np.array_equal(load_dicom(wide).pixels, rgb)


def test_ybr_and_palette_become_rgb() -> None:
    bars = load_dicom(packaged("SC_ybr_full_422_uncompressed.dcm")).pixels
    # Colour bars: the top left one is red.
    assert np.abs(bars[2, 50].astype(int) - (255, 0, 0)).max() <= 2
    palette = load_dicom(packaged("examples_palette.dcm")).pixels
    assert palette.shape == (350, 800, 3) and palette[5, 300].tolist() != [palette[5, 300, 0]] * 3


def test_one_bit_segmentation_is_black_and_white() -> None:
    assert np.unique(load_dicom(packaged("liver_1frame.dcm")).pixels).tolist() == [0, 255]


def test_several_frames_need_a_frame(write_dicom) -> None:
    stored = np.stack([np.eye(8, dtype=np.uint8), 1 - np.eye(8, dtype=np.uint8)])
    path = write_dicom(stored)
    with pytest.raises(ImageError, match=r"image\.dcm: holds 2 frames; name one, frame 0 to 1"):
        load_dicom(path)
    assert np.array_equal(load_dicom(path, frame=1).pixels, stored[1] * 255)
    assert load_dicom(path, frame=1).applied["frame"] == 1
    for frame in (2, -1):
        with pytest.raises(ImageError, match=f"frame {frame}; expected 0 to 1"):
            load_dicom(path, frame=frame)


def test_frame_0_of_a_single_frame_file_is_the_file(write_dicom, ramp: np.ndarray) -> None:
    path = write_dicom(ramp)
    assert np.array_equal(load_dicom(path, frame=0).pixels, load_dicom(path).pixels)
    with pytest.raises(ImageError, match="frame 1; expected 0 to 0"):
        load_dicom(path, frame=1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MR_truncated.dcm", "less than expected"),
        ("JPEG-lossy.dcm", "pylibjpeg-libjpeg is GPL-3.0"),
        ("JPGExtended.dcm", "JPEG Extended.*12 bits"),
        ("no_meta.dcm", "unknown format|no Transfer Syntax"),
        ("meta_missing_tsyntax.dcm", "no Transfer Syntax UID"),
        ("test-SR.dcm", "no pixel data .modality SR"),
        ("waveform_ecg.dcm", "no pixel data .modality ECG"),
        ("nested_priv_SQ.dcm", "no Rows or Columns"),
    ],
)
def test_packaged_files_that_must_fail_say_why(name: str, words: str) -> None:
    with pytest.raises(ImageError, match=f"{name}: .*(?:{words})"):
        load_dicom(packaged(name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg.dcm", "image_dfl.dcm"]
)
def test_a_cut_off_file_never_gives_a_picture(tmp_path: Path, name: str) -> None:
    data = packaged(name).read_bytes()
    # CT_small ends with an element after its pixels: all cuts here are before that.
    for share in np.linspace(0.02, 0.95, 25):
        path = tmp_path / "cut.dcm"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageError, match=r"cut\.dcm: "):
            load_dicom(path)


@pytest.mark.filterwarnings("ignore")
def test_random_damage_gives_pixels_or_an_image_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.dcm"
    for name in ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "image_dfl.dcm"):
        data = np.frombuffer(packaged(name).read_bytes(), dtype=np.uint8)
        for _ in range(40):
            damaged = data.copy()
            positions = rng.integers(0, len(data), rng.choice([1, 5, 50]))
            damaged[positions] = rng.integers(0, 256, len(positions))
            path.write_bytes(damaged.tobytes())
            try:
                assert load_dicom(path).pixels.dtype == np.uint8
            except ImageError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"]
)
def test_cut_off_stream_inside_a_whole_file_is_refused(tmp_path: Path, name: str) -> None:
    dataset = dcmread(packaged(name))
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([stream[: len(stream) // 2]])
    dataset.save_as(path := tmp_path / "cut.dcm")
    with pytest.raises(ImageError, match="frame 0 is cut off"):
        load_dicom(path)
    dataset.PixelData = encapsulate([bytes(2000)])
    dataset.save_as(path)
    with pytest.raises(ImageError, match="not the compressed image"):
        load_dicom(path)


def test_stream_larger_than_its_header_is_refused(tmp_path: Path) -> None:
    dataset = dcmread(packaged("SC_rgb_jpeg_dcmtk.dcm"))
    dataset.Rows = dataset.Columns = 16
    dataset.save_as(path := tmp_path / "bomb.dcm")
    with pytest.raises(ImageError, match="frame 0 is 100 x 100 with 3 samples, but the header says 16 x 16"):
        load_dicom(path)


def test_header_bomb_is_refused_before_decoding(write_dicom) -> None:
    path = write_dicom(np.zeros((4, 4), dtype=np.uint8), Rows=65535, Columns=65535)
    with pytest.raises(ImageError, match="65535 x 65535 pixels, more than 64,000,000"):
        load_dicom(path)
    path = write_dicom(np.zeros((4, 4), dtype=np.uint8), Rows=0)
    with pytest.raises(ImageError, match="4 x 0 pixels"):
        load_dicom(path)
    path = write_dicom(np.zeros((4, 4), dtype=np.uint8), NumberOfFrames=10**6)
    with pytest.raises(ImageError, match="holds 1000000 frames"):
        load_dicom(path)


def test_deflate_bomb_is_refused_with_bounded_memory(write_dicom) -> None:
    import tracemalloc

    path = write_dicom(np.zeros((4, 4), dtype=np.uint8), syntax=DeflatedExplicitVRLittleEndian)
    original = path.read_bytes()
    meta_end = 132 + 12 + struct.unpack_from("<I", original, 140)[0]
    plain = zlib.decompress(original[meta_end:], -zlib.MAX_WBITS)
    num_zeros = 50 * 2**20
    # A private element of 50 MiB of zeros, after the rest: 50 kB in the file.
    plain += struct.pack("<HH2sHI", 0x7FE1, 0x0010, b"OB", 0, num_zeros)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(
        original[:meta_end] + deflater.compress(plain) + deflater.compress(bytes(num_zeros)) + deflater.flush()
    )
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(ImageError, match="deflated content is larger than 20,971,520 bytes"):
        load_dicom(path, limits=ImageLimits(max_inflated_bytes=20 * 2**20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20
    assert load_dicom(path).pixels.shape == (4, 4)


def test_deeply_nested_sequences_are_refused(write_dicom) -> None:
    path = write_dicom(np.zeros((4, 4), dtype=np.uint8))
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    opening = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + item
    meta_end = 132 + 12 + struct.unpack_from("<I", path.read_bytes(), 140)[0]
    path.write_bytes(path.read_bytes()[:meta_end] + opening * 2000)
    with pytest.raises(ImageError, match="nested too deeply|not a readable DICOM image|no pixel data"):
        load_dicom(path)


def test_rle_frame_too_long_for_its_size_is_refused(write_dicom, ramp: np.ndarray) -> None:
    dataset = dcmread(write_dicom(ramp))
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = encapsulate([bytes(100_000)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path := Path(str(dataset.filename)).with_name("rle.dcm"))
    with pytest.raises(ImageError, match="too many for its size"):
        load_dicom(path)


def test_video_and_odd_colour_spaces_are_named(write_dicom, ramp: np.ndarray) -> None:
    dataset = dcmread(write_dicom(ramp))
    dataset.file_meta.TransferSyntaxUID = MPEG4HP41
    dataset.PixelData = encapsulate([b"\x00\x00\x00\x18ftypmp42"])
    dataset.save_as(path := Path(str(dataset.filename)).with_name("video.dcm"))
    with pytest.raises(ImageError, match=r"a video \(MPEG-4 .* is not supported\); convert"):
        load_dicom(path)
    with pytest.raises(ImageError, match="photometric interpretation 'HSV'; expected one of MONOCHROME1"):
        load_dicom(write_dicom(ramp, PhotometricInterpretation="HSV"))


def test_a_bad_window_in_the_file_is_told(write_dicom, ramp: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"image\.dcm: .*width 0\.0; a LINEAR window needs a width >= 1"):
        load_dicom(write_dicom(ramp, WindowCenter=10, WindowWidth=0))


def test_a_lookup_table_survives_being_written(write_dicom, ramp: np.ndarray) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", (4095 - ramp).ravel().astype("<u2").tobytes())
    path = write_dicom(ramp, BitsStored=12, VOILUTSequence=Sequence([item]))
    image = load_dicom(path)
    assert np.array_equal(image.pixels, np.rint((4095 - ramp) / 4095 * 255))
    assert image.applied["window"]["kind"] == "voi_lut"


def test_real_files_decode_or_fail_as_the_table_says(real_data: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((real_data / "dicom_index.csv").read_text())))
    seen = 0
    for row in rows:
        path = real_data / row["dir"] / row["file"]
        if not path.is_file():
            continue
        seen += 1
        frame = 0 if int(row["frames"] or 1) > 1 else None
        if not row["pixel_array"].startswith("(") or row["file"] in ONLY_WITH_GPL_DECODER:
            with pytest.raises(ImageError, match=row["file"]):
                load_dicom(path, frame)
            continue
        rows_columns = tuple(int(number) for number in row["rows_x_cols"].split("x"))
        image = load_dicom(path, frame)
        assert image.pixels.shape[:2] == rows_columns, path
        assert image.pixels.dtype == np.uint8 and image.pixels.ndim in (2, 3)
        if image.pixels.ndim == 2:
            assert image.applied["inverted"] == (row["photometric"] == "MONOCHROME1"), path
        # The microscopy files begin with an empty frame.
        assert image.pixels.std() > 1 or row["file"].startswith("sm_image"), path
    assert seen == sum(1 for folder in real_data.glob("dicom_*") for path in folder.glob("*.d*"))
    assert seen >= 20


def test_real_chest_film_is_shown_with_dark_lungs(real_data: Path) -> None:
    """RG1_J2KI.dcm is MONOCHROME1: uninverted, its lungs would be white and its spine black."""
    pixels = load_dicom(real_data / "dicom_pydicom_data" / "RG1_J2KI.dcm").pixels
    spine, lung = pixels[500:900, 880:960].mean(), pixels[500:700, 350:600].mean()
    assert spine > lung + 40


def test_a_missing_preamble_changes_nothing(tmp_path: Path, write_dicom, ramp: np.ndarray) -> None:
    path = write_dicom(ramp)
    (bare := tmp_path / "bare.dcm").write_bytes(path.read_bytes()[132:])
    assert np.array_equal(load_dicom(bare).pixels, load_dicom(path).pixels)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
def test_a_presentation_shape_that_contradicts_is_recorded(write_dicom, ramp, photometric: str, shape: str) -> None:
    plain = load_dicom(write_dicom(ramp, PhotometricInterpretation=photometric)).pixels
    image = load_dicom(write_dicom(ramp, PhotometricInterpretation=photometric, PresentationLUTShape=shape))
    assert np.array_equal(image.pixels, plain), "the photometric interpretation decides"
    agrees = (photometric == "MONOCHROME1") == (shape == "INVERSE")
    assert ("contradiction" in image.applied) == (not agrees)


def test_photometric_lies_are_refused(write_dicom, ramp: np.ndarray) -> None:
    colour = np.zeros((8, 8, 3), dtype=np.uint8)
    with pytest.raises(ImageError, match="grey, but with 3 samples"):
        load_dicom(write_dicom(colour, PhotometricInterpretation="MONOCHROME2"))
    for lie in ("RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR"):
        with pytest.raises(ImageError, match=r"image\.dcm: "):
            load_dicom(write_dicom(ramp, PhotometricInterpretation=lie))


def test_of_several_windows_the_first_is_shown_and_said(write_dicom, ramp: np.ndarray) -> None:
    several = load_dicom(write_dicom(ramp, WindowCenter=[1000, 3000], WindowWidth=[200, 400]))
    one = load_dicom(write_dicom(ramp, WindowCenter=1000, WindowWidth=200))
    assert np.array_equal(several.pixels, one.pixels)
    assert several.applied["window"] == one.applied["window"]


def test_a_whole_slide_is_refused_and_a_named_tile_is_not(real_data: Path) -> None:
    path = real_data / "dicom_highdicom" / "sm_image.dcm"
    with pytest.raises(ImageError, match="a whole-slide image of 25 tiles"):
        load_dicom(path)
    assert load_dicom(path, frame=7).pixels.shape == (10, 10, 3)
