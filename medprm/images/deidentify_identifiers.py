"""The identifiers that a file states of its patient, and the search for them in what is about to be written.

In: the data set as it came. Out: strings, kept in memory only. Names part by part, numbers, addresses, dates in several
spellings, UIDs; from free text and private elements what looks like a number of somebody.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import DataElement, Dataset
from pydicom._uid_dict import UID_dictionary

from medprm.images.files import ImageError

_FREE_VRS = ("AE", "LO", "LT", "SH", "ST", "UC", "UN", "UR", "UT", "OB")
# What a file says of the person, the visit, the place and the device, each in a text of its own.
_IDENTITY = re.compile(
    "PatientID|OtherPatientIDs|IssuerOf|AccessionNumber|StudyID|Address|TelephoneNumber|Telecom|InstitutionName|"
    "InstitutionalDepartmentName|StationName|SerialNumber|AdmissionID|ServiceEpisodeID|ProcedureID|ProcedureStepID|"
    "PlacerOrderNumber|FillerOrderNumber|PersonName|Physician|Operator|BirthName|InsurancePlan|RegistrationNumber|"
    "DetectorID|PlateID|CassetteID|UID$"
)
# Stand-ins that name nobody.
_NOBODY = frozenset(
    ("anonymous", "anonymized", "anon", "none", "unknown", "patient", "test", "name", "doctor", "null", "removed")
)
_ID_LIKE = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-/_.]*\d[A-Za-z0-9\-/_.]*")
LEAST_LETTERS = 3
# In bytes that are not text, three letters stand together by chance.
LEAST_IN_BYTES = 4
LEAST_IN_PIXELS = 6


@dataclass(frozen=True)
class Identifiers:
    """Lower-cased. `stated`: of elements whose meaning is identity; `alike`: id-like parts of other removed text."""

    stated: frozenset[str] = field(repr=False)
    alike: frozenset[str] = field(repr=False)

    @property
    def num_all(self) -> int:
        return len(self.stated | self.alike)

    def without(self, known_harmless: Iterable[str]) -> "Identifiers":
        """Less those that are also words which every file holds, such as a patient called Chest."""
        harmless = {word.lower() for word in known_harmless}
        return Identifiers(self.stated - harmless, self.alike - harmless)

    def in_text(self, text: str) -> bool:
        """Whether one of them stands in a text, as a word of its own or, from 6 characters, inside a longer one."""
        folded = text.lower()
        return any(_stands_in(one, folded) for one in self.stated | self.alike)

    def in_number(self, text: str) -> bool:
        """Whether a number is one of them; shorter ones than 6 digits meet by chance."""
        return len(text) >= LEAST_IN_PIXELS and text.lower() in self.stated | self.alike

    def num_in_bytes(self, data: bytes, least_length: int = LEAST_IN_BYTES) -> int:
        """How many of them the bytes hold, as Latin-1, UTF-8 or UTF-16, in capitals or not."""
        folded = data.lower()
        words = [one for one in self.stated | self.alike if len(one) >= least_length]
        return sum(any(_is_in_bytes(form, folded) for form in _byte_forms(one)) for one in words)


def collect(dataset: Dataset, more: Iterable[str] = ()) -> Identifiers:
    """What the data set says of its patient, the file meta group, private elements and sequences included."""
    stated, alike = set(_spellings(more)), set()
    elements = [*_all_elements(dataset), *_all_elements(getattr(dataset, "file_meta", Dataset()))]
    for element in elements:
        texts = [text for value in _values(element) if (text := _text(value).strip())]
        if element.VR == "PN":
            stated |= {part for text in texts for part in name_parts(text)}
        elif element.VR == "UI":
            stated |= {text for text in texts if text not in UID_dictionary}
        elif element.VR in ("DA", "DT"):
            stated |= {spelling for text in texts for spelling in date_spellings(text)}
        elif _IDENTITY.search(element.keyword or ""):
            stated |= set(_spellings(texts))
        elif element.VR in _FREE_VRS:
            alike |= {one.strip(".-_/").lower() for text in texts for one in _ID_LIKE.findall(text) if _is_id(one)}
    kept = frozenset(one for one in stated if len(one) >= LEAST_LETTERS and one not in _NOBODY)
    return Identifiers(kept, frozenset(alike) - kept)


def read_identifiers(path: str) -> tuple[str, ...]:
    """Identifiers from elsewhere (an admission list), one a line. Raises ImageError."""
    if not path:
        return ()
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"identifiers_file {path}: cannot be read as UTF-8 text ({error})") from error
    return tuple(line.strip() for line in lines if line.strip())


def name_parts(name: str) -> set[str]:
    """`DOE^JOHN A` -> doe, john; parts shorter than 3 letters are left out, they are in every text."""
    parts = re.split(r"[\^=\s,.;/\\]+", name.lower())
    return {part for part in parts if len(part) >= LEAST_LETTERS and part not in _NOBODY}


def date_spellings(text: str) -> set[str]:
    """A DICOM date as it is commonly written: 19500102, 1950-01-02, 02.01.1950, 01/02/1950, 02/01/1950."""
    found = re.match(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})", text.strip())
    if found is None:
        return set()
    year, month, day = found.groups()
    return {
        year + month + day,
        *(f"{year}{mark}{month}{mark}{day}" for mark in "-./"),
        *(f"{day}{mark}{month}{mark}{year}" for mark in "-./"),
        *(f"{month}{mark}{day}{mark}{year}" for mark in "-./"),
    }


def _spellings(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        folded = text.strip().lower()
        yield folded
        bare = re.sub(r"[\s\-./_()+]+", "", folded)
        if len(bare) >= LEAST_IN_PIXELS:
            yield bare


def _is_id(token: str) -> bool:
    digits = sum(character.isdigit() for character in token)
    is_decimal = re.fullmatch(r"\d+\.\d*", token) is not None
    # Short numbers without a letter are counts, and meet InstanceNumber and the like by chance.
    return digits >= 4 and len(token) >= (LEAST_IN_PIXELS if token.isdigit() else 5) and not is_decimal


def _all_elements(dataset: Dataset) -> Iterator[DataElement]:
    for tag in list(dataset.keys()):
        if tag >> 16 == 0x7FE0:
            continue
        try:
            element = dataset[tag]
        # A damaged element cannot be converted, so there is no text to search for; it is removed later.
        except Exception:
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from _all_elements(item)
        else:
            yield element


def _values(element: DataElement) -> list[object]:
    if element.value is None or element.VM == 0:
        return []
    return list(element.value) if element.VM > 1 else [element.value]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        # Private elements of an unknown VR are often text all the same.
        return value.decode("latin-1") if len(value) <= 1024 else ""
    return str(value)


def _stands_in(one: str, text: str) -> bool:
    if one not in text:
        return False
    if len(one) >= LEAST_IN_PIXELS and not one.isdigit():
        return True
    return re.search(rf"(?<![a-z0-9]){re.escape(one)}(?![a-z0-9])", text) is not None


def _byte_forms(one: str) -> set[bytes]:
    forms = {one.encode("utf-8"), one.encode("utf-16-le")}
    return forms | {one.encode("latin-1")} if all(ord(character) < 256 for character in one) else forms


def _is_in_bytes(form: bytes, data: bytes) -> bool:
    if form not in data:
        return False
    if len(form) >= LEAST_IN_PIXELS and not form.isdigit():
        return True
    return re.search(rb"(?<![a-z0-9])" + re.escape(form) + rb"(?![a-z0-9])", data) is not None
