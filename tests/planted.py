"""Files with identifiers planted in them, for the tests and the benchmark of de-identification.

Nothing here is shared with what detects: names and addresses come from Faker, places and spellings stand here.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from faker import Faker
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEGBaseline8Bit

from medprm.cases.phantom.draw import draw_film
from medprm.cases.phantom.study import draw_study

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FONT_NAMES = ("DejaVuSans.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf", "DejaVuSans-Bold.ttf", "STIXGeneral.ttf")


class PlantedFile(NamedTuple):
    """A data set, its file name, and each identifier with the place it was planted in."""

    dataset: FileDataset
    name: str
    planted: list[tuple[str, str]]


def plant_headers(seed: int, num_identifiers: int) -> PlantedFile:
    """A small film with different identifiers in that many different places, and some in the usual ones as well."""
    rng, fake = random.Random(seed), Faker("en_US")
    fake.seed_instance(seed)
    dataset = _film(np.random.default_rng(seed), is_jpeg=seed % 4 == 3)
    dataset.PatientName, dataset.PatientID = f"{fake.last_name()}^{fake.first_name()}", f"MRN{rng.randrange(10**7):07d}"
    dataset.PatientBirthDate, dataset.StudyDate = "19510307", "20190518"
    places = rng.sample(sorted(_places(dataset)), num_identifiers - 1)
    planted = []
    for place in places:
        identifier = _identifier(rng, fake, place)
        _places(dataset)[place](identifier)
        planted.append((place, identifier))
    name = f"{fake.last_name()}_{rng.randrange(10**8):08d}"
    return PlantedFile(dataset, f"{name}.dcm", [*planted, ("file name", name)])


def num_places() -> int:
    """Places beside the file's name."""
    return len(_places(_film(np.random.default_rng(0), is_jpeg=False)))


def _identifier(rng: random.Random, fake: Faker, place: str) -> str:
    if place in ("SeriesNumber", "WindowCenter"):
        return str(rng.randrange(10**6, 10**8))
    if "UID" in place:
        return f"1.3.6.1.4.1.{rng.randrange(10**8)}.{rng.randrange(10**9)}"
    if "name" in place.lower() or "Physician" in place:
        return f"{fake.last_name()}^{fake.first_name()}".upper()
    return f"{fake.last_name()[:5]}{rng.randrange(10**6):06d}".upper()


def _film(rng: np.random.Generator, is_jpeg: bool) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit if is_jpeg else ExplicitVRLittleEndian
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = UID(f"1.2.826.0.1.{rng.integers(10**9)}")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (f"1.2.826.0.2.{rng.integers(10**9)}" for _ in range(2))
    dataset.Modality, dataset.ViewPosition, dataset.ImageLaterality = "DX", "PA", "U"
    dataset.BodyPartExamined, dataset.PatientAge, dataset.PatientSex = "CHEST", "068Y", "F"
    dataset.Rows = dataset.Columns = 64
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation, dataset.PixelSpacing = "MONOCHROME2", [0.139, 0.139]
    values = rng.integers(0, 256, (64, 64))
    bits = 8 if is_jpeg else 12
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 if is_jpeg else 16, bits, bits - 1
    if is_jpeg:
        dataset.PixelData = encapsulate([jpeg(values.astype(np.uint8))])
    else:
        dataset.PixelData = values.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OB" if is_jpeg else "OW"
    return dataset


def jpeg(values: np.ndarray, comment: bytes = b"") -> bytes:
    """A JPEG stream of grey values, with a comment segment."""
    import io

    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", quality=95)
    stream = buffer.getvalue()
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment if comment else b""
    stream = stream[:2] + segment + stream[2:]
    return stream + b"\0" * (len(stream) % 2)


