"""Sweep files run offline by their own command lines, and `compare` ranks what they leave."""

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from small_run import train_arguments

from medprm.commands import compare, entry
from medprm.commands.entry import run_verb

CONF = Path(__file__).parents[2] / "conf"
SWEEPS = sorted((CONF / "sweep").glob("*.yaml"))


def choices(parameter: dict[str, Any]) -> list[Any]:
    return parameter.get("values") or [parameter["min"], parameter["max"]]


def command_line(sweep: dict[str, Any], chosen: dict[str, Any]) -> list[str]:
    """What `wandb agent` starts: its own code makes arguments of the chosen values."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils", reason="wandb is an extra: medprm[track]")
    made = utils.create_sweep_command_args({"args": {name: {"value": value} for name, value in chosen.items()}})
    words = [one for word in sweep["command"] for one in (made["args_no_hyphens"] if "args_no" in word else [word])]
    assert words[:2] == ["${env}", "python"]
    return words[2:]


@pytest.mark.parametrize("file", SWEEPS, ids=lambda path: path.stem)
def test_every_choice_of_a_sweep_composes(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = yaml.safe_load(file.read_text())
    assert sweep["method"] in ("grid", "random", "bayes") and (CONF.parent / sweep["program"]).is_file()
    if "metric" in sweep:
        assert sweep["metric"]["name"].startswith("eval_"), "chosen on validation"
    tried = [
        command_line(sweep, {name: value})
        for name, parameter in sweep["parameters"].items()
        for value in choices(parameter)
    ]
    started = []
    verb = SimpleNamespace(run=started.append)
    # Not importlib's own: Hydra looks for its plugins by it.
    monkeypatch.setattr(entry, "importlib", SimpleNamespace(import_module=lambda name: verb))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_RUN_ID", "t0")
    for arguments in tried:
        monkeypatch.setattr(sys, "argv", arguments)
        assert run_verb(sweep["program"].removesuffix(".py"), CONF) == 0
    assert len(started) == len(tried) and {one.output_dir for one in started} == {"outputs/cxr_t0"}


def test_three_trials_of_a_sweep_run_offline_and_are_ranked(
    base: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = yaml.safe_load((CONF / "sweep" / "learning_rate.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    small = [one for one in train_arguments(base, records, tmp_path) if "output_dir" not in one and "_rate" not in one]
    small += ["tracking.wandb=offline", "training.max_steps=2"]
    for number, rate in enumerate((1e-4, 1e-3, 1e-2)):
        monkeypatch.setenv("WANDB_RUN_ID", f"trial{number}")
        chosen = {"training.learning_rate": rate, "training.weight_decay": 0.05}
        monkeypatch.setattr(sys, "argv", [*command_line(sweep, chosen), *small])
        assert run_verb("train", CONF) == 0
        assert list((tmp_path / "outputs" / f"cxr_trial{number}" / "wandb").glob("offline-run-*"))
    monkeypatch.delenv("WANDB_SWEEP_ID")
    given = ["data.name=small", f"data.path={records}", "num_threads=1", "evaluation.num_bootstrap=100"]
    for number in range(3):
        monkeypatch.setattr(
            sys, "argv", ["evaluate.py", f"run_name=cxr_trial{number}", "evaluation.max_candidates=[1,2]", *given]
        )
        assert run_verb("evaluate", CONF) == 0
    capsys.readouterr()
    assert compare.main(["outputs", "--html", "page.html"]) == 0
    shown = capsys.readouterr().out
    ranking, differences, *_ = shown.split("\n\n")
    rows = [line for line in ranking.splitlines() if line.startswith("cxr_trial")]
    found = {row.split()[0]: float(row.split()[1]) for row in rows}
    assert found == {name: pytest.approx(macro_f1(tmp_path / "outputs" / name), abs=5e-4) for name in found}
    assert len(found) == 3 and list(found.values()) == sorted(found.values(), reverse=True)
    assert len(set(found.values())) > 1, "three equal runs have no order"
    assert re.search(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", rows[0]), "intervals are shown"
    assert "training.learning_rate" in ranking and "0.01" in ranking, "settings that differ are shown"
    best, *others = found
    assert differences.startswith(f"minus {best}")
    for row in differences.splitlines()[2:]:
        name, minus = row.split()[:2]
        assert name in others and float(minus) == pytest.approx(found[name] - found[best], abs=1.1e-3)
    page = (tmp_path / "page.html").read_text()
    places = [page.index(name) for name in found]
    assert places == sorted(places)
    assert 'aria-label="Best-of-N of the runs' in page and "Paired differences" in page
    without_names = re.sub(r'xmlns(:\w+)?="http[^"]*"', "", page.replace("http-equiv", ""))
    assert "http" not in without_names and "<script" not in page


def macro_f1(run: Path) -> float:
    return json.loads((run / "evaluation" / "metrics.json").read_text())["step_metrics"]["macro_f1"]["value"]


@pytest.fixture
def runs(evaluated: Path, tmp_path: Path) -> Path:
    """A folder with one evaluated run, one with hostile name, and one that was not evaluated."""
    for name in ("one", "<b>two"):
        shutil.copytree(evaluated, tmp_path / "runs" / name / "evaluation")
        (tmp_path / "runs" / name / "config.yaml").write_text(f"seed: 0\nrun_name: {name!r}\n")
    (tmp_path / "runs" / "three").mkdir()
    (tmp_path / "runs" / "three" / "config.yaml").write_text("seed: 1\n")
    return tmp_path / "runs"


def test_runs_without_numbers_are_named(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(runs), str(runs / "one"), "--html", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr()
    assert "left out" in shown.err and "three" in shown.err
    assert shown.out.split("\n\n")[0].count("\none ") == 1, "a run given twice is one run"
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;two" in page and "<b>" not in page


def test_a_run_without_scores_has_no_difference(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "one" / "evaluation" / "scored.jsonl").unlink()
    assert compare.main([str(runs), "--html", str(tmp_path / "page.html")]) == 0
    assert "No paired differences: a run lacks scored.jsonl" in capsys.readouterr().out


def test_other_cases_are_said(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = runs / "one" / "evaluation" / "run.json"
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"data": {"hash": "other"}}))
    assert compare.main([str(runs), "--html", str(tmp_path / "page.html")]) == 0
    assert "evaluated on different cases" in capsys.readouterr().out


def test_mistakes_are_one_line(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = runs / "one" / "evaluation" / "metrics.json"
    for arguments, message in [
        ([str(runs / "nothing")], "no such folder"),
        ([str(runs / "three")], "evaluate first"),
        ([str(runs), "--by", "beauty"], "expected one of macro_f1"),
    ]:
        assert compare.main([*arguments, "--html", str(tmp_path / "page.html")]) == 2
        assert message in capsys.readouterr().err
    for text, message in [("{", "not JSON"), ("[]", "not the numbers of an evaluation")]:
        broken.write_text(text)
        assert compare.main([str(runs), "--html", str(tmp_path / "page.html")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
