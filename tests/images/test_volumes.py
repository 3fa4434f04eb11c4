"""NIfTI volumes: whatever the axis order of the file, the same voxel is at the same place of the picture."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from medprm.errors import InputError
from medprm.images.files import ImageError
from medprm.images.settings import ImageLimits
from medprm.images.volumes import open_volume

nibabel = pytest.importorskip("nibabel")

# x towards the patient's right, y to the front, z to the head, in voxels.
SHAPE = (6, 5, 4)


def patient() -> np.ndarray:
    """Air, with bone at the right front of slice 1 and lung at the left back of slice 3."""
    values = np.full(SHAPE, -1000, dtype=np.int16)
    values[5, 4, 1] = 400
    values[0, 0, 3] = -600
    return values


def write(path: Path, codes: str = "RAS", values: np.ndarray | None = None) -> Path:
    """The patient with the file's axes pointing as `codes` says."""
    image = nibabel.Nifti1Image(patient() if values is None else values, np.diag([0.5, 0.6, 2.0, 1.0]))
    image.set_sform(image.affine, code=1)
    orientation = nibabel.orientations.axcodes2ornt(codes)
    nibabel.save(
        image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), orientation)),
        path,
    )
    return path


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "SAR", "PIL", "ILA"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_patients_right_is_on_the_left_in_every_axis_order(tmp_path: Path, codes: str, suffix: str) -> None:
    volume = open_volume(write(tmp_path / f"volume{suffix}", codes))
    assert (volume.num_slices, volume.height, volume.width) == (4, 5, 6)
    assert volume.spacing_mm == pytest.approx((0.5, 0.6, 2.0)) and volume.has_orientation
    with_bone, with_lung = volume.slice(1), volume.slice(3)
    assert with_bone.shape == (5, 6) and with_bone.dtype == np.float32
    assert np.argwhere(with_bone > -1000).tolist() == [[0, 0]], "right and front: top left"
    assert np.argwhere(with_lung > -1000).tolist() == [[4, 5]], "left and back: bottom right"


def test_windows_as_colours(tmp_path: Path) -> None:
    picture = np.asarray(open_volume(write(tmp_path / "v.nii")).picture(1, ("lung", "soft_tissue", "bone")))
    assert picture[0, 0].tolist() == [255, 255, 128]
    assert picture[4, 5].tolist() == [60, 0, 0]  # air: (-1000 + 600.5) / 1499 + 0.5 of the lung window
    with pytest.raises(InputError, match="window 'lungs'"):
        open_volume(tmp_path / "v.nii").picture(1, ("lungs",))


def test_the_files_slope_is_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(patient().astype(np.float32), np.eye(4))
    image.header.set_data_dtype(np.int16)
    image.header.set_slope_inter(2.0, -1000)
    nibabel.save(image, tmp_path / "scaled.nii")
    volume = open_volume(tmp_path / "scaled.nii")
    # nibabel writes the numbers as they are: 2 x -1000 - 1000.
    assert volume.slice(3).min() == -3000 and volume.slice(1).max() == 2 * 400 - 1000


def test_damaged_and_foreign_files_say_what_they_are(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[:-3])
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(whole)[:-40])
    (tmp_path / "text.nii").write_text("no volume")
    (tmp_path / "text.nii.gz").write_text("no volume")
    write(tmp_path / "four.nii", values=np.zeros((3, 3, 3), dtype=np.int16))
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3, 2), dtype=np.int16), np.eye(4)), tmp_path / "four.nii")
    for name, said in (
        ("cut.nii", "the header announces"),
        ("text.nii", "not a readable NIfTI"),
        ("text.nii.gz", "not a readable NIfTI"),
        ("absent.nii", "no such file"),
        ("four.nii", r"shape \(3, 3, 3, 2\)"),
    ):
        with pytest.raises(ImageError, match=f"{name}: .*{said}"):
            open_volume(tmp_path / name)
    with pytest.raises(ImageError, match="cut.nii.gz: "):
        open_volume(tmp_path / "cut.nii.gz").slice(3)
    with pytest.raises(ImageError, match="slice 4; expected 0 to 3"):
        open_volume(tmp_path / "whole.nii").slice(4)
    with pytest.raises(ImageError, match="6 x 5 pixels, more than 29"):
        open_volume(tmp_path / "whole.nii", ImageLimits(max_pixels=29))


def test_a_file_without_orientation_is_marked(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(patient(), None)
    nibabel.save(image, tmp_path / "bare.nii")
    assert not open_volume(tmp_path / "bare.nii").has_orientation


def test_random_damage_gives_a_slice_or_an_image_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = np.frombuffer(write(tmp_path / "whole.nii").read_bytes(), dtype=np.uint8)
    path = tmp_path / "damaged.nii"
    for _ in range(300):
        damaged = data.copy()
        damaged[rng.integers(0, 352, rng.choice([1, 4, 20]))] ^= np.uint8(1) << rng.integers(0, 8, dtype=np.uint8)
        path.write_bytes(damaged.tobytes())
        try:
            volume = open_volume(path)
            assert volume.slice(volume.num_slices - 1).ndim == 2
        except ImageError as error:
            assert str(path) in str(error)
