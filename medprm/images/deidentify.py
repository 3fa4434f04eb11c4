"""A DICOM data set without what may identify its patient, and a report of what was taken away.

In: a data set as pydicom reads it. Out: a new one that holds the pixels, how they are shown, their geometry, view and
side, age and sex if wanted, with pseudonyms made from a secret; the original is left as it is. Afterwards every
identifier that the original stated is looked for again in the bytes to be written; what cannot be cleaned is held back.
This lowers the risk that somebody is recognised. It does not take it away: a face in a CT, a rare finding, a date in a
report remain. Source: PS3.15 annex E, with options 113101, 113107 and 113108.
"""

import io
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from pydicom import DataElement, Dataset, FileDataset
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

from medprm.images import deidentify_policy as policy
from medprm.images.deidentify_burned_in import cover_burned_in_text, require_reader
from medprm.images.deidentify_identifiers import LEAST_IN_PIXELS, Identifiers, collect, read_identifiers
from medprm.images.deidentify_pseudonyms import Pseudonyms, read_secret
from medprm.images.deidentify_settings import DeidentifySettings
from medprm.images.deidentify_stream import clean_pixel_bytes
from medprm.images.deidentify_values import Values, kept_terms
from medprm.images.files import ImageError

METHOD = "MedPRM: PS3.15 Basic Profile, listed elements only"
MAX_DEPTH = 8