def _places(dataset: FileDataset) -> dict[str, Callable[[str], None]]:
    """Place -> what puts an identifier there."""

    def into(keyword: str) -> Callable[[str], None]:
        return lambda text: setattr(dataset, keyword, text)

    def coded(text: str) -> None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "399348003", "SCT", text
        dataset.ViewCodeSequence = Sequence([item])

    def own_code(text: str) -> None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = text[:16], "99LOCAL", "chest"
        dataset.AnatomicRegionSequence = Sequence([item])

    def nested(text: str) -> None:
        inner, outer = Dataset(), Dataset()
        inner.ImageComments = text
        outer.PixelMeasuresSequence = Sequence([inner])
        dataset.SharedFunctionalGroupsSequence = Sequence([outer])

    def request(text: str) -> None:
        inner, outer = Dataset(), Dataset()
        inner.PatientID = text
        outer.ReferencedPatientSequence = Sequence([inner])
        dataset.RequestAttributesSequence = Sequence([outer])

    def referenced(text: str) -> None:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, text
        dataset.ReferencedImageSequence = Sequence([item])

    def private(text: str) -> None:
        dataset.private_block(0x0019, "ACME 1.1", create=True).add_new(0x01, "LO", text)

    def private_creator(text: str) -> None:
        dataset.private_block(0x0021, text, create=True).add_new(0x02, "UN", b"\1\2")

    def private_sequence(text: str) -> None:
        item = Dataset()
        item.OtherPatientIDs = text
        dataset.private_block(0x0029, "ACME 1.1", create=True).add_new(0x10, "SQ", Sequence([item]))

    def private_bytes(text: str) -> None:
        dataset.private_block(0x0033, "ACME 1.1", create=True).add_new(0x03, "UN", text.encode("utf-16-le"))

    def overlay_comment(text: str) -> None:
        dataset.add_new(0x60004000, "LT", text)

    def overlay_data(text: str) -> None:
        dataset.add_new(0x60023000, "OW", text.encode() + b"\0" * (len(text) % 2))

    def curve(text: str) -> None:
        dataset.add_new(0x50002600, "LO", text)

    def retired(text: str) -> None:
        dataset.add_new(0x40084000, "ST", text)  # Results Comments

    def preamble(text: str) -> None:
        dataset.preamble = text.encode()[:128].ljust(128, b"\0")

    def meta(text: str) -> None:
        dataset.file_meta.SourceApplicationEntityTitle = text[:16]

    def private_meta(text: str) -> None:
        dataset.file_meta.PrivateInformationCreatorUID, dataset.file_meta.PrivateInformation = "1.2.3", text.encode()

    def beside_pixels(text: str) -> None:
        if dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit:
            dataset.PixelData = encapsulate([jpeg(np.zeros((64, 64), np.uint8), text.encode())])
        else:
            dataset.PixelData += text.encode() + b"\0" * (len(text) % 2)

    simple = """
    OtherPatientIDs PatientAddress PatientTelephoneNumbers AccessionNumber StudyID StudyDescription SeriesDescription
    ImageComments PatientComments AdditionalPatientHistory InstitutionName InstitutionAddress StationName
    DeviceSerialNumber ReferringPhysicianName OperatorsName PatientMotherBirthName OtherPatientNames AdmissionID
    ProtocolName RequestedProcedureDescription DerivationDescription BodyPartExamined ViewPosition ImageType
    SeriesNumber WindowCenter RescaleType FrameOfReferenceUID IrradiationEventUID TextComments
    """.split()  # noqa: SIM905
    return {
        **{keyword: into(keyword) for keyword in simple},
        "code meaning": coded,
        "code value": own_code,
        "sequence in a kept sequence": nested,
        "sequence in a removed sequence": request,
        "referenced UID": referenced,
        "private element": private,
        "private creator": private_creator,
        "private sequence": private_sequence,
        "private bytes, UTF-16": private_bytes,
        "overlay comment": overlay_comment,
        "overlay data": overlay_data,
        "curve": curve,
        "retired element": retired,
        "preamble": preamble,
        "file meta group": meta,
        "private file meta": private_meta,
        "beside the pixels": beside_pixels,
    }


class Burned(NamedTuple):
    """A film in [0, 1], where the ink of each line of text is, and the markers that stand there as well."""

    film: np.ndarray
    ink: list[np.ndarray]
    markers: list[str]


