"""What the raw verdicts of a step say together, before any rule fuses them.

In: the sources that a step keeps. Out: the majority of some verdicts, the Monte Carlo score.
"""

from collections import Counter
from collections.abc import Sequence

from medprm.cases.schema import Label, MonteCarlo


def majority(verdicts: Sequence[Label]) -> Label:
    """The most frequent verdict; unknown without verdicts and at a tie. Who cannot tell has no vote."""
    counts: Counter[Label] = Counter(verdict for verdict in verdicts if verdict != "unknown")
    ranked = counts.most_common(2)
    is_tie = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return "unknown" if is_tie or not ranked else ranked[0][0]


def share_correct(runs: Sequence[MonteCarlo]) -> float | None:
    """Share of correct rollouts among the readable ones, over all runs; None where no rollout could be read."""
    num_correct = sum(run.num_correct for run in runs)
    num_readable = num_correct + sum(run.num_wrong for run in runs)
    return num_correct / num_readable if num_readable else None
