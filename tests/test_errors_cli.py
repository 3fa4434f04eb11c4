"""Mistakes of the user: one clear line on stderr, exit code 2, no traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import train_arguments, write_base, write_records

from medprm.commands.entry import run_verb

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
TINY_PHANTOM = [
    "data.phantom.num_train_patients=1",
    "data.phantom.num_validation_patients=1",
    "data.phantom.num_test_patients=1",
]

Run = Callable[..., str]


@pytest.fixture
def mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a verb with arguments that are wrong; returns what it says."""

    def run(verb: str, *arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [f"{verb}.py", *arguments])
        code = run_verb(verb, CONF)
        shown = capsys.readouterr().err
        assert code == 2, shown
        assert "Traceback" not in shown
        lines = [line for line in shown.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and shown.splitlines()[-1] == lines[0], shown
        return lines[0]

    return run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return write_records(tmp_path / "set")


@pytest.fixture
def arguments(base: Path, records: Path, tmp_path: Path) -> list[str]:
    return train_arguments(base, records, tmp_path / "run")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--estimate", "--estimate: settings are written without hyphens; did you mean estimate=true?"),
        ("--max-cases=3", "did you mean max_cases=3?"),
        ("--experiment=cxr", "did you mean +experiment=cxr?"),
        ("expert=all", "expert: a section of settings, not a setting; did you mean expert.steps=all?"),
        ("expert=simulated", "did you mean expert.kind=simulated?"),
        ("monte_carlo=fixed", "did you mean monte_carlo.stopping=fixed?"),
    ],
)
def test_a_wrong_setting_of_annotate(argument: str, message: str, mistake: Run) -> None:
    assert message in mistake("annotate", argument)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("training.learning_rat=1", "did you mean training.learning_rate?"),
        ("training.lr=1", "did you mean training.learning_rate?"),
        ("learning_rate=1", "did you mean training.learning_rate?"),
        ("lables=hybrid", "did you mean labels"),
        ("experment=cxr", "did you mean +experiment?"),
        ("experiment=cxr", "+experiment=cxr"),
        (
            "+experiment=cx",
            "expected one of ct, cxr, dermatology, medec, medprm_text, mrben, nih, pathology, visualprm; did you mean ",
        ),
        ("scale=lptop", "expected one of cluster, gpu, laptop, node8; did you mean scale=laptop?"),
        ("training.learning_rate=many", "'many' of type 'str' could not be converted to Float"),
        ("training.max_steps=1.5", "could not be converted to Integer"),
        ("labels.kind=maybe", "'maybe'; expected one of hybrid, value"),
        ("+training.lr=1", "training.lr: no such setting"),
        ("labels.mc_threshold=0.5", "only labels.kind=value reads it"),
        ("'a=[", "'a=["),
        ("data=nih", "data=nih has no built-in cases; give data.path=FOLDER with train, validation and test"),
        ("data.path=/no/such/folder", "/no/such/folder: no such data folder"),
    ],
)
def test_a_wrong_setting(argument: str, message: str, mistake: Run) -> None:
    assert message in mistake("train", "scale=laptop" if "scale" not in argument else "seed=0", argument)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("permute=image", "expected one of images, context, documents"),
        ("checkpoint=/no/such/model", "/no/such/model: no such folder"),
        ("evaluation.threshold=2", "expected null or a number from 0 to 1"),
        ("+foo=1", "foo: no such setting"),
        ("run_name=nothing", "train first (python train.py run_name=nothing)"),
    ],
)
def test_a_wrong_setting_of_evaluate(argument: str, message: str, mistake: Run) -> None:
    assert message in mistake("evaluate", *TINY_PHANTOM, argument)


def edit_line(records: Path, change: Callable[[dict], None], number: int = 2) -> None:
    lines = (records / "train.jsonl").read_text().splitlines()
    value = json.loads(lines[number - 1])
    change(value)
    lines[number - 1] = json.dumps(value)
    (records / "train.jsonl").write_text("\n".join(lines) + "\n")


def test_a_broken_line(arguments: list[str], records: Path, mistake: Run) -> None:
    text = (records / "train.jsonl").read_text().splitlines()
    (records / "train.jsonl").write_text("\n".join([text[0], text[1][:-5], *text[2:]]) + "\n")
    assert "train.jsonl:2" in mistake("train", *arguments)


def test_an_unknown_label(arguments: list[str], records: Path, mistake: Run) -> None:
    edit_line(records, lambda value: value["solution_steps"][0].update(label="maybe"))
    said = mistake("train", *arguments)
    assert "train.jsonl:2 case" in said and "step 0" in said and "'maybe'" in said
    assert "correct, incorrect, neutral or unknown" in said


def test_a_case_without_steps(arguments: list[str], records: Path, mistake: Run) -> None:
    edit_line(records, lambda value: value.update(solution_steps=[]))
    said = mistake("train", *arguments)
    assert "train.jsonl:2" in said and "at least one step" in said


def test_a_missing_image(arguments: list[str], records: Path, mistake: Run) -> None:
    (records / "train" / "0.png").unlink()
    assert "train/0.png" in mistake("train", *arguments)


def test_a_corrupt_dicom(arguments: list[str], records: Path, mistake: Run) -> None:
    (records / "train" / "0.png").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 400)
    said = mistake("train", *arguments, "training.max_steps=2")
    assert "train/0.png: " in said and "damaged, copy it again" in said


def test_an_empty_file_of_records(arguments: list[str], records: Path, mistake: Run) -> None:
    (records / "train.jsonl").write_text("")
    assert "train.jsonl: the file is empty" in mistake("train", *arguments)


def test_a_run_folder_that_exists(arguments: list[str], tmp_path: Path, mistake: Run) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "run" / "metrics.jsonl").write_text("{}\n")
    said = mistake("train", *arguments)
    assert "exists already" in said
    for way_out in ("resume=true", "overwrite=true", "run_name="):
        assert way_out in said


def test_a_multirun_stops_at_the_first_mistake(mistake: Run) -> None:
    said = mistake("train", "-m", "scale=laptop", "seed=0,1", "data.path=/no/such/folder")
    assert "/no/such/folder" in said


@pytest.mark.parametrize(
    ("script", "argument"), [("train.py", "training.lr=1"), ("evaluate.py", "evaluation.treshold=1")]
)
def test_a_process_says_one_line_and_exits_with_2(script: str, argument: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), argument],
        cwd=tmp_path,
        env={**os.environ, "HYDRA_FULL_ERROR": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "scale=laptop"])
    monkeypatch.setattr("medprm.commands.entry.typed", lambda composed, schema: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_verb("train", CONF)


def test_a_broken_image_in_a_worker_process_is_one_line_too(
    mistake: Run, arguments: list[str], records: Path, tmp_path: Path
) -> None:
    image = sorted((records / "train").glob("*.png"))[0]
    image.write_bytes(image.read_bytes()[:-60])  # its size can be read, its pixels cannot
    said = mistake("train", *arguments, "training.dataloader_num_workers=1")
    assert f"{image.name}: the PNG is cut off" in said and "worker" not in said
