"""The ledger: what annotation cost, by stage, per label and per 10,000 cases.

In: the journal, numbers of experts and labels, settings. Out: one JSON object. Dollars are those of the journal: what
was bought, by the price of the model that answered, and what was under way at a kill at its worst price.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from medprm.annotation.settings import ExpertSettings
from medprm.cases.atomic import replaced_file
from medprm.clients.journal import Journal

CASES = 10_000
BY_STAGE = """
select stage, count(*), sum(state='ok'), sum(state='failed'), sum(state='lost'), count(distinct key),
  sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(dollars), coalesce(sum(seconds), 0)
from attempts group by stage order by stage
"""
BY_MODEL = "select coalesce(answered_model, model), count(*), sum(dollars) from attempts group by 1 order by 1"
COLUMNS = (
    *("num_attempts", "num_finished", "num_failed", "num_lost", "num_calls"),
    *("input_tokens", "output_tokens", "cached_tokens", "dollars", "seconds"),
)


class Work(NamedTuple):
    """What was annotated."""

    num_cases: int
    num_solutions: int
    num_steps: int
    num_labels: int  # steps with a label other than unknown
    num_reviewed: int  # steps that experts saw


def make_ledger(journal: Journal, work: Work, experts: ExpertSettings, prices: dict[str, Any]) -> dict[str, Any]:
    """The ledger as JSON. `prices` says what was reckoned with: date and dollars of an hour of computing."""
    stages = {stage: dict(zip(COLUMNS, numbers, strict=True)) for stage, *numbers in journal.rows(BY_STAGE)}
    hours_of_computing = sum(one["seconds"] for one in stages.values() if not one["dollars"]) / 3600
    computing = hours_of_computing * float(prices.get("dollars_per_compute_hour", 0.0))
    minutes = work.num_reviewed * experts.minutes_per_step
    expert_dollars = minutes / 60 * experts.dollars_per_hour
    bought = sum(one["dollars"] for one in stages.values())
    total = bought + computing + expert_dollars
    waiting = sorted(seconds for (seconds,) in journal.rows("select seconds from attempts where state='ok'"))
    return {
        "work": work._asdict(),
        "stages": stages,
        "models": {model: {"num_attempts": n, "dollars": dollars} for model, n, dollars in journal.rows(BY_MODEL)},
        "latency_seconds": {f"p{part}": _percentile(waiting, part / 100) for part in (50, 90, 99)},
        "computing": {"hours": hours_of_computing, "dollars": computing},
        "experts": {"num_steps": work.num_reviewed, "minutes": minutes, "dollars": expert_dollars},
        "bought_dollars": bought,
        "total_dollars": total,
        "dollars_per_label": total / work.num_labels if work.num_labels else None,
        "dollars_per_10000_cases": total / work.num_cases * CASES if work.num_cases else None,
        "prices": prices,
    }


def write_ledger(path: Path, ledger: dict[str, Any]) -> None:
    with replaced_file(path) as draft:
        draft.write_text(json.dumps(ledger, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _percentile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
