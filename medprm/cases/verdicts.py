"""What the raw verdicts of a step say together, before any rule fuses them.

In: the sources that a step keeps. Out: the majority of some verdicts, the Monte Carlo score.
"""

from collections import Counter
from collections.abc import Sequence

from medprm.cases.schema import Label, MonteCarlo
from medprm.errors import InputError


def majority(verdicts: Sequence[Label]) -> Label:
    """The most frequent verdict; unknown without verdicts and at a tie. Who cannot tell has no vote."""
    counts: Counter[Label] = Counter(verdict for verdict in verdicts if verdict != "unknown")
    ranked = counts.most_common(2)
    is_tie = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return "unknown" if is_tie or not ranked else ranked[0][0]


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
