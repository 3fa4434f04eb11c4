"""De-identification of DICOM headers and streams: nothing planted stays, what the task needs does."""

import io
from datetime import date
from pathlib import Path

import numpy as np
import planted
import pydicom.data
import pytest
from pydicom import Dataset, FileDataset, dcmread

from medprm.images import deidentify_policy as policy
from medprm.images.deidentify import HeldBack, deidentify_file
from medprm.images.deidentify_pseudonyms import Pseudonyms
from medprm.images.deidentify_settings import DeidentifySettings
from medprm.images.deidentify_values import capped_age
from medprm.images.dicom import decode_dicom
from medprm.images.files import ImageError

SETTINGS = DeidentifySettings(burned_in="off")
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPRM_DEIDENTIFY_SECRET", SECRET)


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_the_list_keeps_of_the_basic_profile_only_what_an_option_allows() -> None:
    tags = policy.tags_of(frozenset(policy.KEPT))
    assert {name for name, tag in tags.items() if tag in policy.profile_tags()} == set(policy.RETAINED)


def as_read(dataset: Dataset) -> FileDataset:
    return dcmread(io.BytesIO(written(dataset)))


@pytest.mark.parametrize("seed", range(6))
def test_nothing_planted_stays(seed: int) -> None:
    made = planted.plant_headers(seed, num_identifiers=planted.num_places() + 1)
    original = written(made.dataset)
    dataset, report = deidentify_file(dcmread(io.BytesIO(original)), SETTINGS)
    after = written(dataset) + f"{report.patient}/{report.sop_instance}.dcm {report.to_json()}".encode()
    for place, identifier in made.planted:
        assert place == "file name" or planted.is_in(identifier, original), f"{place}: was never there"
        assert not planted.is_in(identifier, after), place


def test_what_the_task_needs_stays() -> None:
    dataset, _ = deidentify_file(as_read(planted.plant_headers(0, 1).dataset), SETTINGS)
    kept = {name: dataset[name].value for name in ("Modality", "ViewPosition", "ImageLaterality", "BodyPartExamined")}
    assert kept == {"Modality": "DX", "ViewPosition": "PA", "ImageLaterality": "U", "BodyPartExamined": "CHEST"}
    assert (dataset.PatientAge, dataset.PatientSex, dataset.PixelSpacing) == ("068Y", "F", [0.139, 0.139])
    assert dataset.PatientIdentityRemoved == "YES"
    assert [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence] == ["113100", "113108", "113107"]
    bare, _ = deidentify_file(
        as_read(planted.plant_headers(0, 1).dataset),
        DeidentifySettings(burned_in="off", keep_age_and_sex=False, dates="remove"),
    )
    assert not {"PatientAge", "PatientSex", "StudyDate"} & set(bare.dir())
    assert [item.CodeValue for item in bare.DeidentificationMethodCodeSequence] == ["113100"]


@pytest.mark.parametrize(
    ("age", "written_as"),
    [("089Y", "089Y"), ("090Y", "090Y"), ("104Y", "090Y"), ("011M", "011M"), ("999M", "999M"), ("old", None)],
)
def test_ages_over_89_are_one(age: str, written_as: str | None) -> None:
    assert capped_age(age, 89) == written_as


def test_an_age_is_worked_out_from_the_dates_and_capped() -> None:
    film = planted.plant_headers(1, 1).dataset
    del film.PatientAge
    film.PatientBirthDate, film.StudyDate = "19200102", "20190101"
    dataset, _ = deidentify_file(as_read(film), SETTINGS)
    assert dataset.PatientAge == "090Y"
    film.PatientBirthDate = "19600102"
    assert deidentify_file(as_read(film), SETTINGS)[0].PatientAge == "058Y"


def test_pseudonyms_and_dates_hang_together_and_on_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = planted.plant_headers(2, 1).dataset, planted.plant_headers(3, 1).dataset
    second.PatientID, second.StudyInstanceUID = first.PatientID, first.StudyInstanceUID
    first.StudyDate, second.StudyDate = "20200101", "20200131"
    one, two = (deidentify_file(as_read(film), SETTINGS)[0] for film in (first, second))
    assert one.PatientID == two.PatientID and one.StudyInstanceUID == two.StudyInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    moved = [date.fromisoformat(film.StudyDate) for film in (one, two)]
    assert (moved[1] - moved[0]).days == 30 and moved[0] < date(2020, 1, 1)
    assert written(one) == written(deidentify_file(as_read(first), SETTINGS)[0])
    monkeypatch.setenv("MEDPRM_DEIDENTIFY_SECRET", SECRET[::-1])
    assert deidentify_file(as_read(first), SETTINGS)[0].PatientID != one.PatientID


