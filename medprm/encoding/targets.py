"""Labels of a solution to training targets.

In: a solution and the label settings. Out: per step a row over the label tokens (it sums to 1) or None where nothing
is known, and a weight. Unknown is not incorrect: None is masked from the loss. Neutral is None, too, where the label
tokens have no "=". Labels that need all planned rollouts raise InputError where fewer were run.
Kinds: value and advantage as in VisualPRM (arXiv 2503.10291, section 3); soft is the Monte Carlo score itself.
"""

from dataclasses import dataclass

from medprm.cases.schema import Label, Solution, Step
from medprm.cases.verdicts import check_confidence, check_every_step_measured, majority, share_correct
from medprm.encoding.settings import LabelSettings

Row = tuple[float, ...]

PLUS: Row = (1.0, 0.0)
MINUS: Row = (0.0, 1.0)
ADVANTAGE_ROWS: dict[str, Row] = {"+": (1.0, 0.0, 0.0), "=": (0.0, 1.0, 0.0), "-": (0.0, 0.0, 1.0)}


@dataclass(frozen=True)
class Targets:
    """Of S steps: `rows` S x K probabilities over the label tokens, None = unknown; `weights` S, not negative."""

    rows: tuple[Row | None, ...]
    weights: tuple[float, ...]

    @property
    def num_known(self) -> int:
        return sum(row is not None for row in self.rows)


def step_targets(solution: Solution, labels: LabelSettings) -> Targets:
    """The targets of every step of a solution."""
    steps = solution.solution_steps
    if labels.kind in ("value", "soft", "advantage"):
        check_every_step_measured(solution)
    if labels.kind == "outcome":
        rows: list[Row | None] = [None] * len(steps)
        if steps and solution.is_correct is not None:
            rows[-1] = PLUS if solution.is_correct else MINUS
    elif labels.kind == "advantage":
        scores = [monte_carlo_score(step) for step in steps]
        # The first step has nothing to improve on.
        rows = [_advantage(before, after, labels) for before, after in zip([None, *scores], scores, strict=False)]
    else:
        rows = [_row(step, labels) for step in steps]
    if not labels.use_confidence:
        return Targets(rows=tuple(rows), weights=(1.0,) * len(steps))
    for row, step in zip(rows, steps, strict=True):
        if row is not None:
            check_confidence(step)
    return Targets(tuple(rows), tuple(1.0 if step.confidence is None else step.confidence for step in steps))


def history_texts(targets: Targets, labels: LabelSettings) -> list[str | None]:
    """The label text of each step as `history: labels` writes it into later turns; None where unknown."""
    return [None if row is None else labels.texts[row.index(max(row))] for row in targets.rows]


def monte_carlo_score(step: Step) -> float | None:
    """Share of correct rollouts among the readable ones, over all runs; the stored score where no counts are kept."""
    runs = step.sources.monte_carlo if step.sources else ()
    if not runs:
        return step.mc_score
    return share_correct(runs)


def judge_verdict(step: Step) -> Label:
    """The majority of the judges; unknown on a tie; the stored `rag_label` where no verdicts are kept."""
    verdicts = step.sources.judge if step.sources else ()
    if not verdicts:
        stored: dict[str | None, Label] = {"+": "correct", "-": "incorrect", "=": "neutral", None: "unknown"}
        return stored[step.rag_label]
    return majority([one.verdict for one in verdicts])


def _row(step: Step, labels: LabelSettings) -> Row | None:
    if labels.kind == "hybrid":
        return _label_row(step.label or "unknown")
    if labels.kind == "judge":
        return _label_row(judge_verdict(step))
    score = monte_carlo_score(step)
    if score is None:
        return None
    if labels.kind == "soft":
        return (score, 1.0 - score)
    assert labels.kind == "value", labels.kind
    return PLUS if score > labels.mc_threshold else MINUS


def _label_row(label: Label) -> Row | None:
    return {"correct": PLUS, "incorrect": MINUS}.get(label)


def _advantage(before: float | None, after: float | None, labels: LabelSettings) -> Row | None:
    if before is None or after is None:
        return None
    change = after - before
    if abs(change) <= labels.advantage_margin:
        return ADVANTAGE_ROWS["="]
    return ADVANTAGE_ROWS["+" if change > 0 else "-"]
