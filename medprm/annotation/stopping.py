"""When a prefix needs no more rollouts: exact curtailment, and the sequential test.

In: the judge's verdict on the step, its counts. Out: the reason to stop, or None. Exact: every completion of the plan
has one label, so that labels are those of the full plan. Sequential: see `sequential`.
"""

from dataclasses import astuple
from functools import lru_cache
from typing import Any

from medprm.annotation.consensus import CHANCE_LIMIT, COMPLETE, EXACT, NOT_NEEDED, SEQUENTIAL, label_of_counts
from medprm.annotation.counts import LabelOf, chance_of_change, is_decided, num_remaining, num_to_decide
from medprm.annotation.sequential import chance_limit
from medprm.annotation.settings import ConsensusSettings, MonteCarloSettings
from medprm.cases.schema import Label, MonteCarlo

Outcomes = tuple[int, int, int]
"""Rollouts that were right, wrong, unreadable."""


class StoppingRule:
    """The rule of some settings. It keeps what it has said of counts and its limits: few differ among many steps."""

    def __init__(self, settings: MonteCarloSettings, consensus: ConsensusSettings) -> None:
        self.settings = settings
        self.consensus = consensus
        self._said: dict[tuple[Label, int, int, int], str | None] = {}
        self._next: dict[tuple[Label, int, int, int], int] = {}
        self._limits: dict[Label, float] = {}

    def why_stop(self, judge: Label, counts: MonteCarlo) -> str | None:
        """The reason to stop here, None to go on."""
        key = (judge, counts.num_correct, counts.num_wrong, counts.num_total)
        if key not in self._said:
            self._said[key] = self._why_stop(judge, counts)
        return self._said[key]

    def num_next(self, judge: Label, counts: MonteCarlo) -> int:
        """Rollouts of the next round: a whole one, or as few as are likely to decide the label.

        The sequential test looks at the numbers that its limit was computed for: there all rounds are whole.
        """
        whole = min(self.settings.rollouts_per_round, num_remaining(counts))
        if self.settings.stopping != "exact":
            return whole
        key = (judge, counts.num_correct, counts.num_wrong, counts.num_total)
        if key not in self._next:
            self._next[key] = num_to_decide(counts, self._label_of(judge), whole)
        return self._next[key]

    def stopped(self, judge: Label, counts: MonteCarlo) -> MonteCarlo:
        """The counts with why they end here; where the test ended them, with the limit, so that it can be checked."""
        why = self.why_stop(judge, counts)
        assert why is not None, "stopped without a reason"
        update: dict[str, Any] = {"stopping": why}
        if why == SEQUENTIAL:
            update["extra"] = {CHANCE_LIMIT: self.limit(judge)}
        return counts.model_copy(update=update)

    def limit(self, judge: Label) -> float:
        """The sequential test stops where the chance of another label is at most this."""
        if judge not in self._limits:
            settings = self.settings
            looks = range(settings.rollouts_per_round, settings.num_rollouts, settings.rollouts_per_round)
            self._limits[judge] = chance_limit(
                self._label_of(judge),
                settings.num_rollouts,
                looks,
                settings.sequential_error,
                settings.sequential_spread,
            )
        return self._limits[judge]

    def _why_stop(self, judge: Label, counts: MonteCarlo) -> str | None:
        if num_remaining(counts) == 0:
            return COMPLETE
        if self.settings.stopping == "fixed":
            return None
        label_of = self._label_of(judge)
        if is_decided(counts, label_of):
            return NOT_NEEDED if judge == "unknown" and counts.num_total == 0 else EXACT
        is_sequential = self.settings.stopping == "sequential" and counts.num_total > 0
        if is_sequential and chance_of_change(counts, label_of) <= self.limit(judge):
            return SEQUENTIAL
        return None

    def _label_of(self, judge: Label) -> LabelOf:
        return lambda counts: label_of_counts(judge, counts, self.consensus)


def stopping_rule(settings: MonteCarloSettings, consensus: ConsensusSettings) -> StoppingRule:
    """The rule of these settings, one for all cases of a run."""
    return _rule(astuple(settings), astuple(consensus))


def most_rounds(settings: MonteCarloSettings, consensus: ConsensusSettings) -> int:
    """Rounds that a prefix can take, whatever the judge says and however the rollouts come out."""
    if settings.stopping != "exact":
        return -(-settings.num_rollouts // settings.rollouts_per_round)
    rule = stopping_rule(settings, consensus)
    judges: tuple[Label, ...] = ("correct", "incorrect", "neutral", "unknown")
    return max(_rounds_from(rule, judge, (0, 0, 0), {}) for judge in judges)


def _rounds_from(rule: StoppingRule, judge: Label, outcomes: Outcomes, known: dict[Outcomes, int]) -> int:
    """The most rounds from these numbers of right, wrong and unreadable rollouts on."""
    if outcomes not in known:
        right, wrong, unread = outcomes
        counts = MonteCarlo(
            num_correct=right, num_wrong=wrong, num_unparsed=unread, num_planned=rule.settings.num_rollouts
        )
        known[outcomes] = 0
        if rule.why_stop(judge, counts) is None:
            size = rule.num_next(judge, counts)
            known[outcomes] = 1 + max(
                _rounds_from(rule, judge, (right + more, wrong + others, unread + size - more - others), known)
                for more in range(size + 1)
                for others in range(size + 1 - more)
            )
    return known[outcomes]


@lru_cache(maxsize=64)
def _rule(settings: tuple[Any, ...], consensus: tuple[Any, ...]) -> StoppingRule:
    return StoppingRule(MonteCarloSettings(*settings), ConsensusSettings(*consensus))
