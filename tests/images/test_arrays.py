"""Pictures in HDF5 files, as PatchCamelyon is distributed; what reaches out of the file is refused."""

from pathlib import Path

import numpy as np
import pytest

from medprm.images.arrays import open_image_array, read_numbers
from medprm.images.files import ImageError
from medprm.images.settings import ImageLimits

h5py = pytest.importorskip("h5py")


@pytest.fixture
def patches() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 96, 96, 3), dtype=np.uint8)


def test_pictures_and_labels_as_they_were_written(tmp_path: Path, patches: np.ndarray) -> None:
    path = tmp_path / "camelyonpatch_level_2_split_test_x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=patches, chunks=(3, 96, 96, 3), compression="gzip")
        file["y"] = np.array([0, 1, 1, 0, 0, 1, 0], dtype=np.uint8).reshape(7, 1, 1, 1)
        file["grey"] = patches[..., :1]
    with open_image_array(path) as pictures:
        assert (len(pictures), pictures.size) == (7, (96, 96))
        assert np.array_equal(np.asarray(pictures.picture(6)), patches[6])
        with pytest.raises(ImageError, match="picture 7; expected 0 to 6"):
            pictures.picture(7)
    with open_image_array(path, "grey") as pictures:
        assert np.array_equal(pictures.pixels(2), patches[2, ..., 0]) and pictures.picture(2).mode == "RGB"
    assert read_numbers(path).tolist() == [0, 1, 1, 0, 0, 1, 0]


def test_what_reaches_out_of_the_file_is_refused(tmp_path: Path, patches: np.ndarray) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = patches
    path = tmp_path / "links.h5"
    with h5py.File(path, "w") as file:
        file["linked"] = h5py.ExternalLink("other.h5", "x")
        file.create_dataset("raw", (7, 96, 96, 3), "u1", external=[("raw.bin", 0, 7 * 96 * 96 * 3)])
        layout = h5py.VirtualLayout((7, 96, 96, 3), "u1")
        layout[:] = h5py.VirtualSource("other.h5", "x", (7, 96, 96, 3))
        file.create_virtual_dataset("virtual", layout)
    for name, said in (("linked", "no dataset 'linked'"), ("raw", "in other files"), ("virtual", "in other files")):
        with pytest.raises(ImageError, match=f"links.h5: .*{said}"), open_image_array(path, name):
            pass


def test_bombs_and_other_files_are_refused(tmp_path: Path, patches: np.ndarray) -> None:
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (1, 60_000, 60_000, 3), "u1", chunks=(1, 60, 60, 3), compression="gzip")
        file.create_dataset("chunk", (400, 1000, 1000, 3), "u1", chunks=(400, 1000, 1000, 3), compression="gzip")
        file.create_dataset("floats", (2, 8, 8, 3), "f4")
        file.create_dataset("y", (10**9,), "i8", chunks=(1000,))
    for name, said in (
        ("x", "60000 x 60000 pixels"),
        ("chunk", "chunks of 1,200,000,000 bytes"),
        ("floats", "float32"),
    ):
        with pytest.raises(ImageError, match=f"bomb.h5: .*{said}"), open_image_array(path, name):
            pass
    with pytest.raises(ImageError, match="1,000,000,000 values"):
        read_numbers(path)
    (tmp_path / "text.h5").write_text("no HDF5")
    for name, said in (("text.h5", "not a readable HDF5"), ("absent.h5", "no such file")):
        with pytest.raises(ImageError, match=f"{name}: {said}"), open_image_array(tmp_path / name):
            pass
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"bomb.h5: "), open_image_array(path, limits=ImageLimits()):
        pass
