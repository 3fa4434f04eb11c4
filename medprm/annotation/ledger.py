"""The ledger: what annotation cost, by stage, by case, per label and per 10,000 cases.

In: the journals, numbers of experts and labels, settings. Out: one JSON object, and a table by case and stage. Dollars
are those of the journal: what was bought, by the price of the model that answered; what was under way at a kill, and
what a server did not say the tokens of (`num_without_usage`), at its worst price.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medprm.annotation.settings import ExpertSettings
from medprm.cases.atomic import replaced_file
from medprm.clients.journal import Journal

CASES = 10_000
SUMS = """count(*), sum(state='ok'), sum(state='failed'), sum(state='lost'), count(distinct key),
  sum(state='ok' and not has_usage), sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(dollars),
  coalesce(sum(seconds), 0)"""
BY_STAGE = f"select stage, {SUMS} from attempts group by stage order by stage"
# How long at least one call of a stage was under way; of files without times of beginning all seconds count.
SPANS = """with timed as (
    select stage, begun, begun + seconds as ended, max(begun + seconds) over
      (partition by stage order by begun rows between unbounded preceding and 1 preceding) as before
    from attempts where begun is not null and seconds is not null)
  select stage, sum(max(0, ended - max(begun, coalesce(before, begun)))) from timed group by stage
  union all select stage, sum(seconds) from attempts where begun is null and seconds is not null group by stage"""
BY_CASE = f"select case_id, stage, {SUMS} from attempts group by case_id, stage order by min(id)"
BY_MODEL = "select coalesce(answered_model, model), count(*), sum(dollars) from attempts group by 1 order by 1"
COLUMNS = (
    *("num_attempts", "num_finished", "num_failed", "num_lost", "num_calls", "num_without_usage"),
    *("input_tokens", "output_tokens", "cached_tokens", "dollars", "seconds"),
)


class Work(NamedTuple):
    """What was annotated."""

    num_cases: int
    num_solutions: int
    num_steps: int
    num_labels: int  # steps with a label other than unknown
    num_reviews: int  # verdicts of experts; a step that two have read counts twice
    num_timed: int = 0  # of these, with the seconds that they took
    timed_seconds: float = 0.0

    def expert_minutes(self, minutes_per_step: float) -> float:
        """As recorded; by the setting where nothing was recorded."""
        return self.timed_seconds / 60 + (self.num_reviews - self.num_timed) * minutes_per_step


def make_ledger(
    journals: Sequence[Journal], work: Work, experts: ExpertSettings, prices: dict[str, Any]
) -> dict[str, Any]:
    """The ledger as JSON; a run in shards has a journal each.

    `prices` says what was reckoned with: date, and dollars of an hour of computing.
    """
    stages = _summed((row for one in journals for row in one.rows(BY_STAGE)), COLUMNS)
    models = _summed((row for one in journals for row in one.rows(BY_MODEL)), ("num_attempts", "dollars"))
    # Calls of a stage run side by side: a machine is used for as long as any of them is under way. Shards are machines.
    spans = _summed((row for one in journals for row in one.rows(SPANS)), ("span_seconds",))
    stages = {name: one | spans.get(name, {}) for name, one in stages.items()}
    hours_of_computing = sum(one.get("span_seconds", 0) for one in stages.values() if not one["dollars"]) / 3600
    computing = hours_of_computing * float(prices.get("dollars_per_compute_hour", 0.0))
    minutes = work.expert_minutes(experts.minutes_per_step)
    expert_dollars = minutes / 60 * experts.dollars_per_hour
    bought = sum(one["dollars"] for one in stages.values())
    total = bought + computing + expert_dollars
    waiting = sorted(
        seconds for one in journals for (seconds,) in one.rows("select seconds from attempts where state='ok'")
    )
    return {
        "work": work._asdict(),
        "stages": stages,
        "models": models,
        "latency_seconds": {f"p{part}": _percentile(waiting, part / 100) for part in (50, 90, 99)},
        "computing": {"hours": hours_of_computing, "dollars": computing},
        "experts": {
            **{"num_reviews": work.num_reviews, "num_timed": work.num_timed},
            **{"minutes": minutes, "dollars": expert_dollars},
        },
        "bought_dollars": bought,
        "total_dollars": total,
        "dollars_per_label": total / work.num_labels if work.num_labels else None,
        "dollars_per_10000_cases": total / work.num_cases * CASES if work.num_cases else None,
        "prices": prices,
    }


def write_ledger(folder: Path, ledger: dict[str, Any], journals: Sequence[Journal]) -> None:
    """ledger.json, and ledger_cases.csv with a line for every case and stage."""
    with replaced_file(folder / "ledger.json") as draft:
        draft.write_text(json.dumps(ledger, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with (
        replaced_file(folder / "ledger_cases.csv") as draft,
        open(draft, "w", encoding="utf-8", newline="") as lines,
    ):
        writer = csv.writer(lines)
        writer.writerow(["case_id", "stage", *COLUMNS])
        for one in journals:
            writer.writerows(one.rows(BY_CASE))


def _summed(rows: Iterable[tuple[Any, ...]], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Rows of a name and numbers, added up by name."""
    sums: dict[str, dict[str, Any]] = {}
    for name, *numbers in rows:
        found = sums.setdefault(name, dict.fromkeys(columns, 0))
        for column, number in zip(columns, numbers, strict=True):
            found[column] += number
    return dict(sorted(sums.items()))


def _percentile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
