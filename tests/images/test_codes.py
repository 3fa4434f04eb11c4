"""Codes for the browser: windowed as the page does, they show what `decode_dicom` shows."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from review_project import write_ct

from medprm.images.codes import PADDING_CODE, ViewerImage, read_viewer_image
from medprm.images.dicom import load_dicom
from medprm.images.files import ImageError
from medprm.images.grey import apply_window


def as_the_page_draws(image: ViewerImage) -> np.ndarray:
    """The table of static/window.js, in numpy."""
    codes = np.arange(65536)
    if image.lut is not None:
        grey = image.lut.astype(int)
    else:
        window = image.window
        share = apply_window(codes * image.slope + image.intercept, window.center, window.width, window.function)
        grey = np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(int)
    table = 255 - grey if image.is_inverted else grey
    table[PADDING_CODE] = 0
    return table[image.pixels]


def voi_table() -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [256, 0, 8]
    item.LUTData = bytes(range(255, -1, -1))
    return Sequence([item])


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"RescaleSlope": 0.37, "RescaleIntercept": 12.5},
        {"VOILUTFunction": "SIGMOID"},
        {"VOILUTFunction": "LINEAR_EXACT"},
        {"PixelPaddingValue": 1500, "PixelPaddingRangeLimit": 1600, "PhotometricInterpretation": "MONOCHROME1"},
        {"WindowCenter": None, "WindowWidth": None},
        {"VOILUTSequence": voi_table(), "RescaleIntercept": 0},
    ],
    ids=lambda tags: "-".join(tags) or "plain",
)
def test_the_page_shows_what_the_decoder_shows(tags: dict, tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", 64, **tags)
    image = read_viewer_image(tmp_path / "a.dcm")
    assert image.is_exact
    # Halves are rounded away from zero in the browser, to even here: one level of 255.
    assert np.abs(as_the_page_draws(image) - load_dicom(tmp_path / "a.dcm").pixels.astype(int)).max() <= 1


def test_every_stored_value_of_16_bits_is_kept(tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", 64)
    image = read_viewer_image(tmp_path / "a.dcm")
    stored = dcmread(tmp_path / "a.dcm").pixel_array.astype(float)
    np.testing.assert_array_equal(image.pixels * image.slope + image.intercept, stored - 1024)
    assert image.edges == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert image.modality == "CT" and image.laterality is None


def test_the_full_range_of_16_bits_is_rounded_and_says_so(tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", 256, PixelData=np.arange(65536, dtype="<u2").tobytes(), RescaleIntercept=0)
    image = read_viewer_image(tmp_path / "a.dcm")
    assert not image.is_exact and image.pixels.max() < PADDING_CODE
    error = np.abs(image.pixels.ravel() * image.slope + image.intercept - np.arange(65536))
    assert error.max() <= 0.51  # half a level of 65536 / 65535


@pytest.mark.parametrize(
    ("tags", "edges"),
    [
        ({"PatientOrientation": ["L", "F"]}, {"left": "R", "right": "L", "top": "H", "bottom": "F"}),
        ({"PatientOrientation": ["P", "FR"]}, {"left": "A", "right": "P", "top": "H", "bottom": "F"}),
        ({}, None),
    ],
)
def test_sides_are_said_only_where_the_file_says_them(tags: dict, edges: dict | None, tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", 16, ImageOrientationPatient=None, ImageLaterality="R", **tags)
    image = read_viewer_image(tmp_path / "a.dcm")
    assert (image.edges, image.laterality) == (edges, "R")


def test_a_damaged_file_is_an_image_error(tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", 64)
    (tmp_path / "b.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:-500])
    with pytest.raises(ImageError, match=r"b\.dcm"):
        read_viewer_image(tmp_path / "b.dcm")


def test_real_files_look_as_decoded(real_data: Path) -> None:
    files = [path for path in sorted((real_data / "dicom_pydicom_data").rglob("*.dcm")) if path.stat().st_size < 2e6]
    num_grey = 0
    for path in files[:60]:
        try:
            shown = load_dicom(path, 0).pixels.astype(int)
        except ImageError:
            with pytest.raises(ImageError):
                read_viewer_image(path)
            continue
        image = read_viewer_image(path)
        if image.pixels.ndim == 2 and shown.ndim == 2:
            num_grey += 1
            assert np.abs(as_the_page_draws(image) - shown).max() <= 1, path
    assert num_grey >= 10, f"{num_grey} grey files of {len(files)}"