@dataclass
class DeidentificationReport:
    """What happened to one file: tags, keywords and counts, never a value that was removed."""

    # The names the file has from now on.
    patient: str = ""
    sop_instance: str = ""
    # Reason -> how many elements were removed for it; and which, as tag and keyword.
    removed: Counter[str] = field(default_factory=Counter)
    removed_elements: list[str] = field(default_factory=list)
    replaced: Counter[str] = field(default_factory=Counter)
    # Taken from the pixel data: unused bits, bytes after the frames, comments in a compressed stream.
    pixel_data: list[str] = field(default_factory=list)
    # How many identifiers the file stated, and in which kept elements one was met again (removed, too).
    num_identifiers: int = 0
    found_again: list[str] = field(default_factory=list)
    # Burned-in text: looked for or not, what was covered as (frame, left, top, right, bottom) in pixels, and how many
    # markers such as L and R were left.
    burned_in: str = "off"
    redacted: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    num_markers_left: int = 0
    held_back: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain types, for a line of a report file."""
        return asdict(self) | {"removed": dict(self.removed), "replaced": dict(self.replaced)}

    def note_removed(self, tag: int, keyword: str, reason: str) -> None:
        """Count one element; the value is not looked at."""
        self.removed[reason] += 1
        self.removed_elements.append(f"({tag >> 16:04x},{tag & 0xFFFF:04x}) {keyword}".rstrip() + f": {reason}")


class HeldBack(ImageError):
    """A file that must not be written: what may identify its patient could not be taken out. Carries the report."""

    def __init__(self, reason: str, report: DeidentificationReport) -> None:
        report.held_back = reason
        self.report = report
        super().__init__(f"held back: {reason}")


def deidentify_file(dataset: Dataset, settings: DeidentifySettings) -> tuple[FileDataset, DeidentificationReport]:
    """The cleaned data set, ready for `save_as(..., enforce_file_format=True)`, and the report.

    Raises HeldBack where identity would remain, and ImageError where secret or library are missing.
    """
    secret = read_secret(settings)
    if settings.burned_in != "off":
        require_reader()  # a missing library is not a reason to hold one file back
    report = DeidentificationReport()
    _check_is_image(dataset, report)
    identifiers = collect(dataset, read_identifiers(settings.identifiers_file)).without(kept_terms())
    report.num_identifiers = identifiers.num_all
    pseudonyms = Pseudonyms(secret, _patient_key(dataset), settings.max_shift_days)
    values = Values(dataset, pseudonyms, settings, identifiers)
    cleaned = _clean(dataset, values, report, depth=0)
    if "PatientAge" not in cleaned and (age := values.derived_age()):
        cleaned.PatientAge = age
    result = _as_file(cleaned, dataset, pseudonyms, settings)
    report.patient, report.sop_instance = pseudonyms.patient, str(result.SOPInstanceUID)
    _clean_pixels(result, dataset, report)
    _clean_burned_in(result, settings, report)
    _verify(result, identifiers, report)
    return result, report


def _check_is_image(dataset: Dataset, report: DeidentificationReport) -> None:
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise HeldBack("holds no pixel data; reports, documents and waveforms are not cleaned here", report)
    meta = getattr(dataset, "file_meta", None)
    if meta is None or not meta.get("TransferSyntaxUID"):
        raise HeldBack("no Transfer Syntax UID (0002,0010), so the pixels cannot be read", report)
    if dataset.get("SOPClassUID") not in UID_dictionary:
        raise HeldBack("SOPClassUID (0008,0016) is missing or private, so what the file holds is not known", report)
    if not dataset.get("SOPInstanceUID"):
        raise HeldBack("SOPInstanceUID (0008,0018) is missing, so the file cannot be named; export it again", report)


def _patient_key(dataset: Dataset) -> str:
    """What stands for the patient: PatientID, else name and birth date, else the study, else the file."""
    patient_id = str(dataset.get("PatientID") or "").strip()
    if patient_id:
        return patient_id
    name = str(dataset.get("PatientName") or "").strip("^ ")
    if name:
        return f"{name}|{dataset.get('PatientBirthDate') or ''}"
    return str(dataset.get("StudyInstanceUID") or dataset.SOPInstanceUID)


def _clean(dataset: Dataset, values: Values, report: DeidentificationReport, depth: int) -> Dataset:
    if depth > MAX_DEPTH:
        raise HeldBack(f"sequences are nested deeper than {MAX_DEPTH}; the file is damaged or hostile", report)
    cleaned = Dataset()
    for tag in sorted(dataset.keys()):
        keyword = keyword_for_tag(tag)
        reason = policy.reason_to_remove(int(tag), keyword)
        if reason is None:
            try:
                element = dataset[tag]
            # pydicom raises many unrelated types on a damaged element.
            except Exception:
                reason = "damaged"
            else:
                reason = _keep(cleaned, element, values, report, depth)
        if reason is not None:
            report.note_removed(int(tag), keyword, reason)
    return cleaned


def _keep(
    cleaned: Dataset, element: DataElement, values: Values, report: DeidentificationReport, depth: int
) -> str | None:
    """Add what remains of an element; the reason where nothing does."""
    name = element.keyword
    if name in policy.CODE_SEQUENCES or name in policy.SEQUENCES:
        if element.VR != "SQ":
            return "damaged"
        if name in policy.CODE_SEQUENCES:
            items = [code for item in element.value if (code := values.known_code(item)) is not None]
            for _ in range(len(element.value) - len(items)):
                report.note_removed(int(element.tag), name, "code of no known scheme")
        else:
            items = [_clean(item, values, report, depth + 1) for item in element.value]
        if items:
            setattr(cleaned, name, items)
        return None
    kept = values.kept(element)
    if isinstance(kept, str):
        return kept
    if kept.change:
        report.replaced[kept.change] += 1
    if kept.was_found_again:
        report.found_again.append(name)
        if name in policy.ESSENTIAL:
            raise HeldBack(f"{name} holds an identifier, and the image cannot be read without it", report)
        return "holds an identifier of this file"
    cleaned.add(kept.element)
    return None


def _as_file(cleaned: Dataset, original: Dataset, pseudonyms: Pseudonyms, settings: DeidentifySettings) -> FileDataset:
    """With a new file meta group and preamble (both can hold anything), pseudonyms, and what was done."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = original.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = cleaned.SOPClassUID, cleaned.SOPInstanceUID
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    result = _file_dataset(cleaned, meta)
    result.PatientName = result.PatientID = pseudonyms.patient
    for name in policy.EMPTIED:
        setattr(result, name, "")
    result.PatientIdentityRemoved = "YES"
    result.DeidentificationMethod = METHOD
    options = [("113100", "Basic Application Confidentiality Profile")]
    if settings.keep_age_and_sex:
        options.append(("113108", "Retain Patient Characteristics Option"))
    if settings.dates == "shift":
        options.append(("113107", "Retain Longitudinal Temporal Information Modified Dates Option"))
    result.LongitudinalTemporalInformationModified = "MODIFIED" if settings.dates == "shift" else "REMOVED"
    result.DeidentificationMethodCodeSequence = [_option(*one) for one in options]
    return result


