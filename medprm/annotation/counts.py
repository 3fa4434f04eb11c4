"""Rollouts to counts, and when no more of them are needed.

In: rollout texts, the case, the verdict of the judge. Out: `Counts`, and whether every completion of the planned
rollouts gives the same label (exact curtailment: the label of all planned ones, at fewer of them).
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from scipy.stats import betabinom

from medprm.cases.answers import AnswerMatcher, last_step
from medprm.cases.schema import Case, Label, MonteCarlo

LabelOf = Callable[[MonteCarlo], Label]
"""The label of a step whose rollouts came out like this."""


class Drawn(NamedTuple):
    """One continuation that was drawn `count` times, at `num_tokens` each where that is known (else 0).

    `goes_on`: it ended where it was told to stop, not at the end of the solution.
    """

    text: str
    count: int
    is_truncated: bool
    num_tokens: int = 0
    goes_on: bool = False


def count_outcomes(
    drawn: Iterable[Drawn], case: Case, before: MonteCarlo, answers: AnswerMatcher = AnswerMatcher()
) -> MonteCarlo:
    """`before` and the outcomes of `drawn` together. Truncated and unreadable ones are neither right nor wrong."""
    right = wrong = unparsed = truncated = 0
    for one in drawn:
        if one.is_truncated:
            truncated += one.count
            continue
        is_right = answers.is_right(case, answers.read(case, last_step(one.text)))
        right += one.count * (is_right is True)
        wrong += one.count * (is_right is False)
        unparsed += one.count * (is_right is None)
    return before.model_copy(
        update={
            "num_correct": before.num_correct + right,
            "num_wrong": before.num_wrong + wrong,
            "num_unparsed": before.num_unparsed + unparsed,
            "num_truncated": before.num_truncated + truncated,
        }
    )


def is_decided(counts: MonteCarlo, label_of: LabelOf) -> bool:
    """Whether all completions of the planned rollouts have one label.

    The score falls between that of all remaining ones right and that of all wrong, and the readable ones are fewest
    where all are unreadable: a rule that is monotone in the score has its extremes among these three.
    """
    return len({label_of(one) for one in completions(counts)}) == 1


def completions(counts: MonteCarlo) -> list[MonteCarlo]:
    """The rest of the plan all right, all wrong, all unreadable."""
    rest = num_remaining(counts)
    return [with_more(counts, name, rest) for name in ("num_correct", "num_wrong", "num_unparsed")]


def with_more(counts: MonteCarlo, name: str, num: int) -> MonteCarlo:
    """`num` rollouts more, all of which come out as `name` says (num_correct, num_wrong, num_unparsed)."""
    return counts.model_copy(update={name: getattr(counts, name) + num})


def num_to_decide(counts: MonteCarlo, label_of: LabelOf, limit: int) -> int:
    """Rollouts after which the label is decided if all of them come out as most have so far; at most `limit`."""
    if counts.num_correct == counts.num_wrong:
        return limit
    most = "num_correct" if counts.num_correct > counts.num_wrong else "num_wrong"
    return next((num for num in range(1, limit) if is_decided(with_more(counts, most, num), label_of)), limit)


def num_remaining(counts: MonteCarlo) -> int:
    """Planned rollouts that were not run."""
    return max(0, (counts.num_planned or 0) - counts.num_total)


def chance_of_change(counts: MonteCarlo, label_of: LabelOf) -> float:
    """Chance that the label of all planned rollouts is another than that of those run.

    Predictive: the remaining ones are beta-binomial around those seen (Jeffreys prior); all are taken to be readable.
    """
    rest = num_remaining(counts)
    right = np.arange(rest + 1)
    chances = betabinom.pmf(right, rest, counts.num_correct + 0.5, counts.num_wrong + 0.5)
    now = label_of(counts)
    finals = [
        counts.model_copy(
            update={"num_correct": counts.num_correct + int(r), "num_wrong": counts.num_wrong + rest - int(r)}
        )
        for r in right
    ]
    return float(sum(chance for chance, one in zip(chances, finals, strict=True) if label_of(one) != now))
