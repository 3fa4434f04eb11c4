"""Rollouts that are drawn once and replayed: the stated mixtures, made-up solutions, and the phantom.

In: shares of steps by verdict and chance, numbers of cases, a seed. Out: `CaseDraws`, with a policy that serves them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medprm.annotation.counts import Drawn
from medprm.annotation.rollouts import Prefix, StepPrefix
from medprm.annotation.settings import MonteCarloSettings
from medprm.cases.jsonl import read_cases
from medprm.cases.schema import Case, GoldStandard, Label
from medprm.clients.journal import Journal
from medprm.commands.annotate_cases import judge_solution
from medprm.commands.annotators import make_annotators, open_source, workshop_of
from medprm.config import AnnotateConfig

NUM_PLANNED = 32
UNREADABLE = 0.03  # share of rollouts without an answer that can be read, as on the phantom
RIGHT, WRONG, UNREAD = (
    Drawn(f"{said}.", 1, False) for said in ("The answer is pneumonia", "The answer is empyema", "Hm")
)

Table = Mapping[Label, Sequence[float]]
"""Numbers of steps by verdict, for chances 0, 0.1, ..., 1 of a right rollout."""

MIXTURES: dict[str, Table] = {
    # Scores of 32 rollouts of the shipped base on the first 64 cases of the phantom.
    "as the phantom": {
        "correct": [665, 72, 50, 25, 24, 11, 23, 49, 212, 329, 724],
        "incorrect": [139, 6, 3, 3, 2, 0, 7, 2, 4, 16, 25],
    },
    # Steps before the last of 99 solutions of Med-PRM's training set (16 rollouts, Gemini's labels), as far as counted:
    # of right solutions 348 steps, all "+", none with score 0, about 97 disputed; of wrong ones 144, about 101
    # disputed, 91 where verdict and score > 0 agree, 58 where verdict and score >= 0.5 do. What lies between is ours.
    "as Med-PRM": {
        "correct": [25, 20, 20, 22, 23, 19, 19, 19, 45, 70, 146],
        "incorrect": [36, 1, 1, 1, 2, 6, 5, 5, 3, 2, 2],
    },
    "even": {"correct": [1] * 11, "incorrect": [1] * 11},
    # Half of the range, where it is worst.
    "around the thresholds": {
        "correct": [0] * 5 + [1] * 5 + [0],
        "incorrect": [0] + [1] * 5 + [0] * 5,
    },
    "all at the thresholds": {"correct": [0] * 7 + [1] + [0] * 3, "incorrect": [0] * 3 + [1] + [0] * 7},
}


class CaseDraws(NamedTuple):
    """A case, the prefixes of its solutions with the judge's verdicts, and all planned rollouts of each in order."""

    case: Case
    solutions: list[list[StepPrefix]]
    drawn: dict[Prefix, list[Drawn]]


class StoredPolicy:
    """A `Policy` that serves what was drawn before, in the same order whoever asks."""

    name = "stored"

    def __init__(self, drawn: Mapping[Prefix, Sequence[Drawn]]) -> None:
        self.drawn = drawn
        self.served: Counter[Prefix] = Counter()

    @property
    def num_served(self) -> int:
        return self.served.total()

    def draw(self, case: Case, prefixes: Sequence[Prefix], num: int, number: int) -> list[list[Drawn]]:
        rounds = [Counter(self.drawn[one][self.served[one] : self.served[one] + num]) for one in prefixes]
        self.served.update(dict.fromkeys(prefixes, num))
        return [[one._replace(count=num_equal) for one, num_equal in drawn.items()] for drawn in rounds]


def made_up_case() -> Case:
    return Case(
        case_id="made_up",
        modality="text",
        question="Which?",
        options=("pneumonia", "empyema"),
        gold_standard=GoldStandard(answer="pneumonia"),
    )


def draw_outcomes(chance: float, generator: np.random.Generator) -> list[Drawn]:
    readable, right = generator.random(NUM_PLANNED) >= UNREADABLE, generator.random(NUM_PLANNED) < chance
    return [UNREAD if not one else RIGHT if two else WRONG for one, two in zip(readable, right, strict=True)]


def draw_mixture(table: Table, num_steps: int, seed: int = 0) -> CaseDraws:
    """Steps drawn from a mixture, each a solution by itself; the prefix names its number and its chance in tenths."""
    generator = np.random.default_rng(seed)
    cells = [(verdict, tenth) for verdict, row in table.items() for tenth in range(len(row))]
    weights = np.array([number for row in table.values() for number in row], dtype=float)
    picked = generator.choice(len(cells), num_steps, p=weights / weights.sum())
    steps = [StepPrefix((str(number), str(cells[one][1])), cells[one][0]) for number, one in enumerate(picked)]
    drawn = {one.steps: draw_outcomes(int(one.steps[1]) / 10, generator) for one in steps}
    return CaseDraws(made_up_case(), [[one] for one in steps], drawn)


def draw_solutions(num_prefixes: int, num_solutions: int, chance: float, seed: int = 0) -> CaseDraws:
    """Solutions whose first error is equally likely at each prefix or nowhere; no rollout is right from there on."""
    generator = np.random.default_rng(seed)
    solutions, drawn = [], {}
    for number in range(num_solutions):
        error = int(generator.integers(num_prefixes + 1))
        names = [str(number), *map(str, range(num_prefixes))]
        solutions.append([StepPrefix(tuple(names[: place + 2]), "correct") for place in range(num_prefixes)])
        for place, one in enumerate(solutions[-1]):
            drawn[one.steps] = draw_outcomes(chance if place < error else 0.0, generator)
    return CaseDraws(made_up_case(), solutions, drawn)


def draw_phantom(folder: Path, num_cases: int) -> list[CaseDraws]:
    """The first cases of the phantom, the built-in judge, the shipped base. The journal in `folder` keeps the draws."""
    settings = MonteCarloSettings(num_rollouts=NUM_PLANNED, rollouts_per_round=NUM_PLANNED, stopping="fixed")
    config = AnnotateConfig(output_dir=str(folder / "run"), max_cases=num_cases, num_threads=1, monte_carlo=settings)
    source = open_source(config)
    (folder / "run").mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    found = []
    with ExitStack() as opened:
        journal = opened.enter_context(Journal(folder / "run" / "journal.sqlite", is_paid=False))
        annotators = make_annotators(workshop_of(config, source, folder / "run", journal, opened), source)
        for item in read_cases(source.cases, require_steps=True)[:num_cases]:
            solutions = []
            for solution in item.solutions:
                verdicts = judge_solution(item, solution, annotators)
                texts = tuple(solution.step_texts)
                solutions.append(
                    [StepPrefix(texts[: place + 1], verdicts[place].verdict) for place in range(len(texts) - 1)]
                )
            prefixes = list(dict.fromkeys(one.steps for steps in solutions for one in steps))
            drawn = annotators.policy.draw(item.case, prefixes, NUM_PLANNED, 0)
            drawn_of = {one: in_order(texts, generator) for one, texts in zip(prefixes, drawn, strict=True)}
            found.append(CaseDraws(item.case, solutions, drawn_of))
    return found


def in_order(drawn: Sequence[Drawn], generator: np.random.Generator) -> list[Drawn]:
    """Draws one by one in random order: independent ones have none of their own."""
    singles = [one._replace(count=1) for one in drawn for _ in range(one.count)]
    return [singles[place] for place in generator.permutation(len(singles))]
