"""The prefixes of solutions that get rollouts: all, or those that a search for the first error halves at.

In: the prefixes of every solution of a case, a policy. Out: counts, None where a prefix was not measured. A prefix from
which some rollout is right means that the first error comes later; else it is there or before (OmegaPRM, arXiv
2406.06592). Where no prefix with a right rollout lies behind one without, the first measured one without is the first
error. Where some do, what is found is one place where a prefix without follows one with.
"""

from collections.abc import Sequence
from dataclasses import replace

from medprm.annotation.consensus import machine_score
from medprm.annotation.rollouts import Policy, Prefix, StepPrefix, roll_out
from medprm.annotation.settings import ConsensusSettings, MonteCarloSettings, check_search
from medprm.cases.answers import AnswerMatcher
from medprm.cases.schema import Case, MonteCarlo, Sources
from medprm.cases.verdicts import FIRST_ERROR, SEARCH

Measured = dict[Prefix, MonteCarlo]


def measure_solutions(
    case: Case,
    solutions: Sequence[Sequence[StepPrefix]],
    policy: Policy,
    settings: MonteCarloSettings,
    consensus: ConsensusSettings,
    answers: AnswerMatcher = AnswerMatcher(),
) -> list[list[MonteCarlo | None]]:
    """The counts of each solution's prefixes, as `settings.search` asks for them."""
    check_search(settings, consensus)
    if settings.search == "all":
        together = [one for prefixes in solutions for one in prefixes]
        counts = iter(roll_out(case, together, policy, settings, consensus, answers))
        return [[next(counts) for _ in prefixes] for prefixes in solutions]
    return search_first_errors(case, solutions, policy, settings, consensus, answers)


def search_first_errors(
    case: Case,
    solutions: Sequence[Sequence[StepPrefix]],
    policy: Policy,
    settings: MonteCarloSettings,
    consensus: ConsensusSettings,
    answers: AnswerMatcher = AnswerMatcher(),
) -> list[list[MonteCarlo | None]]:
    """All solutions are halved together, so that their prefixes share rounds; a shared prefix is measured once.

    Whatever the judge says, rollouts go on until it is decided whether the score is above 0.
    """
    by_value = replace(consensus, rule="value")
    measured: Measured = {}
    while wanted := [one for one in (_halfway(each, measured, consensus) for each in solutions) if one]:
        unjudged = [StepPrefix(steps, "unknown") for steps in wanted]
        counts = roll_out(case, unjudged, policy, settings, by_value, answers)
        for steps, run in zip(wanted, counts, strict=True):
            measured[steps] = run.model_copy(update={"extra": {**(run.extra or {}), SEARCH: FIRST_ERROR}})
    return [[measured.get(one.steps) for one in prefixes] for prefixes in solutions]


def most_measured(num_prefixes: int) -> int:
    """Prefixes that a search measures at most."""
    return num_prefixes.bit_length()


def _halfway(prefixes: Sequence[StepPrefix], measured: Measured, consensus: ConsensusSettings) -> Prefix | None:
    """The prefix to measure next, between the last right one and the first other behind it; None where none is left."""
    is_right = {
        # Without a score (too few readable rollouts) nothing is known to be right: the search goes on before it.
        place: bool(machine_score(Sources(monte_carlo=(measured[one.steps],)), consensus))
        for place, one in enumerate(prefixes)
        if one.steps in measured
    }
    right = max((place for place, found in is_right.items() if found), default=-1)
    wrong = min((place for place, found in is_right.items() if not found and place > right), default=len(prefixes))
    return prefixes[(right + wrong) // 2].steps if wrong - right > 1 else None
