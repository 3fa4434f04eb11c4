"""Burned-in text is found and covered; markers and drawn anatomy are left alone."""

import io
from pathlib import Path

import numpy as np
import planted
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian

from medprm.images.deidentify import HeldBack, deidentify_file
from medprm.images.deidentify_burned_in import find_text, is_only_markers
from medprm.images.deidentify_settings import DeidentifySettings

pytest.importorskip("rapidocr", reason="rapidocr: medprm[ocr]")


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPRM_DEIDENTIFY_SECRET", "0123456789abcdef0123456789abcdef")


def film_with(text: str, at: tuple[int, int] = (20, 20)) -> np.ndarray:
    """Grey 8-bit film of 200 x 320 with a soft shape and a text."""
    row, column = np.mgrid[0:200, 0:320] / 200
    picture = Image.fromarray((60 + 50 * np.exp(-((row - 0.5) ** 2 + (column - 0.8) ** 2) * 8)).astype(np.uint8))
    font = ImageFont.truetype(str(planted.FONTS / "DejaVuSans.ttf"), 16)
    ImageDraw.Draw(picture).text(at, text, fill=255, font=font)
    return np.asarray(picture)


def as_dicom(pixels: np.ndarray, photometric: str = "MONOCHROME2", planar: int = 0) -> FileDataset:
    film = planted.plant_headers(0, 1).dataset
    frames = pixels.shape[0] if pixels.ndim == 4 or (pixels.ndim == 3 and pixels.shape[-1] != 3) else 0
    film.Rows, film.Columns = pixels.shape[1:3] if frames else pixels.shape[:2]
    if frames:
        film.NumberOfFrames = frames
    film.SamplesPerPixel = 3 if pixels.shape[-1] == 3 else 1
    if film.SamplesPerPixel == 3:
        film.PlanarConfiguration = planar
        pixels = np.moveaxis(pixels, -1, 0) if planar else pixels
    film.PhotometricInterpretation = photometric
    film.BitsAllocated, film.BitsStored, film.HighBit = 8, 8, 7
    film.PixelData = pixels.tobytes()
    film["PixelData"].VR = "OB"
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    return dcmread(io.BytesIO(buffer.getvalue()))


@pytest.mark.parametrize(("photometric", "black"), [("MONOCHROME2", "min"), ("MONOCHROME1", "max")])
def test_text_is_covered_and_the_rest_stays(photometric: str, black: str) -> None:
    pixels = film_with("OBERHUBER, Anna 4711982")
    if photometric == "MONOCHROME1":
        pixels = 255 - pixels
    dataset, report = deidentify_file(as_dicom(pixels, photometric), DeidentifySettings())
    after = dataset.pixel_array
    assert report.redacted and dataset.BurnedInAnnotation == "NO"
    assert "113101" in [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence]
    inside = np.zeros(pixels.shape, dtype=bool)
    for _, left, top, right, bottom in report.redacted:
        inside[top:bottom, left:right] = True
    assert (after[inside] == getattr(pixels, black)()).all() and np.array_equal(after[~inside], pixels[~inside])
    assert not [box for box in find_text(after if black == "min" else 255 - after) if not box.is_marker]


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_is_covered_in_both_layouts(planar: int) -> None:
    pixels = np.repeat(film_with("OBERHUBER, Anna")[..., None], 3, axis=2)
    dataset, report = deidentify_file(as_dicom(pixels, "RGB", planar), DeidentifySettings())
    _, left, top, right, bottom = report.redacted[0]
    assert not dataset.pixel_array[top:bottom, left:right].any()
    assert np.array_equal(dataset.pixel_array[bottom + 5 :], pixels[bottom + 5 :])


def test_every_frame_is_looked_at() -> None:
    frames = np.stack([film_with(""), film_with("OBERHUBER, Anna", (20, 100))])
    dataset, report = deidentify_file(as_dicom(frames), DeidentifySettings())
    assert {box[0] for box in report.redacted} == {1}
    assert np.array_equal(dataset.pixel_array[0], frames[0])


def test_text_beyond_the_window_is_found() -> None:
    film = as_dicom((film_with("OBERHUBER, Anna") // 4 + 150).astype(np.uint8))
    film.WindowCenter, film.WindowWidth = 60, 40  # all of it is shown white
    assert deidentify_file(film, DeidentifySettings())[1].redacted


def test_hold_refuses_and_says_how_much() -> None:
    with pytest.raises(HeldBack, match="1 pieces of text in the pixels"):
        deidentify_file(as_dicom(film_with("OBERHUBER, Anna")), DeidentifySettings(burned_in="hold"))


@pytest.mark.parametrize("marker", ["PORTABLE", "ERECT PA", ""])
def test_markers_stay(marker: str) -> None:
    film = as_dicom(film_with(marker, (180, 150)))
    dataset, report = deidentify_file(film, DeidentifySettings(burned_in="hold"))
    assert not report.redacted and dataset.PixelData == film.PixelData


@pytest.mark.parametrize("text", ["L", "AP ERECT", "ERECT", "EREC", "kV 12"])
def test_what_a_marker_is(text: str) -> None:
    assert is_only_markers(text)


@pytest.mark.parametrize("text", ["DOE JOHN", "4711982", "12.03.61"])
def test_what_no_marker_is(text: str) -> None:
    assert not is_only_markers(text)


def test_real_files_with_made_up_patients(real_data: Path) -> None:
    """A localiser with a name and a birth date in its corner (pseudo-PHI), RLE; a drawing without text, JPEG."""
    film, report = deidentify_file(dcmread(real_data / "dicom_presidio_phi" / "2_ORIGINAL.dicom"), DeidentifySettings())
    assert len(report.redacted) == 2 and film.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    drawing = dcmread(real_data / "dicom_deid_data" / "ctbrain1.dcm")
    cleaned, report = deidentify_file(drawing, DeidentifySettings())
    assert not report.redacted and cleaned.PixelData == drawing.PixelData


@pytest.mark.slow
def test_twenty_films_with_text_and_twenty_without() -> None:
    """benchmarks/deidentification.py has 200 of each."""
    found = alarms = 0
    for seed in range(20):
        burned = planted.burn_text(seed, has_text=True)
        covered = np.zeros(burned.film.shape, dtype=bool)
        for box in find_text((burned.film * 255).astype(np.uint8)):
            covered[box.top : box.bottom, box.left : box.right] |= not box.is_marker
        found += all(covered[ink].mean() >= 0.9 for ink in burned.ink)
        clean = planted.burn_text(1000 + seed, has_text=False)
        alarms += any(not box.is_marker for box in find_text((clean.film * 255).astype(np.uint8)))
    assert found >= 18 and alarms <= 2
