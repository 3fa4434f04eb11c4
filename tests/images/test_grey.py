"""Grey rendering: against pydicom's own functions, and by values worked out by hand."""

import numpy as np
import pytest
from pydicom import Dataset, Sequence
from pydicom.pixels.processing import apply_modality_lut, apply_windowing

from medprm.images.grey import apply_window, render_grey


def grey_dataset(**attributes) -> Dataset:
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def lut(entries: list[int], first: int, num_bits: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, num_bits])
    item.add_new("LUTData", "US", entries)
    return Sequence([item])


@pytest.mark.filterwarnings("ignore:overflow")  # in pydicom's sigmoid
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(600.0, 1600.0), (40.0, 2.0), (-500.5, 333.25), (0.0, 4096.0)])
def test_window_equals_pydicom(function: str, center: float, width: float) -> None:
    values = np.arange(-2048, 2048).astype(np.int16)
    dataset = grey_dataset(
        WindowCenter=center, WindowWidth=width, VOILUTFunction=function, BitsStored=12, PixelRepresentation=1
    )
    reference = apply_windowing(values, dataset)
    share = apply_window(values.astype(np.float64), center, width, function)
    # pydicom maps to the stored range -2048..2047; measured 4e-13 of a grey level of 4,095.
    assert np.abs(share * 4095 - 2048 - reference).max() < 1e-9


def test_window_of_width_one_is_a_threshold() -> None:
    share = apply_window(np.array([9.0, 9.5, 9.6, 10.0]), 10.0, 1.0)
    assert share.tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("center", "width", "function"),
    [(0.0, 0.0, "LINEAR"), (0.0, 0.5, "LINEAR"), (0.0, -3.0, "SIGMOID"), (float("nan"), 4.0, "LINEAR")],
)
def test_senseless_windows_are_refused(center: float, width: float, function: str) -> None:
    with pytest.raises(ValueError, match="width"):
        apply_window(np.zeros(2), center, width, function)


def test_unknown_voi_function_is_refused() -> None:
    with pytest.raises(ValueError, match="CUBIC"):
        apply_window(np.zeros(2), 0.0, 2.0, "CUBIC")


def test_rescale_comes_before_the_window(ramp: np.ndarray) -> None:
    dataset = grey_dataset(RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=401)
    pixels, applied = render_grey(ramp, dataset, 0)
    # Window 40/401 runs from -160.5 + 0.0 to 239.5 in HU: stored 432 is -160 HU, 632 is 240 HU.
    assert pixels[ramp == 431].item() == 0 and pixels[ramp == 632].item() == 255
    assert pixels[ramp == 532].item() == pytest.approx(128, abs=1)
    assert applied["modality"] == {"kind": "rescale", "slope": 2.0, "intercept": -1024.0}
    assert applied["window"]["kind"] == "window"


def test_first_of_several_windows_is_used(ramp: np.ndarray) -> None:
    several = render_grey(ramp, grey_dataset(WindowCenter=[300, 2000], WindowWidth=[200, 4000]), 0)
    first = render_grey(ramp, grey_dataset(WindowCenter=300, WindowWidth=200), 0)
    assert np.array_equal(several.pixels, first.pixels)
    assert several.applied["window"]["center"] == 300.0


def test_min_max_without_a_window_uses_the_whole_range(ramp: np.ndarray) -> None:
    pixels, applied = render_grey(ramp, grey_dataset(), 0)
    assert np.array_equal(pixels, np.rint(ramp / 4095 * 255))
    assert applied["window"] == {"kind": "min_max", "minimum": 0.0, "maximum": 4095.0}


def test_monochrome1_is_the_negative(ramp: np.ndarray) -> None:
    for attributes in ({}, {"WindowCenter": 1000, "WindowWidth": 700}):
        bright = render_grey(ramp, grey_dataset(**attributes), 0)
        dark = render_grey(ramp, grey_dataset(**attributes, PhotometricInterpretation="MONOCHROME1"), 0)
        assert np.abs(bright.pixels.astype(int) + dark.pixels - 255).max() <= 1
        assert dark.applied["inverted"] and not bright.applied["inverted"]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("padding", [-2000, 63536])
