"""A folder of DICOM and a CSV of questions to records: what is kept, what is refused, and what a kill leaves."""

import csv
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studies import write_file, write_folder

from medprm.cases.folder import open_data
from medprm.cases.jsonl import read_cases
from medprm.commands.ingest import main
from medprm.images.files import resolve_image
from medprm.images.load import load_image


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "source")


def write_csv(path: Path, columns: str, *rows: str) -> Path:
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def run(source: Path, target: Path, *more: str) -> int:
    return main([str(source), "--to", str(target), *more])


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def digest(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_questions_become_cases_with_what_the_header_says(source: Path, tmp_path: Path) -> None:
    questions = write_csv(
        tmp_path / "questions.csv",
        "case_id,file,frame,question,options,answer,age,modality,symptoms,patient_id",
        "a,p0/s0/0.dcm,,Is there effusion?,yes|no,no,,,cough | fever,",
        "b,p1/s2/4.dcm,,Which finding?,,nodule,71,,,of ours",
        ",cine.dcm,2,What moves?,,,,clinical_photos,,",
        ",ct/slice,,What is bright?,,,,,,",
        "two,p0/s1/2.dcm,,What changed?,,,,,,",
        "two,p0/s1/3.dcm,,What changed?,,,,,,",
    )
    target = tmp_path / "out"
    assert run(source, target, "--questions", str(questions)) == 0
    cases = {item.case.case_id: item.case for item in read_cases(target / "records.jsonl")}
    assert list(cases) == ["a", "b", "questions_000003", "questions_000004", "two"]
    a, b, cine, slice_, two = cases.values()
    assert (a.patient_id, a.modality, a.clinical_context.age, a.clinical_context.sex) == (
        "P0000",
        "chest_xray",
        30,
        "F",
    )
    assert a.options == ("yes", "no") and a.clinical_context.symptoms == ("cough", "fever")
    assert a.gold_standard and a.gold_standard.answer == "no" and a.image and a.image.view == "PA"
    assert (b.patient_id, b.clinical_context.age) == ("of ours", 71)
    assert cine.image and cine.image.frame == 2 and cine.modality == "clinical_photos"
    assert slice_.modality == "ct_scan"
    assert [image.path for image in two.all_images] == ["p0/s1/2.dcm", "p0/s1/3.dcm"]
    assert a.extra and two.extra and a.extra["study_id"] != two.extra["study_id"]
    root = target / json.loads((target / "dataset.json").read_text())["image_root"]
    for case in cases.values():
        for image in case.all_images:
            assert load_image(resolve_image(root, image.path), image.frame).size == (24, 24)
    counts = json.loads((target / "ingest.json").read_text())
    assert counts["files"]["read"] == 11 and counts["files"]["refused"] == 3
    assert counts["questions"]["kept"] == 5


def test_every_file_stands_in_the_table_and_every_refusal_has_its_reason(source: Path, tmp_path: Path) -> None:
    (source / "link.dcm").symlink_to(source / "hand.dcm")
    (tmp_path / "outside.dcm").write_bytes((source / "hand.dcm").read_bytes())
    (source / "outside.dcm").symlink_to(tmp_path / "outside.dcm")
    (source / "elsewhere").symlink_to(tmp_path)
    os.mkfifo(source / "pipe")
    (source / "back\\slash.dcm").write_bytes(b"x")
    os.close(os.open(os.fsencode(source) + b"/not\xffutf8", os.O_CREAT))
    (source / "export.zip").write_bytes(b"PK\x03\x04 and more")
    target = tmp_path / "out"
    assert run(source, target, "--question", "What is seen?") == 0
    files = {row["path"]: row for row in table(target / "files.csv")}
    assert len(files) == 14 + 7
    refused = {row["where"]: row["reason"] for row in table(target / "refused.csv") if row["kind"] == "file"}
    assert set(refused) == {path for path, row in files.items() if row["status"] == "refused"}
    for path, said in {
        "README.txt": "of an unknown format",
        "empty.dcm": "0 bytes",
        "cut.dcm": "less than expected",
        "link.dcm": "a link into the source",
        "outside.dcm": "a link out of the source",
        "elsewhere": "a link out of the source",
        "pipe": "not a regular file",
        "back\\slash.dcm": "no record can hold",
        "not\\xffutf8": "no record can hold",
        "export.zip": "is a ZIP archive",
    }.items():
        assert said in refused.pop(path), path
    assert not refused
    questions = {row["where"]: row["reason"] for row in table(target / "refused.csv") if row["kind"] == "question"}
    assert list(questions) == ["cine.dcm", "hand.dcm"] and "modality CR of HAND" in questions["hand.dcm"]
    assert "holds 3 frames" in questions["cine.dcm"]
    assert len(read_cases(target / "records.jsonl")) == 9
    text = (target / "refused.csv").read_text() + (target / "files.csv").read_text()
    assert str(tmp_path) not in text, "no path of this machine"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../secret.dcm", "without '..'"),
        ("/etc/passwd", "relative to the data root"),
        ("p0/../../secret.dcm", "without '..'"),
        ("C:\\secret.dcm", "relative to the data root"),
        ("http://host/a.dcm", "relative to the data root"),
    ],
)
def test_a_csv_that_reaches_out_of_the_source_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, said: str
) -> None:
    questions = write_csv(tmp_path / "q.csv", "file,question", "hand.dcm,Which?", f"{path},Which?")
    assert run(source, tmp_path / "out", "--questions", str(questions)) == 2
    message = capsys.readouterr().err
    assert "q.csv:3: file: path" in message and said in message
    assert not (tmp_path / "out").exists()


