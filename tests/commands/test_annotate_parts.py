"""Parts of an annotation: shards and their merge, solutions where there are none, fitted rules, stages with gates."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stub_server
from annotation_run import annotate_config, server_settings, text_records, write_inputs

from medprm.annotation.expert_queue import StepKey
from medprm.annotation.expert_stage import read_truth
from medprm.annotation.gates import GATES_FILE
from medprm.annotation.settings import (
    ConsensusSettings,
    ExpertSettings,
    JudgeSettings,
    MonteCarloSettings,
    RetrievalSettings,
    SolutionSettings,
    StageSettings,
)
from medprm.cases.jsonl import read_cases, read_records, write_cases
from medprm.cases.phantom.settings import PhantomSettings
from medprm.cases.schema import CaseSolutions
from medprm.clients.settings import ServerSettings
from medprm.commands import annotate
from medprm.commands.annotate_shards import merged_records
from medprm.config import AnnotateConfig, DataSettings
from medprm.errors import InputError

PHANTOM = PhantomSettings(num_train_patients=6, num_validation_patients=1, num_test_patients=1, num_train_candidates=4)


def phantom_config(output: Path, **changes: object) -> AnnotateConfig:
    fields = {
        "output_dir": str(output),
        "num_threads": 1,
        "num_bootstrap": 50,
        "max_cases": 5,
        "data": DataSettings(phantom=PHANTOM),
        "retrieval": RetrievalSettings(),
        "monte_carlo": MonteCarloSettings(num_rollouts=8, rollouts_per_round=4, num_processes=1),
    }
    return AnnotateConfig(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return annotate.run(phantom_config(tmp_path_factory.mktemp("parts") / "whole"))


def test_shards_put_together_are_the_run_itself(whole: Path) -> None:
    output = whole.parent / "sharded"
    merged = phantom_config(output, merge_shards=2)
    with pytest.raises(
        InputError, match=r"sharded.shards/0_of_2: not there, or not finished; .* shard=0/2 resume=true"
    ):
        annotate.run(merged)
    for index in (1, 0):
        folder = annotate.run(phantom_config(output, shard=f"{index}/2"))
        assert folder == output.parent / "sharded.shards" / f"{index}_of_2"
        assert not (folder / "labelled.jsonl").exists(), "the queue is ranked over all cases"
    with pytest.raises(InputError, match=r"0_of_2: made with other settings: monte_carlo.num_rollouts was 8, is 16"):
        annotate.run(replace(merged, monte_carlo=MonteCarloSettings(num_rollouts=16)))
    assert not output.exists(), "nothing is begun that cannot be done"
    annotate.run(merged)
    for name in ("machine.jsonl", "labelled.jsonl", "expert_queue.jsonl", "labels_report.json"):
        assert (output / name).read_bytes() == (whole / name).read_bytes(), name
    ledgers = [json.loads((folder / "ledger.json").read_text()) for folder in (output, whole)]
    for name in ("num_attempts", "num_finished", "num_calls"):
        assert ledgers[0]["stages"]["monte_carlo"][name] == ledgers[1]["stages"]["monte_carlo"][name]
    assert ledgers[0]["work"] == ledgers[1]["work"]
    lines = [(folder / "ledger_cases.csv").read_text().splitlines() for folder in (output, whole)]
    assert len(lines[0]) == len(lines[1]) == 1 + 5
    shutil.rmtree(output)
    with pytest.raises(InputError, match=r"0_of_2: made with other settings: max_cases was 5, is 4"):
        annotate.run(replace(merged, max_cases=4))
    shards = [output.parent / "sharded.shards" / f"{index}_of_2" for index in (0, 1)]
    cases = read_cases(whole / "labelled.jsonl")
    with pytest.raises(InputError, match=r"is none of the cases of this run"):
        list(merged_records(shards, cases[:4], "machine.jsonl"))
    with pytest.raises(InputError, match=r"is not where it should be"):
        list(merged_records(shards, cases[1:], "machine.jsonl"))


@pytest.mark.parametrize("shard", ["3/3", "a/2", "1", "-1/2"])
def test_a_shard_is_one_of_its_number(shard: str) -> None:
    with pytest.raises(InputError, match=r"expected i/n with 0 <= i < n"):
        AnnotateConfig(shard=shard)


def test_the_tiny_policy_solves_cases_that_have_no_solutions(whole: Path, tmp_path: Path) -> None:
    """Alone, for a set that is to be evaluated by Best-of-N; then labelled with what was made."""
    phantom = next(whole.parent.glob("phantom-*"))
    bare = [CaseSolutions(item.case, []) for item in read_cases(phantom / "candidates.jsonl")[:3]]
    write_cases(tmp_path / "bare.jsonl", bare)
    made = SolutionSettings(num=4, greedy=True, max_new_tokens=160, min_steps=2)
    config = phantom_config(
        tmp_path / "out",
        cases=str(tmp_path / "bare.jsonl"),
        image_root=str(phantom),
        data=DataSettings(),
        stages=["solutions"],
        solutions=made,
        retrieval=RetrievalSettings(collections={"guidelines": str(phantom / "guidelines.jsonl")}),
    )
    folder = annotate.run(config)
    assert not (folder / "machine.jsonl").exists()
    cases = read_cases(folder / "candidates.jsonl", require_steps=True)
    assert [item.case for item in cases] == [item.case for item in bare]
    solutions = [one for item in cases for one in item.solutions]
    assert len(solutions) == 12 and len({one.solution_id for one in solutions}) == 12
    assert all(2 <= len(one.solution_steps) <= 9 and one.generator and one.is_correct is not None for one in solutions)
    assert {one.is_correct for one in solutions} == {True, False}
    assert all(one.answer in item.case.options for item in cases for one in item.solutions if item.case.options)
    log = (folder / "log.txt").read_text()
    assert "12 solutions made, 0 fewer than asked for" in log
    before = (folder / "candidates.jsonl").read_bytes()
    annotate.run(replace(config, stages=["solutions", "machines", "experts"], resume=True))
    assert (folder / "candidates.jsonl").read_bytes() == before, "what was drawn is not drawn again"
    labelled = list(read_records(folder / "labelled.jsonl"))
    assert [one.step_texts for one in labelled] == [one.step_texts for one in solutions]
    ledger = json.loads((folder / "ledger.json").read_text())
    assert set(ledger["stages"]) == {"solutions", "monte_carlo"}


def test_servers_solve_each_under_its_name(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in", num_cases=3)
    bare = [CaseSolutions(one.case(), []) for one in text_records(num_cases=3, num_solutions=1)]
    write_cases(inputs / "cases.jsonl", bare)
    with stub_server.started() as url:
        config = annotate_config(inputs, tmp_path / "out", url, stages=["solutions"])
        second = replace(config.policy_server, model="other")
        config.solution_servers = {"a": config.policy_server, "b": second}
        config.solutions = SolutionSettings(num=2, min_steps=1)
        annotate.run(config)
    cases = read_cases(tmp_path / "out" / "candidates.jsonl", require_steps=True)
    assert [[one.generator for one in item.solutions] for item in cases] == [["stub", "stub", "other", "other"]] * 3


def test_servers_of_one_model_name_are_refused() -> None:
    servers = {name: ServerSettings([f"http://{name}:8000/v1"], "same") for name in ("a", "b")}
    with pytest.raises(InputError, match=r"solution_servers ask for the models \['same', 'same'\]"):
        AnnotateConfig(solution_servers=servers)
    AnnotateConfig(solution_servers=servers | {"b": ServerSettings(["http://b:8000/v1"], "other")})


def test_shards_that_only_make_solutions_are_put_together(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in", num_cases=3)
    write_cases(inputs / "cases.jsonl", [CaseSolutions(one.case(), []) for one in text_records(3, num_solutions=1)])
    with stub_server.started() as url:

        def config(output: str, **changes: Any) -> AnnotateConfig:
            made = SolutionSettings(num=2, min_steps=1)
            return annotate_config(inputs, tmp_path / output, url, stages=["solutions"], solutions=made, **changes)

        whole = annotate.run(config("whole"))
        annotate.run(config("sharded", shard="0/2"))
        with pytest.raises(InputError, match=r"1_of_2: not there, or not finished"):
            annotate.run(config("sharded", merge_shards=2))
        annotate.run(config("sharded", shard="1/2"))
        merged = annotate.run(config("sharded", merge_shards=2))
    assert (merged / "candidates.jsonl").read_bytes() == (whole / "candidates.jsonl").read_bytes() != b""
    assert not (merged / "machine.jsonl").exists()


def test_a_rule_fitted_on_the_experts_labels_the_rest(whole: Path, tmp_path: Path) -> None:
    output = whole.parent / "fitted"
    fixed = MonteCarloSettings(num_rollouts=8, rollouts_per_round=4, num_processes=1, stopping="fixed")
    for rule in ("calibrated", "dawid_skene"):
        config = phantom_config(
            output,
            overwrite=True,
            monte_carlo=fixed,
            consensus=ConsensusSettings(rule=rule, certain_from=0.8, answer_step="unknown"),
            expert=ExpertSettings(max_share=0.6, pilot_share=0.5),
        )
        folder = annotate.run(config)
        steps = [step for record in read_records(folder / "labelled.jsonl") for step in record.solution_steps]
        by_rule = [one for one in steps if one.annotation_method == rule]
        assert by_rule and any(one.annotation_method == "expert_verified" for one in steps)
        for one in steps:
            chance = (one.extra or {})["chance_correct"]
            if one.annotation_method == rule:
                assert one.label == ("correct" if chance >= 0.5 else "incorrect")
                assert max(chance, 1 - chance) >= 0.8 and one.confidence <= 0.95
            elif one.annotation_method == "unresolved":
                assert one.label == "unknown" and max(chance, 1 - chance) < 0.8
        report = json.loads((folder / "labels_report.json").read_text())
        after = report["sources"]["hybrid_after_experts"]["coverage"]["value"]
        assert after == pytest.approx(sum(one.label in ("correct", "incorrect") for one in steps) / len(steps))
        assert steps[-1].label == "unknown" or steps[-1].annotation_method == "expert_verified"
    few = phantom_config(
        output, overwrite=True, monte_carlo=fixed, consensus=ConsensusSettings(rule="calibrated"), max_cases=1
    )
    folder = annotate.run(few)
    assert "needs 40 experts' decisions" in (folder / "log.txt").read_text()
    with pytest.raises(InputError, match=r"consensus.rule=calibrated weighs the score of all .* choose fixed"):
        phantom_config(output, consensus=ConsensusSettings(rule="calibrated"))
    with pytest.raises(InputError, match="certain_from is 0.8 but only rule=calibrated and dawid_skene"):
        ConsensusSettings(certain_from=0.8)


@pytest.mark.parametrize("after_first_error", ["unknown", "incorrect"])
def test_the_report_measures_the_labels_that_are_written(whole: Path, after_first_error: str) -> None:
    """An expert who finds an error, or takes one back, changes the labels of the steps behind it."""
    output = whole.parent / "after"
    folder = annotate.run(
        phantom_config(
            output,
            overwrite=True,
            consensus=ConsensusSettings(after_first_error=after_first_error),
            stage=StageSettings(name="prototype", min_label_accuracy=0.5),
        )
    )
    (truth_file,) = whole.parent.glob("phantom-*/truth.jsonl")
    truth = read_truth(truth_file)
    labels = {
        StepKey(record.case_id, str(record.solution_id), step.step_id): step.label
        for record in read_records(folder / "labelled.jsonl")
        for step in record.solution_steps
    }
    given = {key: label for key, label in labels.items() if label in ("correct", "incorrect")}
    report = json.loads((folder / "labels_report.json").read_text())
    after = report["sources"]["hybrid_after_experts"]
    assert after["coverage"]["value"] == pytest.approx(len(given) / len(labels))
    accuracy = sum(label == truth[key] for key, label in given.items()) / len(given)
    assert after["accuracy"]["value"] == pytest.approx(accuracy)
    (gate,) = json.loads((folder / GATES_FILE).read_text())["gates"]
    assert gate["value"] == pytest.approx(accuracy)
    ledger = json.loads((folder / "ledger.json").read_text())
    assert report["cost"]["dollars_per_label"]["n"] == ledger["work"]["num_labels"] == len(given)


def test_a_stage_passes_its_gates_before_the_next_begins(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = whole.parent / "prototype"
    panel = ExpertSettings(num_experts=3, double_share=0.5)
    gates = {"min_cases": 5, "min_experts": 3, "min_kappa": 0.5, "min_judge_coverage": 0.9, "min_readable_share": 0.5}
    stage = StageSettings(name="prototype", **gates, min_label_accuracy=0.999)  # type: ignore[arg-type]
    annotate.run(phantom_config(output, stage=stage, expert=panel))
    found = {one["name"]: one["is_passed"] for one in json.loads((output / GATES_FILE).read_text())["gates"]}
    assert found.pop("label_accuracy") is False and all(found.values()), found
    assert "SHUT    label_accuracy" in capsys.readouterr().out
    pilot = StageSettings(name="pilot", previous=str(output))
    with pytest.raises(InputError, match=r"stage prototype has not passed 1 of 6 gates \(label_accuracy"):
        annotate.run(phantom_config(whole.parent / "pilot", stage=pilot))
    annotate.run(phantom_config(output, stage=replace(stage, min_label_accuracy=0.5), expert=panel, resume=True))
    annotate.run(phantom_config(whole.parent / "pilot", stage=pilot, max_cases=1))
    report = json.loads((output / "labels_report.json").read_text())
    assert report["experts_together"]["num_experts"] == 3 and "alpha" in report["experts_together"]


def test_experts_of_a_file_pass_the_gates_by_what_they_say_of_the_pilot(tmp_path: Path) -> None:
    """The queue has a random pilot beside the disputed steps; the machines are measured on it alone."""
    inputs, out = write_inputs(tmp_path / "in", num_cases=20), tmp_path / "out"
    settings = ExpertSettings(kind="none", pilot_share=0.2)
    with stub_server.started() as url:
        annotate.run(annotate_config(inputs, out, url, expert=settings))
        rows = [json.loads(line) for line in (out / "expert_queue.jsonl").read_text().splitlines()]
        pilot = [row for row in rows if row["is_pilot"]]
        assert len(pilot) == 40 and rows[:40] == pilot and len(rows) == 60, "200 steps: a fifth, and 30 % in all"
        labels = {
            (record.solution_id, step.step_id): step.label
            for record in read_records(out / "machine.jsonl")
            for step in record.solution_steps
        }
        of_pilot = [labels[row["solution_id"], row["step_id"]] for row in pilot]
        assert "unknown" in of_pilot and {"correct", "incorrect"} & set(of_pilot), "whatever the machines say"
        # One expert contradicts every fourth label of the machines, and calls all that is disputed correct.
        other = {"correct": "incorrect", "incorrect": "correct", "unknown": "correct"}
        said, num_labelled = [], 0
        for row in rows:
            label = labels[row["solution_id"], row["step_id"]]
            num_labelled += label != "unknown"
            is_contradicted = label == "unknown" or num_labelled % 4 == 0
            named = {name: row[name] for name in ("case_id", "solution_id", "step_id")}
            said.append(named | {"verdict": other[label] if is_contradicted else label, "expert_id": "a"})
        (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
        experts = replace(settings, kind="file", path=str(tmp_path / "said.jsonl"))
        stage = StageSettings(name="prototype", min_cases=20, min_experts=1, min_label_accuracy=0.7)
        annotate.run(annotate_config(inputs, out, url, expert=experts, stage=stage, resume=True))
    num = sum(label != "unknown" for label in of_pilot)
    report = json.loads((out / "labels_report.json").read_text())
    assert report["pilot"]["num_steps"] == report["pilot"]["num_decided"] == 40
    accuracy = report["pilot"]["agreement"]["machines, expert"]["raw_agreement"]
    assert accuracy["n"] == num and accuracy["value"] == pytest.approx((num - num // 4) / num)
    gates = {one["name"]: one for one in json.loads((out / GATES_FILE).read_text())["gates"]}
    assert gates["label_accuracy"]["value"] == accuracy["value"] and all(one["is_passed"] for one in gates.values())
    assert (out / "expert_queue.jsonl").read_text() == "", "everything that was asked has been answered"


NOWHERE = "http://127.0.0.1:9/v1"
BUILT_IN: dict[str, Any] = {
    "judge": JudgeSettings(),
    "judge_server": ServerSettings(),
    "monte_carlo": MonteCarloSettings(),
    "policy_server": ServerSettings(),
    "estimate": True,
}
JUDGE_SERVER: dict[str, Any] = {"judge": JudgeSettings(kind="server"), "judge_server": server_settings(NOWHERE)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, r"case case-0 of source 'made_up': judge.kind=rule reads the phantom's .* set judge=server"),
        ({"consensus": ConsensusSettings(rule="value")}, r"monte_carlo.policy=tiny has learnt .* set policy=server"),
        ({"consensus": ConsensusSettings(rule="judge")}, "judge.kind=rule reads"),
        ({"stages": ["solutions"]}, None),
        (JUDGE_SERVER, "monte_carlo.policy=tiny has learnt"),
        (JUDGE_SERVER | {"consensus": ConsensusSettings(rule="judge")}, None),
    ],
)
def test_your_own_cases_are_not_labelled_by_what_knows_the_phantom(
    changes: dict[str, Any], reason: str | None, tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path, num_cases=1)
    config = annotate_config(inputs, tmp_path / "out", NOWHERE, **(BUILT_IN | changes))
    if reason is None:
        annotate.run(config)
    else:
        with pytest.raises(InputError, match=reason):
            annotate.run(config)


def test_the_tiny_policy_makes_no_solutions_of_your_own_cases(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path, num_cases=1)
    write_cases(inputs / "cases.jsonl", [CaseSolutions(text_records(1)[0].case(), [])])
    config = annotate_config(inputs, tmp_path / "out", NOWHERE, stages=["solutions"], **BUILT_IN)
    with pytest.raises(InputError, match=r"monte_carlo.policy=tiny .* \(or solution_servers\)"):
        annotate.run(config)
    annotate.run(replace(config, solution_servers={"a": server_settings(NOWHERE)}))


def test_stages_are_done_from_the_first_on() -> None:
    for stages in (["experts"], ["machines", "experts"], [], ["labels"]):
        with pytest.raises(InputError, match="expected .* or the first one or two of them"):
            AnnotateConfig(stages=stages)