def burn_text(seed: int, has_text: bool) -> Burned:
    """A drawn film with one to four lines about a patient burned in, or without; half of all have a marker.

    Lines of 11 to 32 pixels, white, grey or black, with or without a box, at least 0.35 from the mean behind them.
    Ink counts where it differs by 0.2 from what is behind it.
    """
    rng, fake = np.random.default_rng(seed), Faker("en_US")
    fake.seed_instance(seed)
    size = int(rng.choice([512, 768, 1024, 1536], p=[0.4, 0.3, 0.2, 0.1]))
    film = np.clip(draw_film(draw_study(rng), rng, size) + rng.normal(0, 0.01, (size, size)), 0, 1)
    markers = [str(rng.choice(["L", "R", "PA", "AP", "PORTABLE", "ERECT"]))] if rng.random() < 0.5 else []
    for marker in markers:
        film, _ = _write(film, marker, (int(size * 0.65), int(size * rng.uniform(0.3, 0.5))), 28, 1.0, rng, False)
    if not has_text:
        return Burned(film, [], markers)
    height, ink = int(rng.integers(11, 33)), []
    top = int(size * 0.02) if rng.random() < 0.5 else int(size * 0.98 - 4 * height * 1.5)
    left = int(rng.uniform(0.02, 0.4) * size)
    has_box = bool(rng.random() < 0.3)
    for row, line in enumerate(_lines(rng, fake)[: int(rng.integers(1, 5))]):
        shade = _shade(film[top : top + height, left : left + size // 3], rng, has_box)
        film, inked = _write(film, line, (left, top + int(row * height * 1.5)), height, shade, rng, has_box)
        if inked.any():
            ink.append(inked)
    return Burned(film, ink, markers)


def _lines(rng: np.random.Generator, fake: Faker) -> list[str]:
    name = f"{fake.last_name()}, {fake.first_name()}"
    lines = [
        name.upper() if rng.random() < 0.5 else name,
        f"ID: {rng.integers(10**6, 10**9)}",
        f"DOB {fake.date_of_birth().strftime(str(rng.choice(['%d.%m.%Y', '%m/%d/%Y', '%d-%b-%Y'])))}",
        f"{fake.city()} Hospital",
    ]
    rng.shuffle(lines)
    return lines


def _shade(behind: np.ndarray, rng: np.random.Generator, has_box: bool) -> float:
    mean = 0.0 if has_box else float(behind.mean())
    shades = [shade for shade in (1.0, 0.8, 0.6, 0.0) if abs(shade - mean) >= 0.35]
    return float(rng.choice(shades))


def _write(
    film: np.ndarray,
    text: str,
    at: tuple[int, int],
    height: int,
    shade: float,
    rng: np.random.Generator,
    has_box: bool,
) -> tuple[np.ndarray, np.ndarray]:
    font = ImageFont.truetype(str(FONTS / str(rng.choice(FONT_NAMES))), height)
    mask = Image.new("L", film.shape[::-1], 0)
    draw = ImageDraw.Draw(mask)
    draw.text(at, text, fill=255, font=font)
    film = film.copy()
    if has_box:
        left, top, right, bottom = (int(one) for one in draw.textbbox(at, text, font=font))
        film[max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3] = 0.0
    share = np.asarray(mask, dtype=np.float64) / 255
    is_seen = np.abs(film - shade) >= 0.2  # black letters that run into a black border are not there
    return film * (1 - share) + shade * share, (share > 0.5) & is_seen


def is_in(identifier: str, data: bytes) -> bool:
    """Whether an identifier or one of its parts stands in bytes, in capitals or not, in 8 or 16 bits a letter."""
    folded = data.lower()
    parts = [identifier, *(part for part in identifier.replace("_", "^").split("^") if len(part) >= 5)]
    forms = [form for part in parts for form in (part.lower().encode(), part.lower().encode("utf-16-le"))]
    return any(form in folded for form in forms)
