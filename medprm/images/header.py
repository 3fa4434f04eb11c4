"""What a DICOM header says that a case needs: who, which study, which view. No pixel is read.

In: a pydicom data set. Out: `DicomFacts`, every value a string, a number or None, never an exception: a header of the
wild has empty, repeated and wrongly typed values, and one bad element must not cost the picture.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

_DAYS_PER_UNIT = {"D": 1, "W": 7, "M": 30.4375, "Y": 365.25}


@dataclass(frozen=True)
class DicomFacts:
    """Facts of one file; absent and empty values are None."""

    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    laterality: str | None = None
    patient_id: str | None = None
    # Whole years, rounded down; 0 for infants.
    age: int | None = None
    sex: str | None = None
    study_id: str | None = None
    series_id: str | None = None
    sop_instance_uid: str | None = None
    series_number: int | None = None
    instance_number: int | None = None
    num_frames: int = 1
    rows: int | None = None
    columns: int | None = None
    burned_in: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_facts(dataset: Dataset) -> DicomFacts:
    """The facts of a data set."""
    return DicomFacts(
        modality=_text(dataset, "Modality"),
        body_part=_text(dataset, "BodyPartExamined"),
        view=_text(dataset, "ViewPosition"),
        laterality=_text(dataset, "ImageLaterality") or _text(dataset, "Laterality"),
        patient_id=_text(dataset, "PatientID"),
        age=age_in_years(_text(dataset, "PatientAge")),
        sex=_text(dataset, "PatientSex"),
        study_id=_text(dataset, "StudyInstanceUID"),
        series_id=_text(dataset, "SeriesInstanceUID"),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        series_number=_integer(dataset, "SeriesNumber"),
        instance_number=_integer(dataset, "InstanceNumber"),
        num_frames=_integer(dataset, "NumberOfFrames") or 1,
        rows=_integer(dataset, "Rows"),
        columns=_integer(dataset, "Columns"),
        burned_in=_text(dataset, "BurnedInAnnotation"),
    )


def is_whole_slide(dataset: Dataset) -> bool:
    """Whether the file is a whole-slide image: thousands of tiles, none of which is the slide."""
    return _text(dataset, "SOPClassUID") == VLWholeSlideMicroscopyImageStorage


def age_in_years(age: str | None) -> int | None:
    """`063Y`, `018M`, `003W`, `010D` (PS3.5, AS) -> whole years; None for anything else."""
    found = re.fullmatch(r"(\d{1,3})([DWMY])", age or "")
    return int(int(found[1]) * _DAYS_PER_UNIT[found[2]] / 365.25) if found else None


def _text(dataset: Dataset, name: str) -> str | None:
    value = _value(dataset, name)
    if value is None or not isinstance(value, (str, int, float)):
        return None
    # Null bytes pad values in old files; what cannot be written as UTF-8 becomes a question mark.
    text = " ".join(str(value).replace("\0", " ").split()).encode("utf-8", "replace").decode()
    return text or None


def _integer(dataset: Dataset, name: str) -> int | None:
    value = _value(dataset, name)
    try:
        return int(value) if isinstance(value, (str, int, float)) else None
    except (ValueError, OverflowError):
        return None


def _value(dataset: Dataset, name: str) -> Any:
    try:
        value = dataset.get(name)
    # Values are parsed when they are asked for, and a bad one raises as many types as pydicom has parsers.
    except Exception:
        return None
    return value[0] if isinstance(value, MultiValue) and value else value
