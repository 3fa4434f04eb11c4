"""What is written for one element that the policy keeps: its value, a changed one, or nothing.

In: an element, the pseudonyms of its patient, the identifiers of its file. Out: the element to write, or the reason why
there is none. Values are written anew as plain ASCII, so nothing rides along in padding or character sets.
"""

import functools
import re
from datetime import date
from typing import NamedTuple

from pydicom import DataElement, Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_VR
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

from medprm.images import deidentify_policy as policy
from medprm.images.deidentify_identifiers import Identifiers
from medprm.images.deidentify_pseudonyms import Pseudonyms
from medprm.images.deidentify_settings import DeidentifySettings

_AGE = re.compile(r"(\d{3})([DWMY])")
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?|[+-]?\.\d+([eE][+-]?\d+)?")
# Counters and measures of an image are shorter; numbers of patients and visits are not.
_LONG_INTEGER = re.compile(r"[+-]?\d{6,}(\.0*)?")
_ORIENTATION = re.compile(r"[LRAPHF]{1,3}")


class Kept(NamedTuple):
    """An element to write; `change` in a word, or empty; whether it still holds an identifier of the file."""

    element: DataElement
    change: str = ""
    was_found_again: bool = False


class Values:
    """The rules for values, for one file."""

    def __init__(
        self, dataset: Dataset, pseudonyms: Pseudonyms, settings: DeidentifySettings, identifiers: Identifiers
    ) -> None:
        self._pseudonyms, self._settings, self._identifiers = pseudonyms, settings, identifiers
        self._derived_age = _age_text(dataset)

    def kept(self, element: DataElement) -> Kept | str:
        """The element to write, or why there is none."""
        name = element.keyword
        if name in policy.EMPTIED or name in ("PatientID", "PatientName"):
            return "pseudonym or empty instead"
        if element.VM == 0 or element.value is None:
            return "empty"
        if name == "PatientAge":
            return self._kept_age(element)
        if name == "PatientSex" and not self._settings.keep_age_and_sex:
            return "age and sex not wanted"
        if name in policy.CLASS_UIDS:
            return Kept(element) if str(element.value) in UID_dictionary else "not a standard UID"
        if name in policy.INSTANCE_UIDS:
            return Kept(_element(name, self._pseudonyms.uid(str(element.value))), "UID")
        if name in policy.DATES:
            return self._kept_date(element)
        if name in policy.TERMS:
            return _kept_terms(element)
        return self._kept_number(element)

    def derived_age(self) -> str:
        """PatientAge from birth and study date, capped, for a file that states none; empty if unknown or not wanted."""
        if not self._settings.keep_age_and_sex or not self._derived_age:
            return ""
        return capped_age(self._derived_age, self._settings.age_cap_years) or ""

    def known_code(self, item: Dataset) -> Dataset | None:
        """A code of SNOMED CT, SRT or DCM with the meaning of pydicom's own dictionary; None for all others.

        The meaning in the file is free text.
        """
        scheme, value = str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeValue", ""))
        if scheme in ("SRT", "SNM3", "99SDM"):
            scheme, value = "SCT", mapping["SRT"].get(value, "")
        meaning = _code_meanings(scheme).get(value)
        if meaning is None:
            return None
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning[:64]
        return code

    def _kept_age(self, element: DataElement) -> Kept | str:
        if not self._settings.keep_age_and_sex:
            return "age and sex not wanted"
        age = capped_age(str(element.value), self._settings.age_cap_years)
        if age is None:
            return "not an age"
        return Kept(_element("PatientAge", age), "age" if age != str(element.value) else "")

    def _kept_date(self, element: DataElement) -> Kept | str:
        if self._settings.dates == "remove":
            return "dates not wanted"
        moved = self._pseudonyms.shifted(str(element.value))
        return "not a date" if moved is None else Kept(_element(element.keyword, moved), "date")

    def _kept_number(self, element: DataElement) -> Kept | str:
        expected = dictionary_VR(element.tag)
        if element.VR not in expected and not (element.VR in ("OB", "OW", "US", "SS") and element.keyword):
            return "of another type than the standard's"
        values = list(element.value) if element.VM > 1 else [element.value]
        if element.VR in ("DS", "IS"):
            texts = [str(value).strip() for value in values]
            if not all(_NUMBER.fullmatch(text) for text in texts):
                return "not a number"
            if any(_LONG_INTEGER.fullmatch(text) for text in texts):
                return "a number as long as an identifier"
            return Kept(element, was_found_again=any(self._identifiers.in_number(text) for text in texts))
        if element.VR == "CS":  # PatientOrientation
            texts = [str(value).strip() for value in values]
            return Kept(element) if all(_ORIENTATION.fullmatch(text) for text in texts) else "not a term of the list"
        return Kept(element)


def capped_age(age: str, cap_years: int) -> str | None:
    """A DICOM age (`045Y`, `011M`, ...), or `090Y` for all over 89 by the default cap; None if it is none."""
    found = _AGE.fullmatch(age.strip())
    if found is None:
        return None
    years = int(found[1]) / _PER_YEAR[found[2]]
    return age.strip() if years < cap_years + 1 else f"{cap_years + 1:03d}Y"


@functools.cache
def kept_terms() -> frozenset[str]:
    """All words that any cleaned file may hold: a patient called Chest cannot be told from the body part."""
    words = {word for terms in policy.TERMS.values() for term in terms for word in (term, *re.split(r"[\s_]+", term))}
    words |= set(re.split(r"\W+", " ".join(_own_texts())))
    words |= {str(PYDICOM_IMPLEMENTATION_UID)}  # written by pydicom, and in every file that it wrote before
    return frozenset(word.lower() for word in words if word)


def _own_texts() -> list[str]:
    return [
        "MedPRM PS3.15 Basic Profile, listed elements only",
        "Basic Application Confidentiality Profile Retain Patient Characteristics Option Clean Pixel Data Option",
        "Retain Longitudinal Temporal Information Modified Dates Option MODIFIED REMOVED YES NO",
    ]


@functools.cache
def _code_meanings(scheme: str) -> dict[str, str]:
    if scheme not in ("SCT", "DCM"):
        return {}
    return {code: meaning for codes in concepts[scheme].values() for code, (meaning, _) in codes.items()}


def _kept_terms(element: DataElement) -> Kept | str:
    values = list(element.value) if element.VM > 1 else [element.value]
    terms = [str(value).strip().upper() for value in values]
    allowed = policy.TERMS[element.keyword]
    kept = [term for term in terms if term in allowed]
    if not kept:
        return "not a term of the list"
    return Kept(_element(element.keyword, kept if len(kept) > 1 else kept[0]), "term" if kept != terms else "")


def _element(keyword: str, value: object) -> DataElement:
    dataset = Dataset()
    setattr(dataset, keyword, value)
    return dataset[keyword]


def _age_text(dataset: Dataset) -> str:
    """Age in years from birth and study date, where the file states none."""
    try:
        born = date.fromisoformat(str(dataset.get("PatientBirthDate") or "").strip())
        seen = date.fromisoformat(str(dataset.get("StudyDate") or "").strip())
    except ValueError:
        return ""
    years = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    return f"{years:03d}Y" if 0 <= years < 200 else ""