def test_shifts_differ_between_patients() -> None:
    shifts = {Pseudonyms(SECRET.encode(), f"patient {number}").shift_days for number in range(50)}
    assert len(shifts) > 40 and min(shifts) >= 1


def test_the_secret_is_needed_and_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    film = as_read(planted.plant_headers(0, 1).dataset)
    assert SECRET not in repr(Pseudonyms(SECRET.encode(), "patient"))
    monkeypatch.setenv("MEDPRM_DEIDENTIFY_SECRET", "short")
    with pytest.raises(ImageError, match=r"MEDPRM_DEIDENTIFY_SECRET: 5 bytes; expected a secret of 16") as raised:
        deidentify_file(film, SETTINGS)
    assert "short" not in str(raised.value)
    with pytest.raises(ImageError, match="none: cannot be read"):
        deidentify_file(film, DeidentifySettings(burned_in="off", secret_file=str(tmp_path / "none")))
    (tmp_path / "secret").write_text(SECRET + "\n")
    with_file = deidentify_file(film, DeidentifySettings(burned_in="off", secret_file=str(tmp_path / "secret")))[0]
    monkeypatch.setenv("MEDPRM_DEIDENTIFY_SECRET", SECRET)
    assert with_file.PatientID == deidentify_file(film, SETTINGS)[0].PatientID


def test_the_search_finds_what_the_rules_let_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    film = planted.plant_headers(4, 1).dataset
    film.PatientName = "Oberhuber^Ludmilla"
    monkeypatch.setitem(policy.TERMS, "BodyPartExamined", frozenset({"CHEST", "OBERHUBER"}))  # type: ignore[attr-defined]
    film.BodyPartExamined = "OBERHUBER"
    with pytest.raises(HeldBack, match="1 identifiers of this file are still in the header") as raised:
        deidentify_file(as_read(film), SETTINGS)
    assert "berhuber" not in str(raised.value).lower() and raised.value.report.held_back


def test_an_identifier_from_a_list_is_looked_for_too(tmp_path: Path) -> None:
    film = planted.plant_headers(0, 1).dataset
    film.PixelData = b"Ludmilla Ober".ljust(len(film.PixelData), b"\0")
    film.BitsStored, film.HighBit = 16, 15
    deidentify_file(as_read(film), SETTINGS)
    (tmp_path / "names.txt").write_text("Ludmilla Ober\n")
    settings = DeidentifySettings(burned_in="off", identifiers_file=str(tmp_path / "names.txt"))
    with pytest.raises(HeldBack, match="bytes of the pixel data"):
        deidentify_file(as_read(film), settings)


def test_bits_above_the_stored_ones_are_cleared() -> None:
    film = planted.plant_headers(0, 1).dataset
    values = np.frombuffer(film.PixelData, "<u2").copy()
    film.PixelData = (values | 0x8000).tobytes()
    dataset, report = deidentify_file(as_read(film), SETTINGS)
    assert dataset.PixelData == values.tobytes() and report.pixel_data == ["bits above those stored"]
    film.PixelRepresentation = 1
    film.PixelData = np.array([-5, 7, -2048, 2047], "<i2").tobytes() * 1024
    assert deidentify_file(as_read(film), SETTINGS)[0].PixelData == film.PixelData


def test_a_report_without_pixels_is_held_back() -> None:
    film = planted.plant_headers(0, 1).dataset
    del film.PixelData
    with pytest.raises(HeldBack, match="holds no pixel data"):
        deidentify_file(as_read(film), SETTINGS)


def test_the_original_is_left_as_it_is() -> None:
    film = as_read(planted.plant_headers(3, 20).dataset)
    before = written(film)
    deidentify_file(film, SETTINGS)
    assert written(film) == before


def test_pixels_stay_as_they_were() -> None:
    num_equal = 0
    for name in sorted((Path(pydicom.data.__file__).parent / "test_files").glob("*.dcm")):
        if name.stat().st_size > 150_000:
            continue
        data = name.read_bytes()
        try:
            dataset, _ = deidentify_file(dcmread(io.BytesIO(data), force=True), SETTINGS)
            before = decode_dicom(data, name, frame=0).pixels
        except ImageError:
            continue
        assert np.array_equal(before, decode_dicom(written(dataset), name, frame=0).pixels), name
        num_equal += 1
    assert num_equal >= 40
