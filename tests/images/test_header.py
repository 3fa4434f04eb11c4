"""Facts of headers, also of those that are empty, repeated or wrong."""

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from medprm.images.header import DicomFacts, age_in_years, read_facts


@pytest.mark.parametrize(
    ("age", "years"),
    [
        ("063Y", 63),
        ("018M", 1),
        ("011M", 0),
        ("053W", 1),
        ("364D", 0),
        ("100Y", 100),
        ("63", None),
        ("", None),
        (None, None),
    ],
)
def test_ages_in_whole_years(age: str | None, years: int | None) -> None:
    assert age_in_years(age) == years


def test_facts_of_a_real_file() -> None:
    facts = read_facts(dcmread(str(get_testdata_file("CT_small.dcm", download=False))))
    assert (facts.modality, facts.patient_id, facts.sex, facts.num_frames) == ("CT", "1CT1", "O", 1)
    assert facts.study_id and facts.rows == 128


@pytest.mark.filterwarnings("ignore")
def test_an_empty_or_odd_header_gives_none() -> None:
    assert read_facts(Dataset()) == DicomFacts()
    odd = Dataset()
    odd.PatientID, odd.Modality, odd.PatientAge = "  ", ["CR", "DX"], "old"
    odd.InstanceNumber = None
    facts = read_facts(odd)
    assert (facts.patient_id, facts.modality, facts.age, facts.instance_number) == (None, "CR", None, None)
    assert set(facts.as_dict()) == set(vars(DicomFacts()))
