"""The files of an evaluation that follow from its scores, made by `evaluate` and again by `report`.

In: metrics, scored test solutions, other scorers' scores, what the page says of the run. Out, in one folder:
metrics.json, selections.jsonl, tables/*.csv and *.tex, report.html and, where the checkpoint has a card, model_card.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medprm.evaluation.candidates import SolutionScores, collect_candidates
from medprm.evaluation.card import filled_card
from medprm.evaluation.exports import write_tables
from medprm.evaluation.metrics import write_metrics
from medprm.evaluation.report import About, Shown, write_report
from medprm.evaluation.scored import ScoredSolution, read_scored
from medprm.evaluation.winners import selection_rows, write_selections

CARD = "model_card.md"


def write_results(
    folder: Path,
    metrics: Mapping[str, Any],
    test: Sequence[ScoredSolution],
    others: Mapping[str, SolutionScores],
    about: About,
    shown: Shown | None,
    card: Path | None,
    data_name: str,
) -> None:
    """Write them. Without `shown` the page has no cases; `card` is the Markdown that the results are put into."""
    write_metrics(folder / "metrics.json", metrics)
    write_selections(
        folder / "selections.jsonl", selection_rows(collect_candidates(test, others), test, metrics["aggregation"])
    )
    write_tables(folder / "tables", metrics)
    write_report(folder / "report.html", metrics, test, about, shown)
    if card is not None:
        text = filled_card(card.read_text(encoding="utf-8"), metrics, data_name, about.notes)
        (folder / CARD).write_text(text, encoding="utf-8")


def scores_of_orm(path: Path) -> SolutionScores:
    """An outcome reward model's score of each solution: that of its last step."""
    return {(one.case_id, one.solution_id): one.score("last") for one in read_scored(path)}
