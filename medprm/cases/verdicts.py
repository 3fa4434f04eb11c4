"""What the raw verdicts of a step say together, before any rule fuses them.

In: the sources that a step keeps. Out: the majority of some verdicts, the Monte Carlo score; errors where what was kept
does not say what is asked.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from medprm.cases.schema import ExpertVerdict, Label, MonteCarlo, Solution, Sources, Step
from medprm.errors import InputError

SEARCH, FIRST_ERROR = "search", "first_error"
"""Key and word in the `extra` of rollouts that searched a solution for its first error: other steps have none."""
LATER_SUCCESS = "mc_later_success"
"""The method of a label that follows from rollouts of a later step."""
ROLE = "role"
"""Key in the `extra` of an expert's verdict: as what the expert spoke; without it, as one reader among others."""
DECIDING_ROLES = ("adjudicator", "lead")
# Methods whose confidence does not come from the Monte Carlo score.
CONFIDENT_WITHOUT_SCORE = ("expert_verified", "judge_only", "outcome")


def majority(verdicts: Sequence[Label]) -> Label:
    """The most frequent verdict; unknown without verdicts and at a tie. Who cannot tell has no vote."""
    counts: Counter[Label] = Counter(verdict for verdict in verdicts if verdict != "unknown")
    ranked = counts.most_common(2)
    is_tie = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return "unknown" if is_tie or not ranked else ranked[0][0]


def expert_majority(verdicts: Sequence[ExpertVerdict]) -> Label:
    """What the experts say together: the last word of an adjudicator or a lead where one decided, else the majority."""
    last_words: list[Label] = [one.verdict for one in verdicts if (one.extra or {}).get(ROLE) in DECIDING_ROLES]
    return majority(last_words or [one.verdict for one in verdicts])


def share_correct(runs: Sequence[MonteCarlo]) -> float | None:
    """Share of correct rollouts among the readable ones, over all runs; None where no rollout could be read.

    InputError where a run was stopped early: what was run is no sample of a stated size. See `share_so_far`.
    """
    for run in runs:
        if run.num_planned is not None and run.num_total < run.num_planned:
            raise InputError(
                f"a Monte Carlo score is asked for, but {run.num_total} of {run.num_planned} rollouts were run "
                f"(stopping: {run.stopping}); annotate with monte_carlo.stopping=fixed, or train on labels=hybrid"
            )
    return share_so_far(runs)


def share_so_far(runs: Sequence[MonteCarlo]) -> float | None:
    """The same share of what was run, whether or not it was stopped early."""
    num_correct = sum(run.num_correct for run in runs)
    num_readable = num_correct + sum(run.num_wrong for run in runs)
    return num_correct / num_readable if num_readable else None


def is_searched(sources: Iterable[Sources | None]) -> bool:
    """Whether a solution's rollouts searched for its first error, so that steps without any were left out."""
    runs = [run for one in sources if one is not None for run in one.monte_carlo]
    return any((run.extra or {}).get(SEARCH) == FIRST_ERROR for run in runs)


def check_every_step_measured(solution: Solution) -> None:
    """InputError where only the first error was searched for: scores of all steps are asked for."""
    if is_searched(step.sources for step in solution.solution_steps):
        raise InputError(
            f"solution {solution.solution_id}: Monte Carlo scores of every step are asked for, but the rollouts "
            "searched for the first error only; annotate with monte_carlo.search=all, or train on labels=hybrid"
        )


def check_confidence(step: Step) -> None:
    """InputError where the step's confidence would come from all planned rollouts, and not all were run."""
    runs = step.sources.monte_carlo if step.sources else ()
    is_short = any(run.num_planned is not None and run.num_total < run.num_planned for run in runs)
    is_implied = step.annotation_method == LATER_SUCCESS
    has_label = step.label not in (None, "unknown")
    if has_label and (is_short or is_implied) and step.annotation_method not in CONFIDENT_WITHOUT_SCORE:
        run_of = f"{runs[0].num_total} of {runs[0].num_planned}" if runs else "none of the"
        raise InputError(
            f"step {step.step_id}: labels.use_confidence=true weighs by the confidence of all planned rollouts, but "
            f"{run_of} rollouts were run; annotate with monte_carlo.stopping=fixed and search=all, or set "
            "labels.use_confidence=false"
        )
