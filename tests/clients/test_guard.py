"""The guard: fifty ways out that must be shut, and the few that are open."""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from medprm.cases.phantom.dicom import write_film
from medprm.cases.schema import Case, Image, Metadata
from medprm.clients.chat import Message
from medprm.clients.guard import Guard, GuardRefusal, zone_of
from medprm.clients.settings import GuardSettings, SourcePolicy

OUT, SITE, HERE = "https://api.example.com/v1", "http://node7:8000/v1", "http://127.0.0.1:8000/v1"
OPEN = {"ward": SourcePolicy(zone="outside"), "MIMIC-CXR": SourcePolicy(zone="outside")}
CLEAN = {"source": "ward", "phi_removed": True, "irb_approved": True}


def png(**text: str) -> bytes:
    buffer, info = BytesIO(), PngInfo()
    for name, value in text.items():
        info.add_text(name, value)
    Picture.new("L", (4, 4)).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


@dataclass
class Leak:
    """An attempt; everything that is not said is as it should be."""

    url: str = OUT
    metadata: dict[str, Any] = field(default_factory=lambda: dict(CLEAN))
    text: str = "A cough."
    image: bytes | None = None
    header: dict[str, str] | None = None
    settings: dict[str, SourcePolicy] = field(default_factory=lambda: OPEN)
    names: dict[str, Any] = field(default_factory=dict)


def marked(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (CLEAN | changes).items() if value is not None}


LEAKS = {
    # By default nothing leaves.
    "source not named": Leak(settings={}),
    "no source": Leak(metadata=marked(source=None)),
    "another source": Leak(metadata=marked(source="ward2")),
    "source in other letters": Leak(metadata=marked(source="Ward")),
    "default zone": Leak(settings={"ward": SourcePolicy()}),
    "site only": Leak(settings={"ward": SourcePolicy(zone="site")}),
    "machine only, to the site": Leak(url=SITE, settings={"ward": SourcePolicy(zone="machine")}),
    "not named, to the site": Leak(url=SITE, settings={}),
    # Addresses that look like this machine or this site.
    "loopback as a label": Leak(url="http://127.0.0.1.evil.com/v1", settings={}),
    "localhost as a label": Leak(url="http://localhost.evil.com/v1", settings={}),
    "loopback as a user": Leak(url="http://127.0.0.1@evil.com/v1"),
    "user and key": Leak(url="http://localhost:key@evil.com/v1"),
    "site as a label": Leak(url="http://node7.evil.com/v1", settings={"ward": SourcePolicy(zone="site")}),
    "site as a path": Leak(url="http://evil.com/node7:8000", settings={"ward": SourcePolicy(zone="site")}),
    "private address": Leak(url="http://10.0.0.7:8000/v1", settings={"ward": SourcePolicy(zone="site")}),
    "all interfaces": Leak(url="http://0.0.0.0:8000/v1", settings={}),
    "address in decimal": Leak(url="http://2130706433/v1", settings={}),
    "link-local": Leak(url="http://169.254.169.254/v1", settings={}),
    "IPv6 outside": Leak(url="http://[2001:db8::1]/v1", settings={}),
    "mapped IPv6": Leak(url="http://[::ffff:8.8.8.8]/v1", settings={}),
    "another scheme": Leak(url="ftp://api.example.com/v1"),
    "no host": Leak(url="http:///v1"),
    "file": Leak(url="file:///etc/passwd"),
    # Marks of patients' data.
    "phi not removed": Leak(metadata=marked(phi_removed=False)),
    "phi not known": Leak(metadata=marked(phi_removed=None)),
    "not approved": Leak(metadata=marked(irb_approved=False)),
    "approval not known": Leak(metadata=marked(irb_approved=None)),
    # Credentialed sets, however they are spelled, without an agreed address.
    "mimic": Leak(metadata=marked(source="MIMIC-CXR")),
    "mimic by name only": Leak(metadata=marked(source="mimic_iv"), settings={"mimic_iv": SourcePolicy(zone="outside")}),
    "mimic in the path": Leak(names={"path": "MIMIC-CXR/files/p10/a.dcm"}),
    "mimic in the case": Leak(names={"case_id": "mimic-cxr-17"}),
    "chexpert": Leak(metadata=marked(source="CheXpert"), settings={"CheXpert": SourcePolicy(zone="outside")}),
    "chexpert spelled apart": Leak(
        metadata=marked(source="Che-Xpert plus"), settings={"Che-Xpert plus": SourcePolicy(zone="outside")}
    ),
    "agreed elsewhere": Leak(
        metadata=marked(source="mimic"),
        settings={"mimic": SourcePolicy(zone="outside", agreed_endpoints=["https://agreed.example.org/v1"])},
    ),
    "agreed host, other port": Leak(
        url="https://agreed.example.org:8443/v1",
        metadata=marked(source="mimic"),
        settings={"mimic": SourcePolicy(zone="outside", agreed_endpoints=["https://agreed.example.org/v1"])},
    ),
    "agreed host, without encryption": Leak(
        url="http://agreed.example.org/v1",
        metadata=marked(source="mimic"),
        settings={"mimic": SourcePolicy(zone="outside", agreed_endpoints=["https://agreed.example.org/v1"])},
    ),
    "agreed host, other path": Leak(
        url="https://agreed.example.org/v1beta",
        metadata=marked(source="mimic"),
        settings={"mimic": SourcePolicy(zone="outside", agreed_endpoints=["https://agreed.example.org/v1"])},
    ),
    # What the text says.
    "social security number": Leak(text="SSN 123-45-6789"),
    "e-mail": Leak(text="write to jane.doe@example.org"),
    "telephone": Leak(text="call (555) 123-4567"),
    "record number": Leak(text="MRN: 0012345"),
    "date of birth": Leak(text="DOB 01/02/1950"),
    "name": Leak(text="Patient name: Jane Doe"),
    "patient id": Leak(text="as p-0017 said"),
    "key": Leak(text="sk-" + "a1" * 20),
    # What goes with the picture.
    "DICOM file": Leak(image=b"\0" * 128 + b"DICM" + b"\0" * 100),
    "JPEG with its notes": Leak(image=b"\xff\xd8\xff\xe1" + b"Exif" * 10),
    "text in the picture file": Leak(image=png(Comment="Jane Doe")),
    "bytes behind the picture": Leak(image=png() + b"Jane Doe"),
    "name in the header": Leak(image=png(), header={"PatientName": "Doe^Jane", "PatientIdentityRemoved": "NO"}),
    "birth date in the header": Leak(
        image=png(), header={"PatientName": "", "PatientBirthDate": "19500102", "PatientIdentityRemoved": ""}
    ),
    "burned-in text": Leak(image=png(), header={"BurnedInAnnotation": "YES"}),
    "burned-in text by the record": Leak(image=png(), names={"extra": {"burned_in_annotation": True}}),
    "burned-in text, to the site": Leak(url=SITE, image=png(), header={"BurnedInAnnotation": "YES"}),
}


