"""The guard: may this case go to that address? Every request of this room passes it before a connection is opened.

In: a case, an address, the messages. Out: nothing, or `GuardRefusal`, which names the case and the rule. Zones: this
machine (loopback), this site (hosts that the settings name), outside (all else). Nothing leaves by default; a source
that is not named stays on this machine. Credentialed sets (MIMIC, CheXpert) go outside to a named, agreed address only.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pydicom
from pydicom.errors import InvalidDicomError

from medprm.cases.schema import Case
from medprm.clients.chat import Message
from medprm.clients.hosts import is_loopback
from medprm.clients.settings import ZONES, GuardSettings, SourcePolicy
from medprm.errors import InputError
from medprm.images.files import resolve_image

CREDENTIALED = ("mimic", "chexpert")
PNG = b"\x89PNG\r\n\x1a\n"
PNG_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"pHYs", b"sBIT", b"bKGD")
IDENTIFYING_TAGS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "OtherPatientIDs"),
    *("OtherPatientNames", "AccessionNumber", "ReferringPhysicianName", "InstitutionName", "PatientMotherBirthName"),
)
IDENTIFIERS = {
    "a social security number": re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w"),
    "a telephone number": re.compile(
        r"(?<!\d)(?:\+\d{1,3}[\s.-]?)?(?:\(\d{2,4}\)\s?|\d{2,4}[\s.-])\d{3,4}[\s.-]\d{3,4}(?!\d)"
    ),
    "a record number": re.compile(
        r"\b(?:MRN|medical record (?:number|no)|accession(?: number| no)?)\b\W{0,3}\w*\d", re.I
    ),
    "a date of birth": re.compile(r"\b(?:DOB|date of birth|born(?: on)?)\b\W{0,3}\d", re.I),
    "a name": re.compile(r"\b(?:patient(?:'s)? name|name of (?:the )?patient)\b\s*(?:is|:|=)", re.I),
    "a secret": re.compile(
        r"\bsk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|AIza[0-9A-Za-z_-]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY"
    ),
}


class GuardRefusal(InputError):
    """A request that may not be sent. The message names the case and the rule, and no clinical text."""


class Guard:
    """The rules of one run. `image_root` is where the cases' image files lie, to read their headers."""

    def __init__(self, settings: GuardSettings, image_root: Path | None = None) -> None:
        self.settings = settings
        self.image_root = image_root

    def check(self, case: Case, url: str, messages: Sequence[Message]) -> None:
        """Raises GuardRefusal unless the case may go to the address with these messages."""
        zone = zone_of(url, self.settings.site_hosts)
        _check_pixels_only(case, messages)
        if zone == "machine":
            return
        policy = self._policy(case)
        if ZONES.index(zone) > ZONES.index(policy.zone):
            allowed = f"source {case.metadata.source!r} may go as far as zone {policy.zone}, {_host(url)} is {zone}"
            raise _refusal(case, f"{allowed}; guard.sources says so for this source, or does not name it")
        if any(message.images for message in messages):
            self._check_films(case)
        if zone == "outside":
            _check_agreed(case, url, policy)
            _check_marks(case, policy)
            _check_texts(case, [message.text for message in messages])

    def check_upload(self, cases: Sequence[Case], url: str, texts: Sequence[str] = ()) -> None:
        """The same for anything else that is made of cases and would leave: an artifact, a table, a push."""
        for case in cases:
            self.check(case, url, [Message("user", text) for text in texts])

    def _policy(self, case: Case) -> SourcePolicy:
        return self.settings.sources.get(case.metadata.source or "", SourcePolicy())

    def _check_films(self, case: Case) -> None:
        """Films leave this machine only where their header names nobody and says nothing is burned in."""
        for image in case.all_images:
            if (image.extra or {}).get("burned_in_annotation"):
                raise _refusal(case, f"image {image.path} is marked as having burned-in annotation")
            if self.image_root is None:
                raise _refusal(case, "the headers of its images cannot be checked: no image folder is known")
            header = _header(resolve_image(self.image_root, image.path))
            if header is None:
                continue
            if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
                raise _refusal(case, f"the header of {image.path} says that text is burned into the picture")
            named = [tag for tag in IDENTIFYING_TAGS if str(header.get(tag, "") or "").strip()]
            if named and str(header.get("PatientIdentityRemoved", "")).upper() != "YES":
                raise _refusal(case, f"the header of {image.path} has {', '.join(named)}")


def zone_of(url: str, site_hosts: Sequence[str]) -> str:
    """machine, site or outside, by the host as it is written; no name is looked up."""
    host = _host(url)
    if is_loopback(host):
        return "machine"
    return "site" if host in {one.casefold() for one in site_hosts} else "outside"


def _host(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.username is not None or not parts.hostname:
        raise GuardRefusal(f"address {url!r}: expected http(s)://host without a user; nothing was sent")
    return parts.hostname.casefold()


def _check_agreed(case: Case, url: str, policy: SourcePolicy) -> None:
    names = [case.metadata.source or "", case.case_id, *(image.path for image in case.all_images)]
    credentialed = [word for word in CREDENTIALED for name in names if word in re.sub(r"[^a-z]", "", name.casefold())]
    if credentialed and not any(_same_address(url, one) for one in policy.agreed_endpoints):
        raise _refusal(case, f"{credentialed[0]} data go outside to an agreed address only, and {_host(url)} is none")


def _same_address(url: str, agreed: str) -> bool:
    one, other = urlsplit(url), urlsplit(agreed)
    same_place = (one.scheme, one.hostname, one.port) == (other.scheme, other.hostname, other.port)
    path = other.path.rstrip("/")
    return same_place and (one.path.rstrip("/") == path or one.path.startswith(path + "/"))


def _check_marks(case: Case, policy: SourcePolicy) -> None:
    if not policy.is_patient_data:
        return
    for mark in ("phi_removed", "irb_approved"):
        if getattr(case.metadata, mark) is not True:
            raise _refusal(case, f"patients' data leave the site only with metadata.{mark} true")


def _check_texts(case: Case, texts: Sequence[str]) -> None:
    for text in texts:
        for name, pattern in IDENTIFIERS.items():
            if pattern.search(text):
                raise _refusal(case, f"a message has what looks like {name}")
        if case.patient_id and case.patient_id in text:
            raise _refusal(case, "a message has the patient_id")


def _check_pixels_only(case: Case, messages: Sequence[Message]) -> None:
    """Images are PNG files with nothing beside the picture: a DICOM file or a text chunk never goes out."""
    for message in messages:
        for data in message.images:
            if not data.startswith(PNG):
                raise _refusal(case, "an image is no PNG file; only decoded pixels are sent")
            extra = [kind for kind in _png_chunks(case, data) if kind not in PNG_CHUNKS]
            if extra:
                raise _refusal(case, f"an image has a chunk {extra[0].decode('latin-1')!r} beside its pixels")


def _png_chunks(case: Case, data: bytes) -> list[bytes]:
    place, kinds = len(PNG), []
    while place < len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        kinds.append(kind)
        place += size + 12
        if kind == b"IEND":
            break
    if place != len(data):
        raise _refusal(case, "an image file has bytes behind its end")
    return kinds


def _header(path: Path) -> pydicom.Dataset | None:
    """The header of a DICOM file, None for other files."""
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return None


def _refusal(case: Case, rule: str) -> GuardRefusal:
    return GuardRefusal(f"case {case.case_id}: not sent: {rule}")
