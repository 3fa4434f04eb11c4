"""Monte Carlo of step prefixes, stopped as soon as the fused label of the step can no longer change.

In: a case, its prefixes with the judge's verdict on their last step, a policy. Out: counts. Rollouts come in rounds; a
prefix that several solutions share is drawn once a round. Math-Shepherd (arXiv 2312.08935) counts; the exact stop is
curtailed sampling, which gives the labels of the full plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from medprm.annotation.counts import Drawn, count_outcomes
from medprm.annotation.settings import ConsensusSettings, MonteCarloSettings
from medprm.annotation.stopping import stopping_rule
from medprm.cases.answers import AnswerMatcher
from medprm.cases.schema import Case, Label, MonteCarlo

Prefix = tuple[str, ...]


@dataclass(frozen=True)
class Drawing:
    """How a policy draws, and under which line of the ledger. Temperature 0 takes the likeliest token.

    With `stop`, a text at which a continuation ends, it draws one step instead of the rest of the solution.
    """

    temperature: float
    max_new_tokens: int
    stage: str = "monte_carlo"
    continuation: str = "continue_final_message"
    batch_prefixes: int = 48
    stop: str | None = None


class StepPrefix(NamedTuple):
    """The steps up to and with the one in question, and what the judge says of that one."""

    steps: Prefix
    judge: Label


class Policy(Protocol):
    """Whoever continues prefixes. `draw` gives `num` independent continuations of each; rounds are independent.

    Rounds of a prefix are numbered from 0, each of at most `rollouts_per_round`.
    """

    name: str

    def draw(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> list[list[Drawn]]: ...


def drawing_of(settings: MonteCarloSettings) -> Drawing:
    """How rollouts are drawn."""
    return Drawing(
        settings.temperature,
        settings.max_new_tokens,
        continuation=settings.continuation,
        batch_prefixes=settings.batch_prefixes,
    )


def roll_out(
    case: Case,
    wanted: Sequence[StepPrefix],
    policy: Policy,
    settings: MonteCarloSettings,
    consensus: ConsensusSettings,
    answers: AnswerMatcher = AnswerMatcher(),
) -> list[MonteCarlo]:
    """The counts of each prefix; the plan and why it stopped stand in them."""
    empty = MonteCarlo(num_correct=0, num_wrong=0, num_planned=settings.num_rollouts, policy=policy.name)
    rule = stopping_rule(settings, consensus)
    counts = [empty] * len(wanted)
    is_live = [rule.why_stop(one.judge, empty) is None for one in wanted]
    number = 0
    while any(is_live):
        sizes: dict[Prefix, int] = {}
        for one, run, goes_on in zip(wanted, counts, is_live, strict=True):
            if goes_on:
                size = rule.num_next(one.judge, run)
                sizes[one.steps] = min(size, sizes.get(one.steps, size))
        drawn: dict[Prefix, list[Drawn]] = {}
        for size in sorted(set(sizes.values()), reverse=True):
            alike = [steps for steps, num in sizes.items() if num == size]
            drawn |= zip(alike, policy.draw(case, alike, size, number), strict=True)
        for place, one in enumerate(wanted):
            if is_live[place]:
                counts[place] = count_outcomes(drawn[one.steps], case, counts[place], answers)
                is_live[place] = rule.why_stop(one.judge, counts[place]) is None
        number += 1
    return [rule.stopped(one.judge, run) for one, run in zip(wanted, counts, strict=True)]
