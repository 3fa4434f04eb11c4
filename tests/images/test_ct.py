"""CT slices in Hounsfield units: real files, against pydicom's rescale; what is not in HU is refused."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from medprm.images.dicom import load_dicom
from medprm.images.files import ImageError
from medprm.images.hounsfield import render_windows
from medprm.images.load import load_image


def test_a_real_slice_through_three_windows() -> None:
    path = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    dataset = dcmread(path)
    values_hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    windows = ("lung", "soft_tissue", "bone")
    image = load_dicom(path, windows=windows)
    assert np.array_equal(image.pixels, render_windows(values_hu, windows)) and image.pixels.shape == (128, 128, 3)
    assert image.applied["window"]["windows"][0] == ["lung", -600, 1500]
    assert np.array_equal(load_dicom(path, windows=("40/400",)).pixels, render_windows(values_hu, ("40/400",)))
    assert len({image.pixels[..., channel].tobytes() for channel in range(3)}) == 3


def test_padding_is_black_in_every_channel(write_dicom) -> None:
    stored = np.full((8, 8), 1064, dtype=np.int16)
    stored[0] = -2000
    path = write_dicom(stored, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024, PixelPaddingValue=-2000)
    pixels = load_dicom(path, windows=("bone", "soft_tissue", "brain")).pixels
    assert not pixels[0].any() and pixels[1, 0].tolist() == [77, 121, 129]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"Modality": "DX"}, "for modality 'DX'"),
        ({"Modality": "CT"}, "a CT without Hounsfield units"),
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"}, "type 'US'"),
        ({"Modality": "CT", "RescaleSlope": 1, "PhotometricInterpretation": "MONOCHROME1"}, "a CT in MONOCHROME1"),
    ],
)
def test_what_is_not_in_hounsfield_units_is_refused(write_dicom, ramp: np.ndarray, attributes: dict, said: str) -> None:
    path = write_dicom(ramp, **attributes)
    with pytest.raises(ImageError, match=rf"image\.dcm: .*{said}"):
        load_dicom(path, windows=("lung",))


def test_a_picture_has_no_hounsfield_units(tmp_path: Path, write_dicom) -> None:
    from PIL import Image

    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    rgb = write_dicom(np.zeros((4, 4, 3), dtype=np.uint8), Modality="CT")
    for path in (tmp_path / "a.png", rgb):
        with pytest.raises(ImageError, match="no Hounsfield units"):
            load_image(path, windows=("lung",))
