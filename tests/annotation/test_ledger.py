"""Hours and minutes of the ledger: calls side by side count once, and an expert's recorded seconds are what is paid."""

from pathlib import Path

import pytest

from medprm.annotation.ledger import Work, make_ledger
from medprm.annotation.settings import ExpertSettings
from medprm.clients.journal import Bill, Journal

WORK = Work(num_cases=10, num_solutions=10, num_steps=50, num_labels=40, num_reviews=0)
PRICES = {"dollars_per_compute_hour": 2.0}


def journal_of(path: Path, calls: list[tuple[str, float | None, float]]) -> Journal:
    """Finished calls: stage, when it began (None: a file of an earlier version), how long it took."""
    journal = Journal(path, is_paid=False)
    for number, (stage, begun, seconds) in enumerate(calls):
        attempt = journal.begin(str(number), stage, "case", "model", 0.0)
        journal.finish(attempt, "{}", Bill("model"), seconds)
        list(journal.rows("update attempts set begun=? where id=?", (begun, attempt)))
    return journal


def test_calls_side_by_side_are_counted_once(tmp_path: Path) -> None:
    side_by_side = [("monte_carlo", 1000.0, 1800.0)] * 16
    inside, apart = [("monte_carlo", 1100.0, 60.0)], [("monte_carlo", 10_000.0, 1800.0)]
    with journal_of(tmp_path / "a.sqlite", side_by_side + inside + apart) as journal:
        ledger = make_ledger([journal], WORK, ExpertSettings(), PRICES)
    stage = ledger["stages"]["monte_carlo"]
    assert stage["span_seconds"] == 3600 and stage["seconds"] == 17 * 1800 + 60
    assert ledger["computing"] == {"hours": 1.0, "dollars": 2.0}


def test_stages_shards_and_old_files_add_up(tmp_path: Path) -> None:
    first = [("judge", 0.0, 900.0), ("monte_carlo", 0.0, 900.0)]
    with (
        journal_of(tmp_path / "a.sqlite", first) as a,
        journal_of(tmp_path / "b.sqlite", [*first, ("judge", None, 1800.0)]) as b,
    ):
        assert make_ledger([a, b], WORK, ExpertSettings(), PRICES)["computing"]["hours"] == pytest.approx(1.5)


def test_experts_are_paid_for_the_seconds_that_were_recorded(tmp_path: Path) -> None:
    experts = ExpertSettings(minutes_per_step=2.0, dollars_per_hour=60.0)
    with journal_of(tmp_path / "a.sqlite", []) as journal:
        said = make_ledger([journal], WORK._replace(num_reviews=10, num_timed=4, timed_seconds=90.0), experts, {})
    assert said["experts"] == {"num_reviews": 10, "num_timed": 4, "minutes": 13.5, "dollars": 13.5}
