"""A folder as a hospital exports it: DICOM files of several patients and kinds, and what else lies about."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_file(path: Path, seed: int = 0, side: int = 24, num_frames: int = 1, **attributes: Any) -> Path:
    """A chest radiograph, or whatever the attributes make of it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    kind = CTImageStorage if attributes.get("Modality") == "CT" else ComputedRadiographyImageStorage
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["instance", str(seed)])
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", str(seed // 2)])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(seed)])
    dataset.PatientID, dataset.PatientName = f"P{seed // 4:04d}", "Doe^Jane"
    dataset.PatientAge, dataset.PatientSex = f"{30 + seed % 50:03d}Y", "F"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, seed + 1
    dataset.Rows = dataset.Columns = side
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    shape = (num_frames, side, side) if num_frames > 1 else (side, side)
    if num_frames > 1:
        dataset.NumberOfFrames = num_frames
    dataset.PixelData = np.random.default_rng(seed).integers(0, 4096, shape, dtype=np.uint16).tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_folder(root: Path) -> Path:
    """Eight radiographs of two patients, a CT slice, a cine, and files that are no images."""
    for seed in range(8):
        write_file(root / f"p{seed // 4}" / f"s{seed // 2}" / f"{seed}.dcm", seed)
    write_file(root / "ct" / "slice", 8, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024, BodyPartExamined="HEAD")
    write_file(root / "cine.dcm", 12, num_frames=3)
    write_file(root / "hand.dcm", 16, BodyPartExamined="HAND")
    (root / "README.txt").write_text("exported by night")
    (root / "empty.dcm").write_bytes(b"")
    cut = (root / "p0" / "s0" / "0.dcm").read_bytes()
    (root / "cut.dcm").write_bytes(cut[:-300])
    return root
