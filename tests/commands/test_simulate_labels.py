"""Quality against cost: the closed forms for independent annotators, docs/cost.md, and mistakes of the user."""

import json
import re
from pathlib import Path

import pytest

from medprm.annotation.planning import PlanSettings, least_share, simulate
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
    assert nobody.accuracy.value == pytest.approx(0.85, abs=0.008)
    assert everybody.accuracy.value == pytest.approx(0.7 * 0.85 + disputed * 0.98, abs=0.008)
    assert half.accuracy.value == pytest.approx((nobody.accuracy.value + everybody.accuracy.value) / 2, abs=0.008)
    assert all(one.accuracy.low < one.accuracy.value < one.accuracy.high for one in plan.points)
    # Dollars: 20 + 100, and 0.0333 for every step reviewed of 10,000 cases of 5 steps.
    assert [round(one.dollars, 6) for one in plan.points[:2]] == [120.0, round(120 + 0.18 * 50_000 * 0.0333, 6)]
    assert least_share(plan, 0.89) == 0.18 and least_share(plan, 0.96) is None


def test_the_page_says_what_the_program_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    printed = {share: row for share, *row in re.findall(r"^ +([\d.]+)  ([\d.]+ \[.*?\]) +([\d,]+)$", shown, re.M)}
    rows = re.findall(r"^\| (?:all disputed, )?([\d.]+) % \| (.*?) \| (\d+) \|$", COST_PAGE.read_text(), re.M)
    assert len(rows) == 5
    for percent, accuracy, dollars in rows:
        # Past the last disputed step a larger budget buys nothing: any of those rows.
        share = "0.50" if percent == "36.1" else f"{float(percent) / 100:.2f}"
        assert printed[share] == [accuracy, dollars], percent
    assert "disputed 0.361 of the steps; where judge and score agree, 0.931 are right" in shown
    assert shown.rstrip().endswith("95% is reached at no budget")


def test_better_experts_of_a_better_judge_reach_the_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "--judge-accuracy", "0.95", "--mc-accuracy", "0.9", "--out", str(tmp_path)]
    assert main(arguments) == 0
    reached = re.search(r"95% is reached from ([\d.]+) of the steps reviewed", capsys.readouterr().out)
    points = json.loads((tmp_path / "cost.json").read_text())["points"]
    enough = [one["reviewed"] for one in points if one["accuracy"]["value"] >= 0.95]
    assert reached and float(reached[1]) == min(enough) > 0
    assert set(points[0]["accuracy"]) == {"value", "low", "high", "n"}
    assert (tmp_path / "cost.svg").read_text().count("<svg") == 1


@pytest.mark.parametrize("bad", [["--judge-accuracy", "1.2"], ["--num-cases", "0"]])
def test_mistakes_are_one_line_and_exit_code_2(bad: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *bad]) == 2
    message = capsys.readouterr().err
    assert message.startswith("simulate_labels: ") and message.count("\n") == 1
