"""`compare_groups` on evaluated runs: a table, a file, and one line for a mistake."""

import json
from pathlib import Path

import pytest
from small_run import evaluate_config

from medprm.commands import compare_groups, evaluate


def test_a_group_against_another(
    evaluated: Path, trained: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.run(evaluate_config(records, trained, blank=["images"], name="evaluation_blank", overwrite=True))
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "evaluation").symlink_to(trained / "evaluation_blank")
    groups = [f"seen={trained},{trained}", f"blank={tmp_path / 'blank'}"]
    assert compare_groups.main([*groups, "--num-bootstrap", "100", "--json", str(tmp_path / "found.json")]) == 0
    shown = capsys.readouterr().out
    seen, blank = json.loads((tmp_path / "found.json").read_text())
    metrics = json.loads((evaluated / "metrics.json").read_text())
    value = metrics["step_metrics"]["macro_f1"]["value"]
    assert seen["by_run"] == pytest.approx([value, value]) and "minus_first" not in seen
    assert blank["minus_first"]["value"] == pytest.approx(blank["mean"]["value"] - value)
    assert blank["verdict"] in shown and f"{value:.3f}" in shown


def test_mistakes_are_one_line(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["only_a_name"], "expected NAME=RUN"),
        (["a=nowhere"], "nowhere: no evaluation/metrics.json; python evaluate.py run_name=nowhere"),
        ([f"a={trained}", "--metric", "f1"], "metric 'f1'; expected one of macro_f1"),
    ):
        assert compare_groups.main(arguments) == 2
        shown = capsys.readouterr().err
        assert said in shown and shown.count("\n") == 1
