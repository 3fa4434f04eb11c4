"""Agreement of the experts with each other and with the machines, in the report and on its page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medprm.annotation.calibration import step_chances
from medprm.annotation.expert_queue import QueuedStep, StepKey, rank_steps
from medprm.annotation.labels_report import Measured, make_report, write_report
from medprm.cases.schema import ExpertVerdict, Label
from medprm.statistics.agreement import cohen_kappa, krippendorff_alpha


def measured(num: int, num_double: int) -> Measured:
    """`a` follows the score; `b` speaks of the first `num_double` steps, errs on every fifth; the judge is blind."""
    steps, experts = [], {}
    for i in range(num):
        right = (i * 7) % 17
        steps.append(
            QueuedStep(
                key=StepKey(f"c{i}", "s", 0), group_id=f"p{i // 2}", category="observation",
                judge="correct" if i % 3 else "incorrect", has_citation=False, num_correct=right, num_wrong=16 - right,
                outcome="unknown", is_answer=False, label="unknown",
            )
        )  # fmt: skip
        verdict: Label = "correct" if right > 8 else "incorrect"
        other: Label = verdict if i % 5 else "correct" if verdict == "incorrect" else "incorrect"
        said = [ExpertVerdict(verdict=verdict, expert_id="a")] if i < num - 1 else []
        said += [ExpertVerdict(verdict=other if i else "unknown", expert_id="b")] if i < num_double else []
        if said:
            experts[steps[-1].key] = tuple(said)
    chances: list[float] = [0.5 + 0.001 * i for i in range(num)]
    return Measured(steps, chances, list(range(num)), experts, {}, None, ["unknown"] * num)


def test_dawid_skene_stands_beside_the_rule_where_experts_have_spoken() -> None:
    given = measured(200, 0)
    few = given._replace(experts=dict(list(given.experts.items())[:60]))
    truth: dict[StepKey, Label] = {one.key: "correct" if one.num_correct > 8 else "incorrect" for one in given.steps}
    sources = report_of(few._replace(truth=truth))["sources"]
    assert sources["dawid_skene"]["coverage"]["value"] == 1
    assert sources["dawid_skene"]["accuracy"]["value"] > 0.9 > sources["judge"]["accuracy"]["value"] + 0.2
    assert "dawid_skene" not in report_of(given._replace(experts={}))["sources"]


def test_an_expert_who_cannot_tell_agrees_with_nobody() -> None:
    given = measured(60, 0)
    cannot_tell = {key: (ExpertVerdict(verdict="unknown", expert_id="a"),) for key in given.experts}
    assert report_of(given)["agreement"]["judge, expert"]["raw_agreement"]["n"] == 59
    assert report_of(given._replace(experts=cannot_tell))["agreement"]["judge, expert"] == {}


def report_of(given: Measured) -> dict[str, Any]:
    return make_report(given, num_bootstrap=200)


def test_double_annotation_gives_alpha_and_kappa() -> None:
    given = measured(120, 60)
    together = report_of(given)["experts_together"]
    both = [[one.verdict for one in given.experts[step.key]] for step in given.steps[1:60]]
    assert together["num_experts"] == 2
    assert together["num_steps_of_several"] == together["alpha"]["n"] == 59, "of one step `b` could not tell"
    assert together["alpha"]["value"] == pytest.approx(krippendorff_alpha(both, num_bootstrap=10).value)
    kappa = together["pairs"]["a, b"]["kappa"]
    assert kappa["value"] == pytest.approx(cohen_kappa(*zip(*both, strict=True))) and kappa["n"] == 59
    assert kappa["low"] < kappa["value"] < kappa["high"] < 1


def test_pearson_of_the_scores_with_the_experts() -> None:
    given = measured(120, 0)
    found = report_of(given)["pearson"]
    scores = [one.num_correct / 16 for one in given.steps[:-1]]
    wanted = np.corrcoef(scores, [score > 0.5 for score in scores])[0, 1]
    assert found["monte_carlo_score, expert"]["value"] == pytest.approx(wanted) and wanted > 0.8
    assert found["monte_carlo_score, expert"]["n"] == 119, "nobody has decided the last step"
    assert found["judge, expert"]["low"] < 0.2 and abs(found["judge, expert"]["value"]) < 0.3


def simulated(num: int, num_pilot: int) -> Measured:
    """Every third step is wrong; judge and score say nothing of it, only the category does; the expert never errs."""
    steps = [
        one._replace(category="film" if i % 3 == 0 else "other", num_correct=8, num_wrong=8, judge="correct")
        for i, one in enumerate(measured(num, 0).steps)
    ]
    truth: dict[StepKey, Label] = {
        one.key: "incorrect" if one.category == "film" and i % 2 else "correct" for i, one in enumerate(steps)
    }

    def would_say(key: StepKey) -> tuple[ExpertVerdict, ...]:
        return (ExpertVerdict(verdict=truth[key], expert_id="a"),)

    pilot = {one.key for one in steps[:num_pilot]}
    experts = {key: would_say(key) for key in pilot}
    chances, _ = step_chances(steps, experts)
    order = rank_steps(steps, chances, 1.0)
    return Measured(steps, chances, order, experts, truth, would_say, ["unknown"] * num, pilot=frozenset(pilot))


def test_the_ranked_queue_pays_for_its_pilot() -> None:
    given = simulated(300, num_pilot=60)
    curve = report_of(given)["accuracy_by_reviewed_share"]
    assert list(curve)[:2] == ["0.00", "0.20"], "below the share of the pilot there is no such ranking"
    places = {step.key: place for place, step in enumerate(given.steps)}
    pilot = {places[key] for key in given.pilot}
    ranked = [place for place in given.order if place not in pilot][: 90 - 60]
    reviewed = pilot | set(ranked)
    right = [
        place in reviewed or given.truth[step.key] == ("correct" if given.chances[place] >= 0.5 else "incorrect")
        for place, step in enumerate(given.steps)
    ]
    assert curve["0.30"]["value"] == pytest.approx(np.mean(right))
    free = set(given.order[:90])
    assert len(free - reviewed) > 0, "the order alone, without the pilot, would have seen other steps"
    assert curve["1.00"]["value"] == 1.0


def test_a_category_s_numbers_have_intervals_by_patient(tmp_path: Path) -> None:
    given = simulated(300, num_pilot=60)
    report = report_of(given)
    film = [one for one in given.steps if one.category == "film"]
    row = report["by_category"]["film"]
    assert row["n"] == row["judge"]["coverage"]["n"] == row["judge"]["accuracy"]["n"] == len(film)
    accuracy = row["judge"]["accuracy"]
    assert accuracy["value"] == pytest.approx(np.mean([given.truth[one.key] == one.judge for one in film]))
    assert 0 < accuracy["low"] < accuracy["value"] < accuracy["high"] < 1
    assert row["hybrid_before_experts"].keys() == {"coverage"}, "no label, no accuracy"
    write_report(tmp_path, report, "labels", [])
    assert f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, " in (tmp_path / "labels_report.html").read_text()


def test_a_pilot_that_is_all_of_the_queue_is_no_better_than_chance() -> None:
    at_30 = report_of(simulated(300, num_pilot=90))["at_0.3"]
    assert abs(at_30["ranked_minus_random_of_all"]["value"]) < 0.03
    assert at_30["ranked_minus_random_of_disputed"]["value"] == 0


def test_the_disputed_share_is_there_without_a_truth(tmp_path: Path) -> None:
    given = measured(40, 0)
    steps = [one._replace(label="correct") if i < 30 else one for i, one in enumerate(given.steps)]
    report = report_of(given._replace(steps=steps))
    assert report["disputed_share"]["value"] == 0.25 and report["disputed_share"]["n"] == 40
    assert report["disputed_share"]["low"] < 0.25 < report["disputed_share"]["high"]
    write_report(tmp_path, report, "Labels", [])
    assert "The machines leave 0.250 [" in (tmp_path / "labels_report.html").read_text()


def test_what_is_undefined_is_left_out_and_the_page_renders(tmp_path: Path) -> None:
    alone = report_of(measured(40, 0))
    assert alone["experts_together"] == {"num_experts": 1, "num_steps_of_several": 0, "pairs": {}}
    nobody = report_of(measured(40, 0)._replace(experts={}))
    assert nobody["pearson"] == {} and nobody["experts_together"]["num_experts"] == 0
    for report in (alone, nobody, report_of(measured(120, 60))):
        write_report(tmp_path, report, "Labels", [])
        assert json.loads((tmp_path / "labels_report.json").read_text()) == report
    page = (tmp_path / "labels_report.html").read_text()
    assert "2 experts, 59 steps decided by several of them" in page and "monte_carlo_score, expert" in page
