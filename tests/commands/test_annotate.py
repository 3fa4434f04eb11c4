"""`annotate` on the phantom, without a server: real retrieval, a judge that cannot see, real rollouts."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_encoder import write_encoder

from medprm.annotation.settings import (
    ConsensusSettings,
    DenseSettings,
    ExpertSettings,
    JudgeSettings,
    MonteCarloSettings,
    RetrievalSettings,
)
from medprm.cases.jsonl import read_records
from medprm.cases.phantom.settings import PhantomSettings
from medprm.cases.schema import CaseSolutions, Record
from medprm.commands import annotate, annotate_cases
from medprm.config import AnnotateConfig, DataSettings
from medprm.encoding.turns import render_context
from medprm.errors import InputError
from medprm.run import RunError

PHANTOM = PhantomSettings(num_train_patients=3, num_validation_patients=1, num_test_patients=1, num_train_candidates=3)


def config(output: Path) -> AnnotateConfig:
    return AnnotateConfig(
        output_dir=str(output),
        num_threads=1,
        num_bootstrap=50,
        max_cases=2,
        data=DataSettings(phantom=PHANTOM),
        monte_carlo=MonteCarloSettings(num_rollouts=8, rollouts_per_round=4, num_processes=1),
    )


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return annotate.run(config(tmp_path_factory.mktemp("annotate") / "out"))


def test_everything_is_written(annotated: Path) -> None:
    records = list(read_records(annotated / "labelled.jsonl"))
    assert len(records) == 6
    for record in records:
        for place, step in enumerate(record.solution_steps):
            assert step.label and step.sources and len(step.sources.judge) == 1
            is_answer = place == len(record.solution_steps) - 1
            assert bool(step.sources.outcome) == is_answer and bool(step.sources.monte_carlo) != is_answer
            for run in step.sources.monte_carlo:
                assert run.num_planned == 8 and 0 <= run.num_total <= 8 and run.stopping
    cited = [one for record in records for step in record.solution_steps for one in step.sources.judge[0].citations]  # type: ignore[union-attr]
    assert cited and all(one.document_id and one.quote for one in cited)
    report = json.loads((annotated / "labels_report.json").read_text())
    for name in ("judge", "monte_carlo_half", "hybrid_before_experts", "hybrid_after_experts"):
        assert set(report["sources"][name]["coverage"]) == {"value", "low", "high", "n"}
    ledger = json.loads((annotated / "ledger.json").read_text())
    for name in ("dollars_per_label", "dollars_per_10000_cases"):
        assert report["cost"][name]["value"] == pytest.approx(ledger[name]) and ledger[name] > 0
        assert report["cost"][name]["low"] <= report["cost"][name]["value"] <= report["cost"][name]["high"]
    page = (annotated / "labels_report.html").read_text()
    assert "<td>per 10000 cases</td>" in page and "The machines leave" in page
    assert "<script" not in (annotated / "labels_report.html").read_text()
    assert ledger["work"]["num_cases"] == 2 and ledger["experts"]["dollars"] > 0


def test_the_queue_has_what_an_expert_needs_and_not_the_truth(annotated: Path) -> None:
    rows = [json.loads(line) for line in (annotated / "expert_queue.jsonl").read_text().splitlines()]
    values = [row["expected_value"] for row in rows]
    assert rows and values == sorted(values, reverse=True)
    num_steps = sum(len(one.solution_steps) for one in read_records(annotated / "labelled.jsonl"))
    assert len(rows) <= 0.3 * num_steps
    records = {one.solution_id: one for one in read_records(annotated / "labelled.jsonl")}
    for row in rows:
        record = records[row["solution_id"]]
        assert row["clinical_context"] == render_context(record.clinical_context).strip() != ""
        shown = {one["passage_id"]: one["text"] for one in row["passages"]}
        assert all(one["source"] for one in row["passages"]) and len(shown) > len(record.documents)
        cited = [one for verdict in row["judge"] for one in verdict["citations"]]
        assert all(one["quote"].casefold() in shown[one["document_id"]].casefold() for one in cited)
    assert not {"gold_standard", "is_correct", "label", "answer"} & set(rows[0])


def test_resumed_it_gives_the_same_bytes_without_computing(annotated: Path) -> None:
    before = {name: (annotated / name).read_bytes() for name in ("labelled.jsonl", "expert_queue.jsonl", "ledger.json")}
    annotate.run(replace(config(annotated), resume=True))
    assert {name: (annotated / name).read_bytes() for name in before} == before


def test_processes_and_kills_change_no_byte(annotated: Path, tmp_path: Path) -> None:
    """Two processes; stopped after the first case, then gone on with."""
    given = config(tmp_path / "out")
    given.monte_carlo.num_processes = 2
    original = annotate_cases.annotate_case
    seen: list[str] = []

    def stopped(item: CaseSolutions, *arguments: Any) -> list[Record]:
        seen.append(item.case.case_id)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(item, *arguments)

    annotate_cases.annotate_case = stopped
    try:
        with pytest.raises(KeyboardInterrupt):
            annotate.run(given)
    finally:
        annotate_cases.annotate_case = original
    annotate.run(replace(given, resume=True))
    for name in ("machine.jsonl", "labelled.jsonl", "expert_queue.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (annotated / name).read_bytes(), name


def test_exact_stopping_gives_the_labels_of_all_rollouts(annotated: Path, tmp_path: Path) -> None:
    given = config(tmp_path / "out")
    given.monte_carlo.stopping = "fixed"
    annotate.run(given)
    one, two = (list(read_records(folder / "machine.jsonl")) for folder in (annotated, tmp_path / "out"))
    assert [record.labels for record in one] == [record.labels for record in two]
    totals = [
        sum(run.num_total for record in records for step in record.solution_steps for run in step.sources.monte_carlo)  # type: ignore[union-attr]
        for records in (one, two)
    ]
    assert totals[0] < totals[1]


def test_a_stop_in_the_middle_of_searching_changes_no_byte(tmp_path: Path) -> None:
    """By words and by meaning: half of what was found is lost, the records too; the number of threads is another."""
    folder = write_encoder(tmp_path / "encoder", window=512)
    given = config(tmp_path / "out")
    given.retrieval = RetrievalSettings(dense=DenseSettings(passage_encoder=str(folder)))
    annotate.run(given)
    before = {name: (tmp_path / "out" / name).read_bytes() for name in ("labelled.jsonl", "expert_queue.jsonl")}
    with sqlite3.connect(tmp_path / "out" / "retrieved.sqlite") as database:
        (num_found,) = database.execute("select count(*) from found").fetchone()
        database.execute("delete from found where rowid % 2 = 0")
    for name in before:
        (tmp_path / "out" / name).unlink()
    annotate.run(replace(given, resume=True, num_threads=2))
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before
    with sqlite3.connect(tmp_path / "out" / "retrieved.sqlite") as database:
        assert database.execute("select count(*) from found").fetchone() == (num_found,)
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "73 passages as 73 windows" in log and "evidence of 6 solutions" in log


def test_other_settings_are_refused_on_resume(annotated: Path) -> None:
    changed = replace(config(annotated), resume=True, monte_carlo=MonteCarloSettings(num_rollouts=16))
    with pytest.raises(RunError, match="monte_carlo.num_rollouts was 8, is 16"):
        annotate.run(changed)


def test_deleting_the_truth_changes_no_label_of_the_machines(annotated: Path, tmp_path: Path) -> None:
    given = config(tmp_path / "out")
    first = annotate.run(given)
    assert (first / "machine.jsonl").read_bytes() == (annotated / "machine.jsonl").read_bytes()
    (truth,) = tmp_path.glob("phantom-*/truth.jsonl")
    truth.unlink()
    with pytest.raises(FileNotFoundError):
        annotate.run(replace(given, resume=True))  # the simulated expert cannot do without it
    cases = next(tmp_path.glob("phantom-*")) / "candidates.jsonl"
    own = replace(given, output_dir=str(tmp_path / "own"), cases=str(cases), expert=ExpertSettings(kind="none"))
    own.retrieval.collections = {"guidelines": str(cases.parent / "guidelines.jsonl")}
    annotate.run(own)
    assert (tmp_path / "own" / "machine.jsonl").read_bytes() == (annotated / "machine.jsonl").read_bytes()


def test_searched_for_the_first_error_some_steps_have_no_rollouts(annotated: Path, tmp_path: Path) -> None:
    monte_carlo = MonteCarloSettings(num_rollouts=8, rollouts_per_round=4, search="first_error")
    given = replace(config(tmp_path / "out"), consensus=ConsensusSettings(rule="value"), monte_carlo=monte_carlo)
    folder = annotate.run(given)
    whole, searched = (list(read_records(one / "labelled.jsonl")) for one in (annotated, folder))
    steps = [step for record in searched for step in record.solution_steps[:-1]]
    measured = [step for step in steps if step.sources and step.sources.monte_carlo]
    assert 0 < len(measured) < len(steps) == sum(len(record.solution_steps) - 1 for record in whole)
    assert all(step.sources.monte_carlo[0].extra == {"search": "first_error"} for step in measured if step.sources)
    assert {step.annotation_method for step in steps} <= {
        "mc_value",
        "mc_later_success",
        "unresolved",
        "expert_verified",
    }
    before = (folder / "labelled.jsonl").read_bytes()
    annotate.run(replace(given, resume=True))
    assert (folder / "labelled.jsonl").read_bytes() == before


def test_an_estimate_sends_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotate.run(replace(config(tmp_path / "out"), estimate=True))
    assert not (tmp_path / "out").exists()
    assert '"rollouts_at_most"' in capsys.readouterr().out


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(InputError, match="two sources of cases"):
        AnnotateConfig(cases="a.jsonl", data=DataSettings(name="x", path="b"))
    with pytest.raises(InputError, match="simulated knows the truth"):
        AnnotateConfig(cases="a.jsonl", expert=ExpertSettings(kind="simulated"))
    with pytest.raises(InputError, match="judge_server.base_urls"):
        AnnotateConfig(judge=JudgeSettings(kind="server"))
