"""The command on a folder of DICOM files and on records."""

import json
from collections import Counter
from pathlib import Path

import planted
import pytest

from medprm.cases.deidentify_record import clean_record
from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.commands.deidentify import main
from medprm.images.deidentify_pseudonyms import Pseudonyms
from medprm.images.deidentify_settings import DeidentifySettings

NOTE = "Mrs. Oberhuber (MRN5566778) fell on 03/04/2019."
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPRM_DEIDENTIFY_SECRET", SECRET)


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, list[str]]:
    """Four files in folders named after patients, one that is held back, one that is no DICOM; what was planted."""
    source, identifiers = tmp_path / "in", []
    for seed in range(4):
        made = planted.plant_headers(seed, 12)
        place = source / f"OBERHUBER{seed}" / made.name
        place.parent.mkdir(parents=True)
        made.dataset.save_as(place, enforce_file_format=True)
        identifiers += [one for _, one in made.planted]
    report = planted.plant_headers(9, 1).dataset
    del report.PixelData
    report.save_as(source / "report.dcm", enforce_file_format=True)
    (source / "list.csv").write_text("Oberhuber, 1\n")
    return source, [*identifiers, "OBERHUBER"]


def test_a_folder_is_cleaned_and_nothing_planted_is_in_the_result(
    folder: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, identifiers = folder
    assert main([str(source), str(tmp_path / "out"), "--burned-in", "off"]) == 1
    printed = capsys.readouterr()
    assert "6 files: 4 written, 1 not DICOM, 1 held back" in printed.out
    assert "holds no pixel data" in printed.err and "list.csv" in printed.err
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 5 and len((tmp_path / "out" / "report.jsonl").read_text().splitlines()) == 5
    everything = b"".join(str(path.relative_to(tmp_path)).encode() + path.read_bytes() for path in written)
    assert not [one for one in identifiers if planted.is_in(one, everything)]


def test_processes_give_the_same_files(folder: tuple[Path, list[str]], tmp_path: Path) -> None:
    source, _ = folder
    for name, workers in (("one", "1"), ("two", "2")):
        main([str(source), str(tmp_path / name), "--burned-in", "off", "--workers", workers])
    one, two = ({path.relative_to(root): path.read_bytes() for path in root.rglob("*.dcm")} for root in
                (tmp_path / "one", tmp_path / "two"))  # fmt: skip
    assert one == two and len(one) == 4


@pytest.mark.parametrize(
    ("target", "said"), [("in/out", "lies inside"), ("full", "is not empty")], ids=["inside", "not empty"]
)
def test_a_target_among_other_files_is_refused(
    folder: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, said: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.dcm").write_text("x")
    assert main([str(folder[0]), str(tmp_path / target)]) == 2
    assert said in capsys.readouterr().err


def test_without_a_secret_nothing_is_done(
    folder: tuple[Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MEDPRM_DEIDENTIFY_SECRET")
    assert main([str(folder[0]), str(tmp_path / "out")]) == 2
    assert "openssl rand -hex 32" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_records_are_cleaned(tmp_path: Path) -> None:
    record = {
        "case_id": "study-774411",
        "patient_id": "MRN5566778",
        "modality": "text",
        "clinical_context": {"age": 97, "sex": "F", "note": NOTE, "symptoms": ["cough"]},
        "question": "What did Dr. Zwingli see on March 5, 2019?",
        "solution_steps": [{"step_id": 0, "content": "Frau Oberhuber has a fracture of rib 5."}],
    }
    (tmp_path / "in.jsonl").write_text(json.dumps(record) + "\n")
    assert main([str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), "--names", "patterns"]) == 0
    text = (tmp_path / "out.jsonl").read_text()
    for one in ("774411", "5566778", "berhuber", "Zwingli", "2019", "97"):
        assert one not in text
    cleaned = json.loads(text)
    assert cleaned["question"] == "What did Dr. [NAME] see on [DATE]?"
    assert cleaned["clinical_context"] | {"note": ""} == {"age": 90, "sex": "F", "note": "", "symptoms": ["cough"]}
    assert cleaned["solution_steps"][0]["content"] == "Frau [NAME] has a fracture of rib 5."


def test_a_patient_has_one_pseudonym_in_files_and_records() -> None:
    record = {"case_id": "c1", "patient_id": "MRN1", "modality": "text", "question": "?"}
    settings = (DeidentifySettings(), TextDeidentifySettings("patterns"))
    cleaned = clean_record(record, SECRET.encode(), *settings, Counter())
    assert cleaned["patient_id"] == Pseudonyms(SECRET.encode(), "MRN1").patient


def test_a_line_that_is_no_record_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text('{"case_id": "c"}\n')
    assert main([str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), "--names", "patterns"]) == 2
    assert "in.jsonl:1" in capsys.readouterr().err and not (tmp_path / "out.jsonl").exists()
