"""One phantom study: what is on the film, what the context says, what is asked, and the rival reading.

Every claim has a rival drawn from the same distribution, and a coin decides which of the two is true. So the text
alone (question, options, context, the wording of a step) cannot tell a right reading from a wrong one.
"""

from dataclasses import dataclass

import numpy as np

from medprm.cases.phantom.world import (
    CAUSES,
    CLUES,
    COMPARTMENT,
    COMPARTMENTS,
    FINDINGS,
    GUIDELINES,
    NOWHERE,
    TESTS,
    UNTELLING_SYMPTOMS,
    VIEWS,
    Located,
    diagnosis_of,
    guideline_tests,
    places_of,
)


@dataclass(frozen=True)
class Study:
    """Truth and rival of one study."""

    view: str
    main: Located
    rival: Located  # a finding that is not on the film
    second: Located | None  # a less urgent finding; the solutions dispute whether it is there
    second_is_present: bool
    cause: str
    clue: str
    rival_cause: str
    rival_clue: str
    age: int
    sex: str
    symptoms: tuple[str, ...]  # say nothing about the cause
    guideline: str
    compartments: tuple[str, str]  # of the two passages given, in the order given
    asks_for_test: bool  # else the question asks for the diagnosis
    has_options: bool
    undocumented_tests: tuple[str, str]

    @property
    def visible(self) -> list[Located]:
        return [self.main] + ([self.second] if self.second and self.second_is_present else [])

    def test_for(self, finding: str) -> str:
        return guideline_tests()[self.guideline][COMPARTMENT[finding]]

    @property
    def documented_tests(self) -> tuple[str, str]:
        """What the two passages put first, in the order given."""
        tests = guideline_tests()[self.guideline]
        return (tests[self.compartments[0]], tests[self.compartments[1]])

    @property
    def answer(self) -> str:
        return self.test_for(self.main.finding) if self.asks_for_test else diagnosis_of(self.main.finding, self.cause)

    @property
    def wrong_answers(self) -> tuple[str, str, str]:
        """By the rival finding, by the rival context or an undocumented test, by both or by another such test."""
        if self.asks_for_test:
            return (self.test_for(self.rival.finding), *self.undocumented_tests)
        return (
            diagnosis_of(self.rival.finding, self.cause),
            diagnosis_of(self.main.finding, self.rival_cause),
            diagnosis_of(self.rival.finding, self.rival_cause),
        )


def draw_study(rng: np.random.Generator) -> Study:
    """A random study."""
    asks_for_test = bool(rng.random() < 0.5)
    main, rival = _finding_pair(rng, must_differ_in_compartment=asks_for_test)
    second = _less_urgent(rng, main, rival)
    cause, rival_cause = rng.choice(CAUSES, size=2, replace=False).tolist()
    guideline = str(rng.choice(GUIDELINES))
    compartments = _passages(rng, main, rival)
    documented = {guideline_tests()[guideline][compartment] for compartment in compartments}
    others = [test for test in TESTS if test not in documented]
    return Study(
        view=str(rng.choice(VIEWS)),
        main=main,
        rival=rival,
        second=second,
        second_is_present=bool(second and rng.random() < 0.5),
        cause=cause,
        clue=str(rng.choice(CLUES[cause])),
        rival_cause=rival_cause,
        rival_clue=str(rng.choice(CLUES[rival_cause])),
        age=int(rng.integers(25, 90)),
        sex=str(rng.choice(["F", "M"])),
        symptoms=tuple(rng.choice(UNTELLING_SYMPTOMS, size=2, replace=False).tolist()),
        guideline=guideline,
        compartments=compartments,
        asks_for_test=asks_for_test,
        has_options=bool(rng.random() < 0.7),
        undocumented_tests=tuple(rng.choice(others, size=2, replace=False).tolist()),  # type: ignore[arg-type]
    )


def _finding_pair(rng: np.random.Generator, must_differ_in_compartment: bool) -> tuple[Located, Located]:
    """Two different findings in different cells of the chest; which of them is true is a coin's work."""
    while True:
        one, other = (_somewhere(rng, str(name)) for name in rng.choice(FINDINGS, size=2, replace=False))
        same_compartment = COMPARTMENT[one.finding] == COMPARTMENT[other.finding]
        if not (must_differ_in_compartment and same_compartment):
            return one, other


def _somewhere(rng: np.random.Generator, finding: str) -> Located:
    places = places_of(finding)
    return Located(finding, places[int(rng.integers(len(places)))])


def _less_urgent(rng: np.random.Generator, main: Located, rival: Located) -> Located | None:
    """A finding less urgent than both readings and in a cell of its own, if there is one."""
    names = FINDINGS[max(FINDINGS.index(main.finding), FINDINGS.index(rival.finding)) + 1 :]
    taken = {main.place, rival.place} - {NOWHERE}
    cells = [Located(name, place) for name in names for place in places_of(name) if place not in taken]
    return cells[int(rng.integers(len(cells)))] if cells else None


def _passages(rng: np.random.Generator, main: Located, rival: Located) -> tuple[str, str]:
    """Two compartments with a passage each: the main finding's and the rival's (or another), in random order."""
    mine, theirs = COMPARTMENT[main.finding], COMPARTMENT[rival.finding]
    if mine == theirs:
        theirs = str(rng.choice([name for name in COMPARTMENTS if name != mine]))
    return (mine, theirs) if rng.random() < 0.5 else (theirs, mine)
