"""Quality against cost: the closed forms for independent annotators, docs/cost.md, and mistakes of the user."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from medprm.annotation.planning import PlanSettings, Thresholds, least_budget, score_shape, simulate
from medprm.commands.simulate_labels import main

COST_PAGE = Path(__file__).parents[2] / "docs" / "cost.md"
SMALL = ["--num-cases", "400", "--num-bootstrap", "50"]


def test_independent_annotators_have_the_accuracy_that_follows() -> None:
    settings = PlanSettings(judge_accuracy=0.7, mc_accuracy=0.85, expert_accuracy=0.98, num_bootstrap=50)
    plan = simulate(settings, (0.0, 0.18, 0.5))
    disputed = 0.7 * 0.15 + 0.3 * 0.85
    # 50,000 steps: the standard error of a share is 0.002 at most.
    assert plan.disputed.value == pytest.approx(disputed, abs=0.008) and plan.disputed.n == 50_000
    assert plan.agreed_accuracy.value == pytest.approx(0.7 * 0.85 / (1 - disputed), abs=0.008)
    nobody, half, everybody = plan.points
    assert nobody.accuracy.value > 0.85 and nobody.labelled.value == plan.agreed_accuracy.value
    assert everybody.accuracy.value == pytest.approx(0.7 * 0.85 + disputed * 0.98, abs=0.008)
    assert everybody.coverage.value == 1.0 and everybody.labelled.value == everybody.accuracy.value
    # Doubtful steps first: half of the budget buys more than half of the gain.
    assert half.accuracy.value > (nobody.accuracy.value + everybody.accuracy.value) / 2 + 0.01
    assert all(one.accuracy.low < one.accuracy.value < one.accuracy.high for one in plan.points)
    # Dollars: 20 + 100, and 0.0333 for every step reviewed of 10,000 cases of 5 steps.
    assert [round(one.dollars, 6) for one in plan.points[:2]] == [120.0, round(120 + 0.18 * 50_000 * 0.0333, 6)]
    found = least_budget(plan, 0.89)
    assert found is not None and found.reviewed_share == 0.18 and least_budget(plan, 0.96) is None


def test_thresholds_away_from_one_half_leave_more_to_experts_and_err_less() -> None:
    plans = [simulate(PlanSettings(num_bootstrap=50), (1.0,), Thresholds(low, 1 - low)) for low in (0.5, 0.3, 0.1)]
    disputed = [plan.disputed.value for plan in plans]
    agreed = [plan.agreed_accuracy.value for plan in plans]
    assert disputed == sorted(disputed) and agreed == sorted(agreed)
    assert agreed[1] > 0.96 > agreed[0]


@pytest.mark.parametrize(("accuracy", "concentration"), [(0.85, 3.0), (0.6, 1.0), (0.97, 10.0), (0.2, 2.0)])
def test_scores_have_the_stated_accuracy(accuracy: float, concentration: float) -> None:
    a, b = score_shape(accuracy, concentration)
    assert a + b == pytest.approx(concentration)
    assert (np.random.default_rng(0).beta(a, b, 100_000) > 0.5).mean() == pytest.approx(accuracy, abs=0.006)


def test_the_page_says_what_the_program_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    page = COST_PAGE.read_text()
    blocks = dict(re.findall(r"^thresholds ([\d.]+ / [\d.]+): (.*?)\n\n", shown, re.M | re.S))
    tables = re.findall(r"thresholds ([\d.]+ / [\d.]+)[^|]*?\n\n((?:\|.*\n)+)", page)
    row_form = re.compile(r"^ +([\d.]+)  (\S+ \[.*?\]) +(\S+) +(\S+) +([\d,]+)$", re.M)
    assert len(tables) == 2 and len(blocks) == 5
    for thresholds, rows in tables:
        printed = {share: row for share, *row in row_form.findall(blocks[thresholds])}
        found = re.findall(r"^\| (\d+) % \| (.*?) \| (.*?) \| (.*?) \| ([\d,]+) \|$", rows, re.M)
        assert len(found) >= 5
        for percent, *row in found:
            assert printed[f"{int(percent) / 100:.2f}"] == row, (thresholds, percent)
    assert shown.rstrip().splitlines()[-1] in page.replace("\n", " ")


def test_worse_annotators_reach_it_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--expert-accuracy", "0.9", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("95% is reached at no budget under any of these thresholds")
    plans = json.loads((tmp_path / "cost.json").read_text())
    assert [plan["thresholds"] for plan in plans][:2] == [[0.5, 0.5], [0.4, 0.6]]
    assert set(plans[0]["points"][0]["accuracy"]) == {"value", "low", "high", "n"}
    assert (tmp_path / "cost.svg").read_text().count("<svg") == 1


@pytest.mark.parametrize(
    "bad", [["--judge-accuracy", "1.2"], ["--num-cases", "0"], ["--mc-accuracy", "1.0"], ["--mc-concentration", "0"]]
)
def test_mistakes_are_one_line_and_exit_code_2(bad: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *bad]) == 2
    message = capsys.readouterr().err
    assert message.startswith("simulate_labels: ") and message.count("\n") == 1
