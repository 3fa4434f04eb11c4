"""`evaluate` for real: what it writes, that the numbers are those of the scores, and the controls."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_run import SIZES, evaluate_config, write_records

from medprm.cases.folder import open_data
from medprm.cases.schema import CaseSolutions
from medprm.commands import evaluate
from medprm.config import TrackingSettings
from medprm.errors import InputError
from medprm.evaluation.scored import read_scored
from medprm.evaluation.settings import EvaluationSettings
from medprm.model.loading import load_checkpoint
from medprm.scoring.calibration import Calibration, save_calibration
from medprm.scoring.scorer import StepScorer
from medprm.scoring.settings import ScoringSettings

ROOT = Path(__file__).parents[2]
SMALL_ROWS = 250  # several rows a split


def test_it_writes_scores_numbers_and_a_report(evaluated: Path) -> None:
    assert evaluated.name == "evaluation"
    run = json.loads((evaluated / "run.json").read_text())
    assert run["scored_in"] == {"device": "cpu", "dtype": "float32"}, "what auto stood for"
    scored = read_scored(evaluated / "scored.jsonl")
    assert len(scored) == 3 * (SIZES["validation"] + SIZES["test"])
    metrics = json.loads((evaluated / "metrics.json").read_text())
    for number in (
        metrics["step_metrics"]["macro_f1"],
        metrics["best_of_n"]["pass@1"],
        metrics["best_of_n"]["mean"]["2"],
        metrics["best_of_n"]["oracle"]["2"],
    ):
        assert {"value", "low", "high", "n"} <= number.keys()
    report = (evaluated / "report.html").read_text()
    assert "data:image/png;base64," in report and "http://" not in report.replace("http://www.w3.org", "")


def test_the_scores_are_those_of_the_checkpoint(evaluated: Path, trained: Path, records: Path) -> None:
    checkpoint = trained / "checkpoint"
    scorer = StepScorer.from_loaded(load_checkpoint(checkpoint), str(checkpoint))
    by_solution = {(one.case_id, one.solution_id): one for one in read_scored(evaluated / "scored.jsonl")}
    for case, solutions in open_data(records).split("test"):
        for solution, scores in zip(solutions, scorer.score(case, solutions, records), strict=True):
            found = by_solution[case.case_id, solution.solution_id or ""]
            assert found.split == "test" and found.labels == list(solution.labels)
            # Another batch: 1e-7 measured in float32.
            assert found.step_scores == pytest.approx(scores, abs=1e-5)


def test_threshold_and_aggregation_are_those_in_the_checkpoint(evaluated: Path, trained: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    prm = json.loads((trained / "checkpoint" / "medprm.json").read_text())
    assert metrics["threshold"] == pytest.approx(prm["threshold"], abs=1e-5)
    assert metrics["aggregation"] == prm["aggregation"]


def test_the_table_and_the_report_end_the_output(
    trained: Path, records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = evaluate.run(evaluate_config(records, trained, name="again"))
    shown = capsys.readouterr().out
    assert "macro F1" in shown and "Best-of-N" in shown
    assert shown.rstrip().splitlines()[-1].endswith(str(folder / "report.html"))


def test_results_are_not_overwritten_unasked(evaluated: Path, trained: Path, records: Path) -> None:
    with pytest.raises(InputError, match="overwrite=true"):
        evaluate.run(evaluate_config(records, trained))
    (evaluated / "config.yaml").rename(evaluated / "renamed.yaml")
    with pytest.raises(InputError, match="is not deleted"):
        evaluate.run(evaluate_config(records, trained, overwrite=True))
    (evaluated / "renamed.yaml").rename(evaluated / "config.yaml")


def test_an_interrupted_evaluation_goes_on(
    evaluated: Path, trained: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after one row of the test split: the rest is scored, and no row twice."""
    scoring = ScoringSettings(device="cpu", max_row_tokens=SMALL_ROWS)
    forwards: list[int] = []
    original = StepScorer.score_row

    def score_row(self: StepScorer, batch: dict[str, Any]) -> list[float]:
        forwards.append(batch["input_ids"].shape[1])
        if len(forwards) == killed_at:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(StepScorer, "score_row", score_row)
    killed_at = 0
    whole = evaluate.run(evaluate_config(records, trained, name="whole", scoring=scoring))
    num_forwards, killed_at = len(forwards), len(forwards)
    forwards.clear()
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(evaluate_config(records, trained, name="killed", scoring=scoring))
    assert not (trained / "killed" / "scored.jsonl").exists()
    forwards.clear()
    killed_at = 0
    again = evaluate.run(evaluate_config(records, trained, name="killed", scoring=scoring, resume=True))
    assert len(forwards) == 1 and num_forwards > 3
    assert (again / "scored.jsonl").read_bytes() == (whole / "scored.jsonl").read_bytes()
    more = EvaluationSettings(num_bootstrap=200, max_candidates=[1])
    evaluate.run(evaluate_config(records, trained, name="killed", scoring=scoring, resume=True, evaluation=more))
    assert len(forwards) == 1, "other statistics need no forward"
    other = ScoringSettings(device="cpu", max_row_tokens=SMALL_ROWS + 1)
    with pytest.raises(InputError, match=r"scoring.max_row_tokens was 250, is 251"):
        evaluate.run(evaluate_config(records, trained, name="killed", scoring=other, resume=True))


