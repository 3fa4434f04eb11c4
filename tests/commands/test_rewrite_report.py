"""Numbers and page again from scored.jsonl: the same numbers, other settings, a judge beside; without the model."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from medprm.commands import report
from medprm.evaluation.judge_selector import Rated, write_ratings
from medprm.evaluation.scored import read_scored


def copied(evaluated: Path, folder: Path) -> Path:
    """The evaluation elsewhere, without the scored rows and the checkpoint."""
    return Path(shutil.copytree(evaluated, folder / "evaluation", ignore=shutil.ignore_patterns("rows", "*.html")))


def test_the_same_settings_give_the_same_numbers(evaluated: Path, tmp_path: Path) -> None:
    folder = copied(evaluated, tmp_path)
    assert report.main([str(folder), "--to", str(tmp_path / "again")]) == 0
    first, again = (json.loads((one / "metrics.json").read_text()) for one in (evaluated, tmp_path / "again"))
    assert again == first
    page = (tmp_path / "again" / "report.html").read_text()
    assert "data:image/png;base64" in page, "with the cases' pictures"
    assert "Versions" in page
    assert "<script" not in page


def test_what_is_said_at_the_top_stays(evaluated: Path, tmp_path: Path) -> None:
    folder = copied(evaluated, tmp_path)
    run = json.loads((folder / "run.json").read_text())
    assert run["report_notes"] == [], "of the user's own records"
    (folder / "run.json").write_text(json.dumps(run | {"report_notes": ["Drawn by a program."]}))
    assert report.main([str(folder)]) == 0
    assert "Drawn by a program." in (folder / "report.html").read_text()


def test_other_settings_need_no_model(evaluated: Path, tmp_path: Path) -> None:
    folder = copied(evaluated, tmp_path)
    arguments = ["--threshold", "0.25", "--aggregation", "last", "--sizes", "1", "3", "--num-bootstrap", "150"]
    assert report.main([str(folder), *arguments]) == 0
    numbers = json.loads((folder / "metrics.json").read_text())
    assert (numbers["threshold"], numbers["aggregation"]) == (0.25, "last")
    assert {"1", "3"} <= set(numbers["best_of_n"]["mean"])
    with open(folder / "tables" / "best_of_n.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    found = next(one for one in rows if one["selector"] == "mean" and one["num_candidates"] == "3")
    assert float(found["value"]) == numbers["best_of_n"]["mean"]["3"]["value"]
    latex = (folder / "tables" / "best_of_n.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    assert f"{numbers['best_of_n']['mean']['3']['value']:.3f}" in latex


def test_a_threshold_of_0_is_one(evaluated: Path, tmp_path: Path) -> None:
    folder = copied(evaluated, tmp_path)
    assert report.main([str(folder), "--threshold", "0"]) == 0
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["threshold"] == 0
    assert numbers["step_metrics"]["macro_f1"]["value"] == numbers["baselines"]["all_plus"]["macro_f1"]["value"]


def test_the_model_card_follows_the_numbers(evaluated: Path, tmp_path: Path) -> None:
    folder = copied(evaluated, tmp_path)
    before = (folder / "model_card.md").read_text()
    assert report.main([str(folder), "--aggregation", "max"]) == 0
    best = json.loads((folder / "metrics.json").read_text())["best_of_n"]["max"]
    after = (folder / "model_card.md").read_text()
    shown = best[max(best, key=int)]
    assert f"max score | {shown['value']:.3f}" in after and after != before
    assert after.count("## Results on") == 1


def test_the_outcome_model_of_the_evaluation_stays(evaluated: Path, tmp_path: Path) -> None:
    folder = copied(evaluated, tmp_path)
    config = folder / "config.yaml"
    outcome = tmp_path / "outcome.jsonl"
    shutil.copyfile(evaluated / "scored.jsonl", outcome)
    config.write_text(config.read_text().replace("orm: null", f"orm: {outcome}"))
    assert report.main([str(folder)]) == 0
    best = json.loads((folder / "metrics.json").read_text())["best_of_n"]
    assert best["orm"] == best["last"]
    outcome.unlink()
    assert report.main([str(folder)]) == 0
    assert "orm" not in json.loads((folder / "metrics.json").read_text())["best_of_n"]
    assert "The outcome reward model is left out" in (folder / "report.html").read_text()


def test_a_judge_that_knows_is_the_oracle(evaluated: Path, tmp_path: Path) -> None:
    folder = copied(evaluated, tmp_path)
    scored = [one for one in read_scored(folder / "scored.jsonl") if one.split == "test"]
    rated = [Rated(one.case_id, one.solution_id, float(bool(one.is_correct)), "", "knows") for one in scored]
    write_ratings(folder / "judge_ratings.jsonl", rated)
    assert report.main([str(folder)]) == 0
    best = json.loads((folder / "metrics.json").read_text())["best_of_n"]
    assert best["llm_judge"]["2"]["value"] == pytest.approx(best["oracle"]["2"]["value"])
    assert "judge" in (folder / "report.html").read_text()


def test_without_the_records_the_page_says_so(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(evaluated, tmp_path)
    assert report.main([str(folder), "--data", str(tmp_path / "gone")]) == 0
    assert "No cases are shown" in (folder / "report.html").read_text()
    (folder / "scored.jsonl").unlink()
    assert report.main([str(folder)]) == 2
    assert "no such file" in capsys.readouterr().err