def test_a_question_without_its_image_is_refused_and_counted(source: Path, tmp_path: Path) -> None:
    study = json.loads('"1.2.3"')
    questions = write_csv(
        tmp_path / "q.csv",
        "file,study_id,frame,question,case_id",
        "absent.dcm,,,Which?,",
        "cut.dcm,,,Which?,",
        "cine.dcm,,,Which?,",
        "cine.dcm,,3,Which?,",
        f",{study},,Which?,",
        "p0/s0/0.dcm,,,Both?,both",
        "p1/s2/4.dcm,,,Both?,both",
        "p0/s0/1.dcm,,,Which?,kept",
    )
    target = tmp_path / "out"
    assert run(source, target, "--questions", str(questions)) == 0
    refused = {row["where"]: row["reason"] for row in table(target / "refused.csv") if row["kind"] == "question"}
    for where, said in {
        "q.csv:2": "no such file in the source",
        "q.csv:3": "less than expected",
        "q.csv:4": "holds 3 frames",
        "q.csv:5": "frame 3; expected 0 to 2",
        "q.csv:6": "no readable file of this study",
        "q.csv:7": "more than one patient",
    }.items():
        assert said in refused.pop(where), where
    assert not refused
    assert [item.case.case_id for item in read_cases(target / "records.jsonl")] == ["kept"]


def test_a_study_gives_all_its_images_in_order(source: Path, tmp_path: Path) -> None:
    first = {row["path"]: row["study_id"] for row in table(_files(source, tmp_path))}
    questions = write_csv(tmp_path / "q.csv", "study_id,question", f"{first['p0/s1/2.dcm']},What changed?")
    target = tmp_path / "out"
    assert run(source, target, "--questions", str(questions), "--images", "png") == 0
    case = read_cases(target / "records.jsonl")[0].case
    assert len(case.all_images) == 2 and case.patient_id == "P0000"
    for image, path in zip(case.all_images, ("p0/s1/2.dcm", "p0/s1/3.dcm"), strict=True):
        assert np.array_equal(np.asarray(load_image(target / image.path)), np.asarray(load_image(source / path)))
    assert run(source, target, "--questions", str(questions), "--max-images", "1", "--overwrite") == 2


def _files(source: Path, tmp_path: Path) -> Path:
    assert run(source, tmp_path / "first", "--question", "?") == 0
    return tmp_path / "first" / "files.csv"