def test_padding_is_left_out_of_the_range_and_black(photometric: str, padding: int) -> None:
    stored = np.array([[-2000, -2000, 100], [150, 200, 300]], dtype=np.int16)
    dataset = grey_dataset(PhotometricInterpretation=photometric)
    # 63536 is -2000 written as unsigned, as some devices do.
    dataset.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)
    pixels, applied = render_grey(stored, dataset, 0)
    assert applied["num_padding_pixels"] == 2
    assert (applied["window"]["minimum"], applied["window"]["maximum"]) == (100.0, 300.0)
    assert pixels[0, :2].tolist() == [0, 0]
    assert sorted(pixels[[0, 1], [2, 2]].tolist()) == [0, 255]


def test_padding_range() -> None:
    stored = np.array([[0, 5, 10, 60, 200]], dtype=np.uint16)
    pixels, applied = render_grey(stored, grey_dataset(PixelPaddingValue=0, PixelPaddingRangeLimit=10), 0)
    assert applied["num_padding_pixels"] == 3
    assert pixels.tolist() == [[0, 0, 0, 0, 255]]


def test_nothing_but_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="padding"):
        render_grey(np.full((2, 2), 7, dtype=np.uint16), grey_dataset(PixelPaddingValue=7), 0)


def test_constant_image_is_black_not_an_error() -> None:
    pixels, applied = render_grey(np.full((2, 3), 900, dtype=np.uint16), grey_dataset(), 0)
    assert not pixels.any() and applied["window"]["minimum"] == applied["window"]["maximum"] == 900.0


def test_modality_lut_equals_pydicom_and_goes_before_the_window() -> None:
    stored = np.arange(-6, 6, dtype=np.int16).reshape(3, 4)
    dataset = grey_dataset(ModalityLUTSequence=lut([10, 20, 40, 80, 160], -2, 8), WindowCenter=80.5, WindowWidth=161)
    mapped = apply_modality_lut(stored, dataset)
    pixels, applied = render_grey(stored, dataset, 0)
    expected = np.rint(apply_window(mapped.astype(np.float64), 80.5, 161.0) * 255)
    assert np.array_equal(pixels, expected) and len(np.unique(pixels)) == 5
    assert applied["modality"] == {"kind": "lut", "num_bits": 8}


def test_voi_lut_wins_over_the_window_and_scales_by_its_own_depth() -> None:
    stored = np.arange(8, dtype=np.uint16).reshape(2, 4)
    entries = [0, 0, 1023, 512]
    dataset = grey_dataset(VOILUTSequence=lut(entries, 2, 10), WindowCenter=4, WindowWidth=2)
    pixels, applied = render_grey(stored, dataset, 0)
    assert pixels.ravel().tolist() == [0, 0, 0, 0, 255, 128, 128, 128]
    assert applied["window"] == {"kind": "voi_lut", "index": 0, "num_bits": 10}


def test_lut_that_does_not_hold_what_it_says_is_refused() -> None:
    for entries, num_bits in (([0, 300], 8), ([0, 1], 0)):
        with pytest.raises(ValueError, match="lookup table"):
            render_grey(np.zeros((1, 2), dtype=np.uint8), grey_dataset(VOILUTSequence=lut(entries, 0, num_bits)), 0)


def test_each_frame_has_its_own_window_in_enhanced_objects() -> None:
    def group(name: str, **attributes) -> Dataset:
        outer = Dataset()
        setattr(outer, name, Sequence([grey_dataset(**attributes)]))
        return outer

    dataset = grey_dataset(WindowCenter=5000, WindowWidth=2)
    dataset.SharedFunctionalGroupsSequence = Sequence(
        [group("PixelValueTransformationSequence", RescaleSlope=10, RescaleIntercept=0)]
    )
    dataset.PerFrameFunctionalGroupsSequence = Sequence(
        [group("FrameVOILUTSequence", WindowCenter=center, WindowWidth=100) for center in (100, 200)]
    )
    stored = np.array([[4, 10, 16, 20, 26]], dtype=np.uint16)
    first, second = (render_grey(stored, dataset, frame) for frame in (0, 1))
    assert (first.applied["window"]["center"], second.applied["window"]["center"]) == (100.0, 200.0)
    assert first.applied["modality"]["slope"] == 10.0
    assert first.pixels[0, 2] == 255 and second.pixels[0, 1] == 0 and second.pixels[0, 4] == 255


def test_zero_slope_is_refused() -> None:
    with pytest.raises(ValueError, match="RescaleSlope"):
        render_grey(np.zeros((1, 1), dtype=np.uint8), grey_dataset(RescaleSlope=0, RescaleIntercept=5), 0)


def test_floats_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        render_grey(np.array([[1.0, np.inf]], dtype=np.float32), grey_dataset(), 0)
