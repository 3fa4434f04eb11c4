"""Small image files made on the spot: DICOM data sets with any attribute, written as Part 10 files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

WriteDicom = Callable[..., Path]


@pytest.fixture
def write_dicom(tmp_path: Path) -> WriteDicom:
    """`write_dicom(stored, name=..., syntax=..., **attributes)`: frames and RGB by the array's shape, else grey."""

    def write(stored: np.ndarray, name: str = "image.dcm", syntax: str = ExplicitVRLittleEndian, **attributes: Any):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=["test"])
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.SamplesPerPixel = 3 if stored.shape[-1] == 3 and stored.ndim > 2 else 1
        if dataset.SamplesPerPixel == 3:
            dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
        spatial = stored.shape[:-1] if dataset.SamplesPerPixel == 3 else stored.shape
        dataset.Rows, dataset.Columns = spatial[-2:]
        if len(spatial) == 3:
            dataset.NumberOfFrames = spatial[0]
        dataset.BitsAllocated = stored.dtype.itemsize * 8
        dataset.BitsStored = attributes.pop("BitsStored", dataset.BitsAllocated)
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.PixelData = stored.tobytes() + b"\x00" * (stored.nbytes % 2)
        dataset["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        path = tmp_path / name
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def ramp() -> np.ndarray:
    """0, 1, ... 4095 as 12-bit values in 64 x 64 pixels."""
    return np.arange(4096, dtype=np.uint16).reshape(64, 64)
