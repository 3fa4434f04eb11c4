"""De-identification of DICOM headers and streams: nothing planted stays, what the task needs does."""

import io
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_files

from medprm.images import deidentify_policy as policy
from medprm.images.deidentify import deidentify_file
from medprm.images.deidentify_settings import DeidentifySettings
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


def test_pixels_stay_as_they_were() -> None:
    num_equal = 0
    for name in get_testdata_files("*.dcm"):
        if Path(name).stat().st_size > 400_000:
            continue
        data = Path(name).read_bytes()
        try:
            dataset, _ = deidentify_file(dcmread(io.BytesIO(data), force=True), SETTINGS)
            before = decode_dicom(data, Path(name), frame=0).pixels
        except ImageError:
            continue
        assert np.array_equal(before, decode_dicom(written(dataset), Path(name), frame=0).pixels), name
        num_equal += 1
    assert num_equal >= 50
