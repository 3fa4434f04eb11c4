"""Write a film as a valid DICOM file (Digital X-Ray, PS3.3 A.26), 12 bits stored in 16. No tag tells the truth."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

BITS_STORED = 12


def write_film(path: Path, film: np.ndarray, *, patient_id: str, seed_text: str, rng: np.random.Generator) -> None:
    """film (H, W) float in [0, 1], bright = dense. Photometric interpretation, offset and window vary between files."""
    is_inverted = bool(rng.random() < 0.3)  # MONOCHROME1: low numbers are shown bright
    offset, span = int(rng.integers(0, 300)), int(rng.integers(2800, 3700))
    stored = np.round(offset + span * (1.0 - film if is_inverted else film)).astype(np.uint16)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[seed_text, "instance"])
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[seed_text, "study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[seed_text, "series"])
    dataset.PatientID, dataset.PatientName = patient_id, "Phantom"
    dataset.PatientIdentityRemoved = "YES"
    dataset.BurnedInAnnotation = "NO"
    dataset.Modality, dataset.BodyPartExamined = "DX", "CHEST"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.StudyDescription = "Phantom, not a patient"
    dataset.Rows, dataset.Columns = film.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME1" if is_inverted else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if is_inverted else "IDENTITY"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS_STORED, BITS_STORED - 1
    dataset.WindowCenter, dataset.WindowWidth = offset + span / 2, span
    dataset.PixelData = stored.tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
