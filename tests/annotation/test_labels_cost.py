"""The report's cost is the ledger's, with an interval over what the cases cost."""

from pathlib import Path

import pytest

from medprm.annotation.expert_queue import QueuedStep, StepKey
from medprm.annotation.labels_cost import cost_of
from medprm.annotation.labels_report import Measured
from medprm.annotation.ledger import Work, make_ledger
from medprm.annotation.settings import ExpertSettings
from medprm.cases.schema import ExpertVerdict, Label
from medprm.clients.journal import Bill, Journal

EXPERTS = ExpertSettings(minutes_per_step=3.0, dollars_per_hour=60.0)


def test_calls_computing_and_experts_are_shared_out_to_the_cases(tmp_path: Path) -> None:
    steps = [
        QueuedStep(
            key=StepKey(f"c{i}", "s", place), group_id=f"p{i}", category="", judge="correct", has_citation=False,
            num_correct=0, num_wrong=0, outcome="unknown", is_answer=False, label="correct" if place else "unknown",
        )
        for i in range(40) for place in range(3)
    ]  # fmt: skip
    said = {
        StepKey("c0", "s", 0): (ExpertVerdict(verdict="correct", expert_id="a", seconds=30.0),),
        StepKey("c1", "s", 0): (ExpertVerdict(verdict="correct", expert_id="a"),),
    }
    labelled: list[Label] = ["correct" if one.key.step_id or one.key in said else "unknown" for one in steps]
    measured = Measured(steps, [0.5] * 120, list(range(120)), said, {}, None, labelled)
    with Journal(tmp_path / "journal.sqlite", is_paid=False) as journal:
        for i in range(41):  # the last case was paid for, and none of its solutions could be used
            attempt = journal.begin(f"bought {i}", "judge", f"c{i}", "model", 0.0)
            journal.finish(attempt, "{}", Bill("model", dollars=0.01 * (i % 4)), 1.0)
            attempt = journal.begin(f"computed {i}", "monte_carlo", f"c{i}", "tiny", 0.0)
            journal.finish(attempt, "{}", Bill("tiny"), 36.0)
        work = Work(40, 40, 120, 82, num_reviews=2, num_timed=1, timed_seconds=30.0)
        ledger = make_ledger([journal], work, EXPERTS, {"dollars_per_compute_hour": 10.0})
        cost = cost_of(measured, [journal], ledger, EXPERTS, 200)
    assert ledger["computing"]["dollars"] > 0 and ledger["experts"]["dollars"] == pytest.approx(3.5)
    for name, num in (("dollars_per_10000_cases", 40), ("dollars_per_label", 82)):
        assert cost[name]["value"] == pytest.approx(ledger[name]) and cost[name]["n"] == num
        assert cost[name]["low"] < cost[name]["value"] < cost[name]["high"]
