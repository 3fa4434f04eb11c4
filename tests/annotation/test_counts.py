"""Curtailment: the label at the stop is the label of the full plan, whatever the rest would have been."""

from itertools import product

import numpy as np
import pytest
from drawn import CASE, TEXTS, StoredPolicy, draw_outcomes, replay

from medprm.annotation.consensus import label_of_counts
from medprm.annotation.counts import Drawn, chance_of_change, count_outcomes, is_decided
from medprm.annotation.rollouts import StepPrefix, roll_out
from medprm.annotation.settings import RULES, ConsensusSettings, MonteCarloSettings
from medprm.cases.schema import Label, MonteCarlo


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("least", [1, 8])
def test_a_stopped_step_has_the_label_of_all_planned_rollouts(rule: str, least: int) -> None:
    rng = np.random.default_rng(0)
    consensus = ConsensusSettings(rule=rule, min_readable=least)
    judges: tuple[Label, ...] = ("correct", "incorrect", "neutral", "unknown")
    wanted = [
        StepPrefix((f"{judge} {chance} {n}",), judge)
        for judge, chance, n in product(judges, (0.0, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0), range(8))
    ]
    outcomes = {one.steps: draw_outcomes(rng, float(one.steps[0].split()[1]), 32) for one in wanted}
    for size in (1, 4, 7):
        settings = MonteCarloSettings(num_rollouts=32, rollouts_per_round=size)
        stopped = roll_out(CASE, wanted, StoredPolicy(outcomes), settings, consensus)
        fixed = MonteCarloSettings(num_rollouts=32, rollouts_per_round=size, stopping="fixed")
        whole = roll_out(CASE, wanted, StoredPolicy(outcomes), fixed, consensus)
        for one, short, full in zip(wanted, stopped, whole, strict=True):
            assert full.num_total == 32 and full.stopping == "complete" and short.num_planned == 32
            assert label_of_counts(one.judge, short, consensus) == label_of_counts(one.judge, full, consensus), (
                one,
                short,
            )
        assert sum(one.num_total for one in stopped) < sum(one.num_total for one in whole)


def test_decided_means_decided_for_every_completion() -> None:
    """Against all completions one by one, not their three extremes."""
    for rule, judge, least in product(RULES, ("correct", "incorrect", "neutral"), (1, 4)):
        settings = ConsensusSettings(rule=rule, min_readable=least)
        for right, wrong, unread in product(range(7), repeat=3):
            if right + wrong + unread > 6:
                continue
            counts = MonteCarlo(num_correct=right, num_wrong=wrong, num_unparsed=unread, num_planned=6)
            rest = 6 - right - wrong - unread
            ends = {
                label_of_counts(
                    judge,  # type: ignore[arg-type]
                    MonteCarlo(num_correct=right + a, num_wrong=wrong + b, num_unparsed=unread + rest - a - b),
                    settings,
                )
                for a, b in product(range(rest + 1), repeat=2)
                if a + b <= rest
            }
            found = is_decided(
                counts, lambda one, judge=judge, settings=settings: label_of_counts(judge, one, settings)
            )
            assert found == (len(ends) == 1), (rule, judge, counts, ends)


def test_savings_where_sources_agree_and_where_they_do_not() -> None:
    exact = MonteCarloSettings()
    assert replay("correct", 1.0, exact).saved >= 0.25 and replay("incorrect", 0.0, exact).saved >= 0.25
    assert replay("correct", 0.0, exact).saved >= 0.6 and replay("incorrect", 1.0, exact).saved >= 0.6


@pytest.mark.parametrize("unread", [0.0, 0.03])
def test_the_last_round_is_no_larger_than_what_can_decide(unread: float) -> None:
    """In rounds of 4 and 8 as few as one by one: 23 right of 32 decide `+`, 10 others decide that it is disputed."""
    for judge, chance, least in (("correct", 1.0, 0.27), ("incorrect", 0.0, 0.27), ("correct", 0.0, 0.66)):
        one_by_one = replay(judge, chance, MonteCarloSettings(rollouts_per_round=1), unread=unread).saved  # type: ignore[arg-type]
        for size in (4, 8):
            found = replay(judge, chance, MonteCarloSettings(rollouts_per_round=size), unread=unread)  # type: ignore[arg-type]
            assert found.changed == 0 and found.saved >= max(least, one_by_one - 0.01)


def test_a_rule_that_one_right_rollout_decides_still_draws_whole_rounds() -> None:
    policy = StoredPolicy({("a",): ["wrong"] * 32})
    value = ConsensusSettings(rule="value")
    roll_out(CASE, [StepPrefix(("a",), "correct")], policy, MonteCarloSettings(), value)
    assert len(policy.asked) == 8


def test_nothing_is_run_where_the_judge_cannot_tell() -> None:
    policy = StoredPolicy({("a",): ["right"] * 32})
    (counts,) = roll_out(CASE, [StepPrefix(("a",), "unknown")], policy, MonteCarloSettings(), ConsensusSettings())
    assert (counts.num_total, counts.num_planned, counts.stopping) == (0, 32, "judge_unknown")
    # For labels by value it must be run all the same.
    (counts,) = roll_out(
        CASE, [StepPrefix(("a",), "unknown")], policy, MonteCarloSettings(), ConsensusSettings(rule="value")
    )
    assert counts.num_total == 4 and counts.num_correct == 4  # one right one decides


def test_outcomes_are_kept_apart() -> None:
    drawn = [
        Drawn(TEXTS["right"], 3, False),
        Drawn(TEXTS["wrong"], 2, False),
        Drawn("Hm.", 4, False),
        Drawn("So", 1, True),
    ]
    counts = count_outcomes(drawn, CASE, MonteCarlo(num_correct=1, num_wrong=0))
    assert (counts.num_correct, counts.num_wrong, counts.num_unparsed, counts.num_truncated) == (4, 2, 4, 1)


def test_chance_of_change_is_small_when_sure_and_large_when_not() -> None:
    def label_of(one: MonteCarlo) -> Label:
        return label_of_counts("correct", one, ConsensusSettings())

    assert chance_of_change(MonteCarlo(num_correct=12, num_wrong=0, num_planned=32), label_of) < 0.02
    assert chance_of_change(MonteCarlo(num_correct=6, num_wrong=2, num_planned=32), label_of) > 0.2
