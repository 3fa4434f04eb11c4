"""Monte Carlo of step prefixes, stopped as soon as the fused label of the step can no longer change.

In: a case, its prefixes with the judge's verdict on their last step, a policy. Out: counts. Rollouts come in rounds; a
prefix that several solutions share is drawn once a round. Math-Shepherd (arXiv 2312.08935) counts; the exact stop is
curtailed sampling, which gives the labels of the full plan.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from medprm.annotation.consensus import COMPLETE, EXACT, NOT_NEEDED, SEQUENTIAL, label_of_counts
from medprm.annotation.counts import Drawn, chance_of_change, count_outcomes, is_decided, num_remaining
from medprm.annotation.settings import ConsensusSettings, MonteCarloSettings
from medprm.cases.answers import AnswerMatcher
from medprm.cases.schema import Case, Label, MonteCarlo

Prefix = tuple[str, ...]


class StepPrefix(NamedTuple):
    """The steps up to and with the one in question, and what the judge says of that one."""

    steps: Prefix
    judge: Label


class Policy(Protocol):
    """Whoever continues prefixes. `draw` gives `num` independent continuations of each; rounds are independent."""

    name: str

    def draw(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> list[list[Drawn]]: ...


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
    counts = [empty] * len(wanted)
    reasons = [_why_stop(one, empty, settings, consensus) for one in wanted]
    number = 0
    while None in reasons:
        live = list(dict.fromkeys(one.steps for one, why in zip(wanted, reasons, strict=True) if why is None))
        size = min(settings.rollouts_per_round, settings.num_rollouts - number * settings.rollouts_per_round)
        drawn = dict(zip(live, policy.draw(case, live, size, number), strict=True))
        for place, one in enumerate(wanted):
            if reasons[place] is None:
                counts[place] = count_outcomes(drawn[one.steps], case, counts[place], answers)
                reasons[place] = _why_stop(one, counts[place], settings, consensus)
        number += 1
    return [one.model_copy(update={"stopping": why}) for one, why in zip(counts, reasons, strict=True)]


def _why_stop(
    prefix: StepPrefix, counts: MonteCarlo, settings: MonteCarloSettings, consensus: ConsensusSettings
) -> str | None:
    """The reason to stop here, None to go on."""
    if num_remaining(counts) == 0:
        return COMPLETE
    if settings.stopping == "fixed":
        return None

    def label_of(one: MonteCarlo) -> Label:
        return label_of_counts(prefix.judge, one, consensus)

    if is_decided(counts, label_of):
        return NOT_NEEDED if prefix.judge == "unknown" else EXACT
    is_sequential = settings.stopping == "sequential" and counts.num_total > 0
    if is_sequential and chance_of_change(counts, label_of) < settings.sequential_error:
        return SEQUENTIAL
    return None
