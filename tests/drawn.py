"""Rollouts that were drawn beforehand, and a policy that serves them: whoever asks sees the same ones."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medprm.annotation.consensus import label_of_counts
from medprm.annotation.counts import Drawn
from medprm.annotation.rollouts import Prefix, StepPrefix, roll_out
from medprm.annotation.settings import ConsensusSettings, MonteCarloSettings
from medprm.cases.schema import Case, GoldStandard, Label

CASE = Case(
    case_id="a", modality="text", question="Which?", options=("pneumonia", "empyema"),
    gold_standard=GoldStandard(answer="pneumonia"),
)  # fmt: skip
TEXTS = {"right": "The answer is pneumonia.", "wrong": "The answer is empyema.", "unread": "Who knows."}


class StoredPolicy:
    """Any number of rounds reads the same outcomes in the same order. `asked`: the prefixes of each draw."""

    name = "stored"

    def __init__(self, outcomes: dict[Prefix, list[str]]) -> None:
        self.outcomes = outcomes
        self.read: dict[Prefix, int] = dict.fromkeys(outcomes, 0)
        self.asked: list[list[Prefix]] = []

    def draw(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> list[list[Drawn]]:
        self.asked.append(list(prefixes))
        drawn = []
        for prefix in prefixes:
            begin = self.read[prefix]
            self.read[prefix] += num
            found = Counter(self.outcomes[prefix][begin : begin + num])
            drawn.append([Drawn(TEXTS[one], num_equal, False) for one, num_equal in found.items()])
        return drawn


def draw_outcomes(rng: np.random.Generator, chance: float, num: int, unread: float = 0.05) -> list[str]:
    return ["unread" if rng.random() < unread else "right" if rng.random() < chance else "wrong" for _ in range(num)]


class Replay(NamedTuple):
    """Shares: of the planned rollouts that were not run, and of the labels that differ from those of all."""

    saved: float
    changed: float


def replay(
    judge: Label, chance: float, settings: MonteCarloSettings, num_steps: int = 300, unread: float = 0.0
) -> Replay:
    """Steps of one chance by the brief's rule, stopped as the settings say."""
    rng = np.random.default_rng(1)
    wanted = [StepPrefix((str(number),), judge) for number in range(num_steps)]
    outcomes = {one.steps: draw_outcomes(rng, chance, settings.num_rollouts, unread) for one in wanted}
    num = settings.num_rollouts
    fixed = MonteCarloSettings(num_rollouts=num, rollouts_per_round=num, stopping="fixed")
    rule = ConsensusSettings()
    short, whole = (roll_out(CASE, wanted, StoredPolicy(outcomes), way, rule) for way in (settings, fixed))
    changed = [
        label_of_counts(judge, a, rule) != label_of_counts(judge, b, rule) for a, b in zip(short, whole, strict=True)
    ]
    num_run = sum(one.num_total for one in short)
    return Replay(1 - num_run / (num * num_steps), float(np.mean(changed)))