def attempt(leak: Leak, folder: Path) -> None:
    path = leak.names.get("path", "film.dcm")
    case = Case(
        case_id=leak.names.get("case_id", "case-17"),
        patient_id="p-0017",
        modality="chest_xray",
        metadata=Metadata(**leak.metadata),
        question="Which?",
        image=Image(path=path, extra=leak.names.get("extra")),
    )
    write_header(folder / path, leak.header or {})
    images = (leak.image,) if leak.image else ()
    settings = GuardSettings(site_hosts=["node7"], sources=leak.settings)
    Guard(settings, folder).check(case, leak.url, [Message("user", leak.text, images)])


def write_header(path: Path, header: dict[str, str]) -> None:
    import pydicom

    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    write_film(path, np.zeros((32, 32)), patient_id="phantom-1", seed_text="a", rng=rng)
    dataset = pydicom.dcmread(path)
    for name, value in header.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


def test_there_are_fifty() -> None:
    assert len(LEAKS) >= 50


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_a_leak_is_refused(leak: Leak, tmp_path: Path) -> None:
    with pytest.raises(GuardRefusal) as refused:
        attempt(leak, tmp_path)
    if leak.url.startswith("http") and "@" not in leak.url and leak.url != "http:///v1":
        assert f"case {leak.names.get('case_id', 'case-17')}: not sent: " in str(refused.value)
    assert leak.text not in str(refused.value)


def test_what_is_allowed_goes(tmp_path: Path) -> None:
    attempt(Leak(), tmp_path)  # else every refusal above could be for another reason
    attempt(Leak(image=png()), tmp_path)
    attempt(Leak(url=SITE, settings={"ward": SourcePolicy(zone="site")}, metadata={"source": "ward"}), tmp_path)
    attempt(Leak(url=HERE, settings={}, metadata={}, text="MRN: 0012345"), tmp_path)
    exam = {"medqa": SourcePolicy(zone="outside", is_patient_data=False)}
    attempt(Leak(metadata={"source": "medqa"}, settings=exam), tmp_path)
    agreed = {"mimic": SourcePolicy(zone="outside", agreed_endpoints=["https://agreed.example.org/v1"])}
    attempt(Leak(url="https://agreed.example.org/v1", metadata=marked(source="mimic"), settings=agreed), tmp_path)


def test_uploads_pass_the_same_rules() -> None:
    case = Case(case_id="case-17", modality="text", question="Which?")
    with pytest.raises(GuardRefusal, match="case-17"):
        Guard(GuardSettings()).check_upload([case], "https://api.wandb.ai/files")


@pytest.mark.parametrize(
    ("url", "zone"),
    [("http://localhost:1/v1", "machine"), ("http://[::1]/v1", "machine"), ("http://127.8.8.8/v1", "machine"),
     ("http://NODE7/v1", "site"), ("https://node70/v1", "outside")],
)  # fmt: skip
def test_zones(url: str, zone: str) -> None:
    assert zone_of(url, ["node7"]) == zone