@pytest.mark.distributed
def test_two_processes_score_as_one(trained: Path, records: Path, tmp_path: Path) -> None:
    scoring = ScoringSettings(device="cpu", max_row_tokens=SMALL_ROWS)
    alone = evaluate.run(evaluate_config(records, trained, name="alone", scoring=scoring))
    settings = [f"output_dir={trained}", f"data.path={records}", "data.name=small", "num_threads=1", "name=both"]
    settings += [f"scoring.max_row_tokens={SMALL_ROWS}", "scoring.num_workers=1", "evaluation.num_bootstrap=100"]
    settings += ["evaluation.max_candidates=[1,2]", f"tiles.folder={tmp_path / 'tiles'}"]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(ROOT / "evaluate.py")]
    done = subprocess.run([sys.executable, *command, *settings], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    both = trained / "both"
    assert (both / "scored.jsonl").read_bytes() == (alone / "scored.jsonl").read_bytes()
    assert (both / "metrics.json").read_bytes() == (alone / "metrics.json").read_bytes()
    for split in ("validation", "test"):
        assert {one.name for one in (both / "rows" / split).iterdir()} == {"rank_0.jsonl", "rank_1.jsonl"}
        assert all(len(one.read_text().splitlines()) > 1 for one in (both / "rows" / split).iterdir())
    assert done.stdout.count("report:") == 1, "the first process alone reports"
    assert list((tmp_path / "tiles").rglob("*.npy"))


def test_a_run_without_a_checkpoint_says_what_to_do(records: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train first .* checkpoint=FOLDER"):
        evaluate.run(evaluate_config(records, tmp_path / "nothing"))


def test_a_base_is_not_a_prm(base: Path, records: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train a PRM first"):
        evaluate.run(evaluate_config(records, tmp_path / "run", checkpoint=str(base)))


def test_the_first_cases_alone(trained: Path, records: Path, tmp_path: Path) -> None:
    config = evaluate_config(records, tmp_path / "run", checkpoint=str(trained / "checkpoint"), max_cases=2)
    folder = evaluate.run(config)
    scored = read_scored(folder / "scored.jsonl")
    assert [sum(one.split == split for one in scored) for split in ("validation", "test")] == [6, 6]
    assert "2 cases of the test split are left out" in (folder / "log.txt").read_text()
    assert "first 2 cases" in (folder / "report.html").read_text()


@pytest.mark.parametrize("what", ["images", "context", "documents"])
def test_permuted_inputs_come_from_another_patient(what: str, tmp_path: Path) -> None:
    cases = distinct(open_data(write_records(tmp_path / "set")).split("train"))
    permuted = evaluate.permute_input(cases, what, seed=0)
    owner = {input_of(item, what): item.case.group_id for item in cases}
    assert len(owner) == len(cases), "every input is another"
    donors = [owner[input_of(item, what)] for item in permuted]
    assert all(donor != item.case.group_id for donor, item in zip(donors, permuted, strict=True))
    assert len(set(donors)) == len(donors), "each patient gives once"
    for before, after in zip(cases, permuted, strict=True):
        changed = set(evaluate.FIELDS[what])
        assert before.solutions == after.solutions
        assert before.case.model_dump(exclude=changed) == after.case.model_dump(exclude=changed)


def distinct(cases: list[CaseSolutions]) -> list[CaseSolutions]:
    """The cases with a context and a document of their own."""
    made = []
    for number, (case, solutions) in enumerate(cases):
        context = case.clinical_context.model_copy(update={"age": 20 + number})
        documents = tuple(one.model_copy(update={"text": f"passage {number}"}) for one in case.documents)
        made.append(
            CaseSolutions(case.model_copy(update={"clinical_context": context, "documents": documents}), solutions)
        )
    return made


def input_of(item: CaseSolutions, what: str) -> str:
    return str([getattr(item.case, name) for name in evaluate.FIELDS[what]])


def test_the_permutation_follows_the_seed(tmp_path: Path) -> None:
    cases = open_data(write_records(tmp_path / "set")).split("train")
    first, again, other = (evaluate.permute_input(cases, "images", seed) for seed in (0, 0, 1))
    assert first == again and first != other


def test_one_patient_cannot_be_permuted(tmp_path: Path) -> None:
    cases = open_data(write_records(tmp_path / "set")).split("test")[:1]
    with pytest.raises(InputError, match="expected at least 2"):
        evaluate.permute_input(cases, "images", seed=0)


def test_controls_have_folders_of_their_own(trained: Path, records: Path) -> None:
    assert evaluate.result_name(evaluate_config(records, trained, permute="images")) == "permuted_images"
    assert evaluate.result_name(evaluate_config(records, trained, blank=["images", "context"])) == (
        "blank_images_blank_context"
    )
    assert evaluate.result_name(evaluate_config(records, trained, permute="images", name="x")) == "x"


def test_a_permuted_image_changes_the_scores_of_the_test_split_only(
    evaluated: Path, trained: Path, records: Path
) -> None:
    folder = evaluate.run(evaluate_config(records, trained, permute="images"))
    before, after = scores_by_split(evaluated), scores_by_split(folder)
    assert before["validation"] == after["validation"]
    assert before["test"] != after["test"]
    assert "swapped between the patients" in (folder / "report.html").read_text()


def test_a_blank_image_is_a_control(evaluated: Path, trained: Path, records: Path) -> None:
    folder = evaluate.run(evaluate_config(records, trained, blank=["images"]))
    assert scores_by_split(evaluated)["validation"] != scores_by_split(folder)["validation"]


def scores_by_split(folder: Path) -> Mapping[str, list[list[float]]]:
    scored = read_scored(folder / "scored.jsonl")
    return {split: [one.step_scores for one in scored if one.split == split] for split in ("validation", "test")}


def test_an_offline_tracker_gets_the_tables_and_no_record(
    trained: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="tracking is an extra: pip install 'medprm[track]'")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    tracking = TrackingSettings(wandb="offline", keep_report=True)
    folder = evaluate.run(evaluate_config(records, trained, name="tracked", tracking=tracking))
    metrics = json.loads((folder / "metrics.json").read_text())
    (run,) = (folder / "wandb").glob("offline-run-*")
    tables = {one.name.rpartition("_")[0]: json.loads(one.read_text()) for one in run.rglob("*.table.json")}
    steps = {row[0]: row[1:] for row in tables["step_metrics_0"]["data"]}
    number = metrics["step_metrics"]["macro_f1"]
    assert steps["macro_f1"] == [number["value"], number["low"], number["high"], number["n"]]
    best = {(row[0], row[1]): row[2] for row in tables["best_of_n_2"]["data"]}
    assert best["oracle", 2] == metrics["best_of_n"]["oracle"]["2"]["value"]
    case = open_data(records).split("test")[0]
    words = [case.case.case_id, case.solutions[0].solution_steps[0].content]
    page = (folder / "report_numbers.html").read_text()
    kept = [one.read_bytes() for one in (folder / "wandb").rglob("*") if one.is_file() and not one.is_symlink()]
    kept += [one.read_bytes() for one in (tmp_path / "staging").rglob("*") if one.is_file()]
    assert "macro F1" in page and b"macro F1" in b"".join(kept)
    for word in words:
        assert word in (folder / "report.html").read_text()
        assert word not in page and word.encode() not in b"".join(kept)
    assert "<article" not in page and "<img" not in page, "no case is in it"


def test_each_case_has_its_winners(evaluated: Path) -> None:
    rows = [json.loads(line) for line in (evaluated / "selections.jsonl").read_text().splitlines()]
    assert len(rows) == SIZES["test"]
    assert {"mean", "majority", "weighted_vote", "shortest"} <= set(rows[0]["picks"])


def test_a_calibration_is_kept_with_the_checkpoint_and_applied_on_request(
    trained: Path, records: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(trained / "checkpoint", checkpoint)
    plain = evaluate_config(records, tmp_path / "plain", checkpoint=str(checkpoint))
    with pytest.raises(InputError, match="save_calibration=temperature"):
        evaluate.run(replace(plain, scoring=ScoringSettings(calibration="saved"), output_dir=str(tmp_path / "none")))
    before = read_scored(evaluate.run(plain) / "scored.jsonl")
    save_calibration(checkpoint, Calibration("temperature", 100, 0.25))
    again = evaluate.run(replace(plain, resume=True))
    assert read_scored(again / "scored.jsonl") == before, "scores do not depend on a map that is not asked for"
    mapped = replace(plain, scoring=ScoringSettings(calibration="saved"), output_dir=str(tmp_path / "mapped"))
    after = read_scored(evaluate.run(mapped) / "scored.jsonl")
    expected = [Calibration("temperature", 100, 0.25).apply(one.step_scores) for one in before]
    for one, golden in zip(after, expected, strict=True):
        assert one.step_scores == pytest.approx(golden.tolist(), abs=1e-6)
    assert before[0].step_scores != pytest.approx(after[0].step_scores, abs=1e-3)


def test_an_outcome_model_is_a_selector_beside_the_prm(trained: Path, records: Path, evaluated: Path, tmp_path) -> None:
    outcome = evaluate_config(
        records, tmp_path / "run", checkpoint=str(trained / "checkpoint"), orm=str(evaluated / "scored.jsonl")
    )
    metrics = json.loads((evaluate.run(outcome) / "metrics.json").read_text())
    assert metrics["best_of_n"]["orm"]["2"] == metrics["best_of_n"]["last"]["2"], "here the same model, read at the end"
    with pytest.raises(InputError, match="labels=outcome"):
        evaluate.run(replace(outcome, orm=str(tmp_path / "none.jsonl"), output_dir=str(tmp_path / "b")))


def test_a_map_of_mapped_scores_is_refused(records: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mapped scores"):
        evaluate_config(records, tmp_path, save_calibration="isotonic", scoring=ScoringSettings(calibration="saved"))
    with pytest.raises(InputError, match="temperature, isotonic"):
        evaluate_config(records, tmp_path, save_calibration="platt")