def _file_dataset(dataset: Dataset, meta: FileMetaDataset) -> FileDataset:
    result = FileDataset("", dataset, file_meta=meta, preamble=b"\0" * 128)
    result.set_original_encoding(meta.TransferSyntaxUID.is_implicit_VR, meta.TransferSyntaxUID.is_little_endian)
    return result


def _option(code: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", meaning
    return item


def _clean_pixels(result: FileDataset, original: Dataset, report: DeidentificationReport) -> None:
    bit_positions = [tag for tag in list(original.keys()) if tag >> 24 == 0x60 and tag & 0xFFFF == 0x0102]
    try:
        is_in_pixels = any(int(original[tag].value or 0) > 0 for tag in bit_positions)
        if is_in_pixels and result.file_meta.TransferSyntaxUID.is_encapsulated:
            raise ImageError("an overlay in the unused bits of compressed pixels; decompress the file first")
        report.pixel_data = clean_pixel_bytes(result)
    except ImageError as error:
        raise HeldBack(str(error), report) from error
    # pydicom raises many unrelated types on a damaged header or stream; their texts may quote it.
    except Exception as error:
        reason = f"the pixel data cannot be looked through ({type(error).__name__}); damaged"
        raise HeldBack(reason, report) from error


def _clean_burned_in(result: FileDataset, settings: DeidentifySettings, report: DeidentificationReport) -> None:
    report.burned_in = settings.burned_in
    if settings.burned_in == "off":
        return
    try:
        found = cover_burned_in_text(result, is_allowed=settings.burned_in == "redact")
    except ImageError as error:
        raise HeldBack(f"burned-in text could not be looked for: {error}", report) from error
    report.num_markers_left = found.num_markers
    if found.text and settings.burned_in == "hold":
        raise HeldBack(f"{len(found.text)} pieces of text in the pixels; look at them, or burned_in=redact", report)
    report.redacted = found.text
    result.BurnedInAnnotation = "NO"
    result.DeidentificationMethodCodeSequence.append(_option("113101", "Clean Pixel Data Option"))


def _verify(result: FileDataset, identifiers: Identifiers, report: DeidentificationReport) -> None:
    """Look for every identifier again in all bytes to be written; in those of pixels only for long ones."""
    header, pixels = _file_dataset(Dataset(), result.file_meta), []
    for element in result:
        if element.keyword in policy.BULK:
            pixels.append(element.value)
        else:
            header.add(element)
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    codes = [item for name in policy.CODE_SEQUENCES for item in result.get(name) or []]
    # Of pydicom's dictionary, not of the file.
    words = re.findall(r"\w+", " ".join(f"{item.CodeValue} {item.CodeMeaning}" for item in codes))
    num_found = identifiers.without(words).num_in_bytes(buffer.getvalue())
    if num_found:
        raise HeldBack(f"{num_found} identifiers of this file are still in the header that was to be written", report)
    num_found = sum(identifiers.num_in_bytes(data, LEAST_IN_PIXELS) for data in pixels)
    if num_found:
        raise HeldBack(f"{num_found} identifiers of this file stand as text in the bytes of the pixel data", report)