def test_png_in_ct_windows(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out"
    windows = ("lung", "soft_tissue", "bone")
    assert run(source / "ct", target, "--question", "?", "--images", "png", "--windows", ",".join(windows)) == 0
    image = read_cases(target / "records.jsonl")[0].case.image
    assert image
    expected = load_image(source / "ct" / "slice", windows=windows)
    with Image.open(target / image.path) as written:
        assert np.array_equal(np.asarray(written), np.asarray(expected)) and written.mode == "RGB"
    assert run(source / "p0", target, "--question", "?", "--images", "png", "--windows", "lung", "--overwrite") == 2
    assert "for modality #CR#" in capsys.readouterr().err.replace("'", "#")
    assert run(source, target, "--question", "?", "--windows", "lung", "--overwrite") == 2
    assert "choose images=png" in capsys.readouterr().err


def test_split_by_patient_is_a_data_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for seed in range(40):
        write_file(source / f"{seed}.dcm", seed)
    assert run(source, tmp_path / "out", "--question", "?", "--split") == 0
    data = open_data(tmp_path / "out")
    patients = [
        {item.case.patient_id for item in data.split(name, require_steps=False)}
        for name in ("train", "validation", "test")
    ]
    assert sum(len(one) for one in patients) == 10 and len(set.union(*patients)) == 10 and all(patients)


def test_mistakes_say_what_to_do(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out"
    for more, said in (
        ((), "either a CSV of questions or one question"),
        (("--question", "?", "--resume", "--overwrite"), "leave one out"),
        (("--question", "?", "--resume"), "nothing to go on with"),
        (("--question", "?", "--windows", "lungs", "--images", "png"), "window 'lungs'"),
        (("--questions", str(write_csv(tmp_path / "a.csv", "file,questoin", "x,y"))), "column 'questoin'"),
        (("--questions", str(write_csv(tmp_path / "b.csv", "file", "x"))), "expected question"),
        (("--questions", str(write_csv(tmp_path / "c.csv", "file,question", "x"))), "c.csv:2: not as many cells"),
        (("--questions", str(write_csv(tmp_path / "d.csv", "file,question,frame", "x,y,-1"))), "d.csv:2: frame '-1'"),
        (("--questions", str(write_csv(tmp_path / "e.csv", "file,question,modality", "x,y,xray"))), "modality 'xray'"),
        (("--questions", str(tmp_path / "absent.csv")), "no such file"),
    ):
        assert run(source, target, *more) == 2
        assert said in capsys.readouterr().err, said
    assert run(source, source / "inside", "--question", "?") == 2
    assert "lies in the source" in capsys.readouterr().err
    assert run(tmp_path / "absent", target, "--question", "?") == 2
    assert run(source, target, "--question", "?") == 0
    assert run(source, target, "--question", "?") == 2
    assert "--resume to go on, --overwrite to replace" in capsys.readouterr().err
    assert run(source, target, "--question", "another", "--resume") == 2
    assert "another ingest was begun here" in capsys.readouterr().err
    write_file(source / "p0" / "new.dcm", 99)
    assert run(source, target, "--question", "?", "--resume") == 2
    assert "the source has changed" in capsys.readouterr().err


@pytest.mark.parametrize("images", ["keep", "png"])
def test_killed_and_resumed_is_the_same_to_the_byte(tmp_path: Path, images: str) -> None:
    source = tmp_path / "source"
    for seed in range(150):
        write_file(source / f"{seed % 7}" / f"{seed}.dcm", seed, side=64)
    (source / "notes.txt").write_text("no image")
    more = ["--question", "What is seen?", "--images", images, "--split"]
    assert run(source, tmp_path / "whole", *more) == 0
    command = [sys.executable, "-m", "medprm.commands.ingest", str(source), "--to", str(tmp_path / "killed"), *more]
    journal = tmp_path / "killed.journal" / "journal.jsonl"
    num_kills = 0
    for least in (20, 60, 110):
        process = subprocess.Popen([*command, *(["--resume"] if num_kills else [])], stderr=subprocess.DEVNULL)
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < least):
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            num_kills += 1
        process.wait()
    assert num_kills, "it was never killed on its way"
    with open(journal, "ab") as torn:
        torn.write(b'{"entry": ["half a line')
    assert run(source, tmp_path / "killed", *more, "--resume") == 0
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")
    if images == "png":
        assert len(list((tmp_path / "killed" / "images").iterdir())) == 150


def test_deidentified_records_hold_no_identifier(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("medprm.images.deidentify", reason="de-identification is not in this checkout")
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef" * 2)
    target = tmp_path / "out"
    more = (
        "--question",
        "What is seen?",
        "--names",
        "patterns",
        "--deidentify",
        f"secret_file={secret}",
        "burned_in=off",
    )
    assert run(source, target, *more) == 2
    assert "choose images=png" in capsys.readouterr().err
    assert run(source, target, *more, "--images", "png") == 0
    assert sorted(path.name for path in target.iterdir()) == ["dataset.json", "images", "records.jsonl"]
    originals = table(_files(source, tmp_path))
    written = b"".join(path.read_bytes() for path in target.rglob("*") if path.is_file())
    for row in originals:
        for name in ("patient_id", "study_id", "series_id", "sop_instance_uid"):
            assert not row[name] or row[name].encode() not in written
    assert b"Doe" not in written and str(tmp_path).encode() not in written
    cases = [item.case for item in read_cases(target / "records.jsonl")]
    assert len({case.patient_id for case in cases}) == 3 and all(case.clinical_context.age for case in cases)
    assert json.loads((target / "dataset.json").read_text())["deidentified"] is True
    own = write_csv(tmp_path / "q.csv", "file,question,patient_id", "hand.dcm,?,mine")
    assert run(source, tmp_path / "b", "--questions", str(own), "--images", "png", *more[2:]) == 2
    assert "q.csv:2: patient_id" in capsys.readouterr().err
    absent = ("--names", "patterns", "--deidentify", f"secret_file={tmp_path / 'absent'}")
    assert run(source, tmp_path / "c", "--question", "?", "--images", "png", *absent) == 2
    assert run(source, tmp_path / "c", "--question", "?", "--images", "png", "--deidentify", "secrets=x") == 2


def test_deidentified_texts_are_looked_through_and_counted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = write_csv(
        tmp_path / "questions.csv",
        "file,question,options,note,symptoms,history,answer,findings",
        "p0/s0/0.dcm,Was the film of 4.3.2021 read?,yes|Dr. Anna Zwingli did,Seen by Dr. Zwingli on 2021-03-04.,"
        "cough|tel. (030) 555-0134,MRN: 00-12345,Dr. Anna Zwingli did,effusion",
        "p0/s0/1.dcm,Is there effusion?,yes|no,,cough,,no,",
    )
    (tmp_path / "secret").write_text("0123456789abcdef" * 2)
    more = ("--questions", str(questions), "--images", "png")
    asked = (*more, "--names", "patterns", "--deidentify", f"secret_file={tmp_path / 'secret'}", "burned_in=off")
    assert run(source, tmp_path / "out", *asked) == 0
    first, second = (item.case for item in read_cases(tmp_path / "out" / "records.jsonl"))
    assert first.question == "Was the film of [DATE] read?"
    assert first.options == ("yes", "Dr. [NAME] did") and first.gold_standard.answer == "Dr. [NAME] did"
    context = first.clinical_context
    assert context.note == "Seen by Dr. [NAME] on [DATE]."
    assert context.symptoms == ("cough", "tel. [CONTACT]") and context.history == ("MRN: [ID]",)
    assert second.question == "Is there effusion?" and second.clinical_context.symptoms == ("cough",)
    assert first.extra and str(first.extra["study_id"]).startswith("2.25.") and first.patient_id.startswith("P")
    counts = json.loads((tmp_path / "out.journal" / "ingest.json").read_text())
    assert counts["texts"] == {"CONTACT": 1, "DATE": 2, "ID": 1, "NAME": 3, "cases with any": 1}
    assert "replaced in texts: 1 CONTACT, 2 DATE, 1 ID, 3 NAME, 1 cases with any" in capsys.readouterr().out
    assert run(source, tmp_path / "plain", *more, "--names", "patterns") == 2
    assert "--names without --deidentify" in capsys.readouterr().err
    assert run(source, tmp_path / "plain", *more) == 0
    assert read_cases(tmp_path / "plain" / "records.jsonl")[0].case.question == "Was the film of 4.3.2021 read?"
    own = write_csv(tmp_path / "own.csv", "case_id,file,question", "MRN0012345,hand.dcm,?")
    assert run(source, tmp_path / "b", "--questions", str(own), *asked[2:]) == 2
    assert "own.csv:2: case_id 'MRN0012345' looks like an identifier" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("philter_lite") is not None, reason="philter-lite is installed")
def test_without_lists_of_names_nothing_is_begun(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef" * 2)
    asked = ("--question", "?", "--images", "png", "--deidentify", f"secret_file={tmp_path / 'secret'}")
    assert run(source, tmp_path / "out", *asked) == 2
    assert "philter-lite" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_without_deidentification_nothing_is_called_deidentified(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / "out", "--question", "?", "--images", "png") == 0
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["deidentified"] is False
    assert all(item.case.metadata.phi_removed is None for item in read_cases(tmp_path / "out" / "records.jsonl"))
