"""The validation sample: easy and hard questions, blind lines, and r as numpy finds it."""

import json
from pathlib import Path

import numpy as np
import pytest

from medprm.annotation.expert_queue import StepKey
from medprm.annotation.validation_sample import SampleSettings, draw_sample, measure_sample, sample_rows
from medprm.cases.jsonl import write_cases
from medprm.cases.schema import (
    Case,
    CaseSolutions,
    ExpertVerdict,
    GoldStandard,
    JudgeVerdict,
    MonteCarlo,
    Solution,
    Sources,
    Step,
)
from medprm.commands.validation_sample import main
from medprm.errors import InputError


def make_cases(num: int = 20, num_solutions: int = 6) -> list[CaseSolutions]:
    """Questions whose share of right answers rises from 0 to 1; six steps a solution."""
    rng = np.random.default_rng(0)
    cases = []
    for number in range(num):
        case = Case(
            case_id=f"case-{number:02d}", modality="text", question="Which?", gold_standard=GoldStandard(answer="A")
        )
        solutions = []
        for which in range(num_solutions):
            is_correct = bool(which < round(number / (num - 1) * num_solutions))
            steps = []
            for step_id in range(6):
                judge = "correct" if rng.random() < 0.6 else "incorrect"
                right = int(rng.integers(0, 17))
                sources = Sources(
                    judge=(JudgeVerdict(verdict=judge),),
                    monte_carlo=(MonteCarlo(num_correct=right, num_wrong=16 - right),),
                )
                label = "unknown" if step_id == 5 else judge
                steps.append(Step(step_id=step_id, content=f"{number} {which} {step_id}", label=label, sources=sources))
            solutions.append(
                Solution(solution_id=f"s{which}", is_correct=is_correct, solution_steps=tuple(steps), answer="A")
            )
        cases.append(CaseSolutions(case, solutions))
    return cases


def test_180_labels_of_easy_and_hard_questions() -> None:
    cases = make_cases()
    sample = draw_sample(cases, SampleSettings())
    assert [one.group for one in sample].count("easy") == 3 == [one.group for one in sample].count("hard")
    assert len({one.item.case.case_id for one in sample}) == 6
    by_id = {item.case.case_id: item for item in cases}
    for group, item in sample:
        share = np.mean([one.is_correct for one in by_id[item.case.case_id].solutions])
        assert share >= 0.7 if group == "easy" else share <= 0.3
        assert len({one.solution_id for one in item.solutions}) == 5
    rows = sample_rows(sample)
    assert len(rows) == 180
    assert len({(row["case_id"], row["solution_id"], row["step_id"]) for row in rows}) == 180
    seen = {word for row in rows for word in row}
    assert not seen & {"label", "judge", "monte_carlo", "group", "is_correct", "answer", "gold_standard"}
    assert sample == draw_sample(cases, SampleSettings()) != draw_sample(cases, SampleSettings(seed=1))


def test_r_is_that_of_numpy_in_each_group() -> None:
    cases = make_cases()
    sample = draw_sample(cases, SampleSettings())
    rng = np.random.default_rng(1)
    experts, scores, pairs = {}, {}, {"easy": [], "hard": []}
    for group, item in sample:
        for solution in item.solutions:
            for step in solution.solution_steps:
                key = StepKey(item.case.case_id, solution.solution_id or "", step.step_id)
                assert step.sources is not None
                share = step.sources.monte_carlo[0].num_correct / 16
                says = bool(rng.random() < (share if group == "easy" else 0.5))
                experts[key] = (ExpertVerdict(verdict="correct" if says else "incorrect", expert_id="a"),)
                scores[key] = float(says) * 0.5 + 0.25 * rng.random()
                pairs[group].append((share, says, scores[key]))
    found = measure_sample(cases, experts, SampleSettings(), scores, 200)
    for group, rows in pairs.items():
        share, says, score = np.array(rows, dtype=float).T
        assert found[group]["num_steps"] == 90 and found[group]["num_questions"] == 3
        assert found[group]["monte_carlo"]["value"] == pytest.approx(np.corrcoef(share, says)[0, 1])
        assert found[group]["prm"]["value"] == pytest.approx(np.corrcoef(score, says)[0, 1])
        assert found[group]["label"]["n"] == 75, "steps without a label are left out"
    assert found["easy"]["monte_carlo"]["low"] > 0.2 > found["hard"]["monte_carlo"]["value"]
    assert found["all"]["num_steps"] == 180


def test_too_few_questions_and_foreign_verdicts_are_refused() -> None:
    with pytest.raises(InputError, match=r"0 easy questions with 5 solutions of known outcome; expected 3"):
        draw_sample(make_cases()[:4], SampleSettings())
    experts = {StepKey("case-99", "s0", 0): (ExpertVerdict(verdict="correct", expert_id="a"),)}
    with pytest.raises(InputError, match="a verdict on a step that is not in the records"):
        measure_sample(make_cases(), experts, SampleSettings(), {}, 200)
    with pytest.raises(InputError, match="hard_to is 0.8 and easy_from 0.7"):
        SampleSettings(hard_to=0.8)


def test_the_command_draws_and_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cases(tmp_path / "labelled.jsonl", make_cases())
    files = ["--labelled", str(tmp_path / "labelled.jsonl")]
    assert main(["draw", *files, "--to", str(tmp_path / "sample.jsonl")]) == 0
    assert "3 easy and 3 hard questions, 180 steps" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "sample.jsonl").read_text().splitlines()]
    rng = np.random.default_rng(0)
    lines = [
        {name: row[name] for name in ("case_id", "solution_id", "step_id")}
        | {"verdict": str(rng.choice(["correct", "incorrect"])), "expert_id": "a"}
        for row in rows
    ]
    (tmp_path / "verdicts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    measure = ["measure", *files, "--verdicts", str(tmp_path / "verdicts.jsonl"), "--json", str(tmp_path / "r.json")]
    assert main([*measure, "--num-bootstrap", "200"]) == 0
    assert "monte_carlo" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "r.json").read_text())) == {"easy", "hard", "all"}
    assert main(["measure", *files]) == 2
    assert capsys.readouterr().err.startswith("error: --verdicts is missing")
