"""The consensus rule: from the raw verdicts of a step to its fused label. The truth table is in docs/annotation.md.

The brief's rule: judge + and Monte Carlo score > 0.7 -> correct, confidence min(score, 0.95); judge - and score < 0.3
-> incorrect, min(1 - score, 0.95); all else is disputed: unknown, 0.5, and goes to the expert, whose verdict wins.
Rollouts that were stopped early decide a label only where every completion of the plan gives the same one, or, where
the sequential test stopped them, where another label is as unlikely as the test demanded. In a solution that was
searched for its first error, a right rollout behind a step counts as one from that step: it is a continuation of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from medprm.annotation.counts import chance_of_change, is_decided, num_remaining
from medprm.annotation.settings import FITTED_RULES, SCORE_ABOVE_ZERO, ConsensusSettings
from medprm.cases.schema import Label, MonteCarlo, Sources, Step
from medprm.cases.verdicts import LATER_SUCCESS, expert_majority, is_searched, majority, share_so_far
from medprm.errors import InputError

SIGN = {"correct": "+", "incorrect": "-", "neutral": "="}
EXPERT_CONFIDENCE = 0.95  # as the brief's example gives an expert's verdict
MOST_CONFIDENT = 0.95
UNCERTAIN = 0.5
EXACT, SEQUENTIAL, COMPLETE, NOT_NEEDED = "exact", "sequential", "complete", "judge_unknown"
CHANCE_LIMIT = "most_chance_of_change"  # in the `extra` of rollouts that the sequential test stopped


class UndecidedError(InputError):
    """The rollouts kept do not decide the label that is asked for."""


class Fused(NamedTuple):
    """A label, how sure we are of it, and the way it came about."""

    label: Label
    confidence: float
    method: str


UNRESOLVED = Fused("unknown", UNCERTAIN, "unresolved")


def fuse(sources: Sources, settings: ConsensusSettings) -> Fused:
    """The fused label of one step. UndecidedError where rollouts stopped early leave it open."""
    expert = expert_majority(sources.expert)
    if expert != "unknown":
        return Fused(expert, EXPERT_CONFIDENCE, "expert_verified")
    judge = judge_verdict(sources)
    _check_decided(sources.monte_carlo, judge, settings)
    return fuse_machines(judge, machine_score(sources, settings), settings)


def fuse_machines(judge: Label, score: float | None, settings: ConsensusSettings) -> Fused:
    """The rule itself; `score` None: too few readable rollouts."""
    if settings.rule == "judge":
        return Fused(judge, UNCERTAIN, "judge_only") if judge != "unknown" else UNRESOLVED
    if score is None or settings.rule in FITTED_RULES:  # nothing is fitted before experts have spoken
        return UNRESOLVED
    if settings.rule == "value":
        return Fused("correct" if score > 0 else "incorrect", min(max(score, 1 - score), MOST_CONFIDENT), "mc_value")
    if settings.rule == "keep_if_agree":
        is_kept = judge == ("correct" if score > 0 else "incorrect")
        return Fused(judge, min(max(score, 1 - score), MOST_CONFIDENT), "keep_if_agree") if is_kept else UNRESOLVED
    if judge == "correct" and score > settings.mc_correct_above:
        return Fused("correct", min(score, MOST_CONFIDENT), "rag_mc_consensus")
    if judge == "incorrect" and score < settings.mc_incorrect_below:
        return Fused("incorrect", min(1.0 - score, MOST_CONFIDENT), "rag_mc_consensus")
    return UNRESOLVED


def by_chance(chance: float, settings: ConsensusSettings) -> Fused:
    """The label of a rule that gives a chance of correct."""
    certainty = max(chance, 1 - chance)
    if certainty < settings.certain_from:
        return UNRESOLVED
    return Fused("correct" if chance >= 0.5 else "incorrect", min(certainty, MOST_CONFIDENT), settings.rule)


def judge_verdict(sources: Sources) -> Label:
    return majority([verdict.verdict for verdict in sources.judge])


def machine_score(sources: Sources, settings: ConsensusSettings) -> float | None:
    """The Monte Carlo score; at the answer step, which has no rollouts, the outcome (1 or 0)."""
    if not sources.monte_carlo and sources.outcome:
        outcome = majority([one.verdict for one in sources.outcome])
        return {"correct": 1.0, "incorrect": 0.0}.get(outcome)
    num_readable = sum(run.num_correct + run.num_wrong for run in sources.monte_carlo)
    return share_so_far(sources.monte_carlo) if num_readable >= settings.min_readable else None


def label_of_counts(judge: Label, counts: MonteCarlo, settings: ConsensusSettings) -> Label:
    """The label of a step with these rollouts, were they all."""
    return fuse_machines(judge, machine_score(Sources(monte_carlo=(counts,)), settings), settings).label


def label_step(step: Step, sources: Sources, settings: ConsensusSettings) -> Step:
    """The step with its sources and everything that is derived from them."""
    return _derived(step, sources, fuse(sources, settings))


def label_steps(
    steps: Sequence[Step],
    sources: Sequence[Sources],
    settings: ConsensusSettings,
    chances: Sequence[float] | None = None,
) -> list[Step]:
    """All steps of a solution: as `label_step`, and what the settings say of the answer and of what follows an error.

    `chances` of correct come from a rule that is fitted on what experts said. An expert's verdict stands everywhere.
    UndecidedError where a search for the first error leaves the rule open.
    """
    labelled, has_error = [], False
    last_success = last_measured_success(sources, settings)
    for number, (step, given) in enumerate(zip(steps, sources, strict=True)):
        fused = fuse(given, settings)
        if chances is not None and fused.method != "expert_verified":
            fused = by_chance(chances[number], settings)
        if number < last_success and not given.monte_carlo and fused.method != "expert_verified":
            fused = _before_success(judge_verdict(given), settings)
        if fused.method != "expert_verified":
            if number == len(steps) - 1:
                fused = _at_answer(given, fused, settings)
            if has_error and settings.after_first_error == "unknown":
                fused = Fused("unknown", UNCERTAIN, "after_first_error")
            elif has_error and settings.after_first_error == "incorrect":
                fused = Fused("incorrect", fused.confidence, "after_first_error")
        has_error |= fused.label == "incorrect"
        labelled.append(_derived(step, given, fused))
    return labelled


def last_measured_success(sources: Sequence[Sources], settings: ConsensusSettings) -> int:
    """Place of the last step with a score above 0 where the solution was searched for its first error, -1 without."""
    if settings.rule == "judge" or not is_searched(sources):
        return -1
    if settings.rule not in SCORE_ABOVE_ZERO:
        raise UndecidedError(
            f"the rollouts searched for the first error only, which decides no label by rule {settings.rule}; annotate "
            f"with monte_carlo.search=all, or derive labels by consensus.rule={' or '.join(SCORE_ABOVE_ZERO)}"
        )
    scores = [machine_score(one, settings) if one.monte_carlo else None for one in sources]
    return max((place for place, score in enumerate(scores) if score), default=-1)


def _before_success(judge: Label, settings: ConsensusSettings) -> Fused:
    """Of a step without rollouts: its score is above 0, and no more is known of it."""
    fused = fuse_machines(judge, 1.0, settings)
    return UNRESOLVED if fused.label == "unknown" else Fused(fused.label, UNCERTAIN, LATER_SUCCESS)


def _at_answer(sources: Sources, fused: Fused, settings: ConsensusSettings) -> Fused:
    outcome = majority([one.verdict for one in sources.outcome])
    if settings.answer_step == "unknown":
        return Fused("unknown", UNCERTAIN, "answer_step")
    if settings.answer_step == "outcome" and outcome != "unknown":
        return Fused(outcome, MOST_CONFIDENT, "outcome")
    return fused


def _derived(step: Step, sources: Sources, fused: Fused) -> Step:
    derived = {
        "label": fused.label,
        "confidence": fused.confidence,
        "annotation_method": fused.method,
        "rag_label": SIGN.get(judge_verdict(sources)),
        "mc_score": share_so_far(sources.monte_carlo),
        "sources": sources,
    }
    return step.model_copy(update={name: value for name, value in derived.items() if value is not None})


def _check_decided(runs: Sequence[MonteCarlo], judge: Label, settings: ConsensusSettings) -> None:
    """One run stopped early must be decided by this rule; several runs, of which one stopped early, never are."""
    short = [run for run in runs if num_remaining(run)]
    if not short or settings.rule == "judge":
        return
    if len(runs) == 1 and _decides(short[0], judge, settings):
        return
    raise UndecidedError(
        f"{short[0].num_total} of {short[0].num_planned} rollouts were run ({short[0].stopping}), and they do not "
        f"decide the label by rule {settings.rule} with thresholds {settings.mc_incorrect_below} and "
        f"{settings.mc_correct_above}; annotate with monte_carlo.stopping=fixed, or with the rule it was stopped for"
    )


def _decides(run: MonteCarlo, judge: Label, settings: ConsensusSettings) -> bool:
    def label_of(counts: MonteCarlo) -> Label:
        return label_of_counts(judge, counts, settings)

    if is_decided(run, label_of):
        return True
    limit = (run.extra or {}).get(CHANCE_LIMIT) if run.stopping == SEQUENTIAL else None
    return limit is not None and chance_of_change(run, label_of) <= limit
