"""Candidate solutions of a study: 3 to 9 steps, each right or wrong by construction.

Right and wrong steps come from the same sentences. Which steps a solution has is drawn before its errors, so the
number and kind of steps tells nothing. A step is correct if what it claims is true of this study.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from medprm.cases.phantom.study import Study
from medprm.cases.phantom.world import COMPARTMENT, FINDINGS, MECHANISM, Located, diagnosis_of, opposite

Depends = Literal["image", "context", "documents", "reasoning"]

SENTENCES = {
    "view": ("The film is {claim} projection.", "This is {claim} view."),
    "finding": ("There is {claim}.", "The film shows {claim}."),
    "second": ("There is also {claim}.", "A second finding is {claim}."),
    "no_second": ("No other finding is seen.", "There is nothing else on the film."),
    "mechanism": ("Here this means {claim}.", "The sign stands for {claim}."),
    "context": ("The history of {clue} points to {claim}.", "With {clue}, {claim} is likely."),
    "diagnosis": ("The most likely diagnosis is {claim}.", "Together this suggests {claim}."),
    "guideline": ("The disease is of the {compartment}, and for the {compartment} {claim} comes first.",),
    "answer": ("The answer is {claim}.",),
}
CATEGORY = {
    "view": "observation",
    "finding": "observation",
    "second": "observation",
    "mechanism": "analysis",
    "context": "integration",
    "diagnosis": "diagnosis",
    "guideline": "integration",
    "answer": "diagnosis",
}
DEPENDS: dict[str, Depends] = {
    "view": "image",
    "finding": "image",
    "second": "image",
    "mechanism": "reasoning",
    "context": "context",
    "diagnosis": "reasoning",
    "guideline": "documents",
    "answer": "reasoning",
}


@dataclass(frozen=True)
class TrueStep:
    """A step with its truth."""

    kind: str
    content: str
    is_correct: bool
    error: str | None  # the kind of error, None for a correct step

    @property
    def category(self) -> str:
        return CATEGORY[self.kind]

    @property
    def depends(self) -> Depends:
        return DEPENDS[self.kind]


@dataclass(frozen=True)
class TrueSolution:
    """A solution with its truth."""

    steps: list[TrueStep]
    answer: str
    is_correct: bool


@dataclass
class _Claims:
    """What a solution believes; the truth where nothing is set wrong. `wrong` names the error by kind of step."""

    view: str
    finding: Located
    place: Located
    second_is_present: bool
    mechanism: str
    cause: str
    clue: str
    diagnosis: str
    compartment: str
    test: str
    answer: str
    wrong: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Habit:
    """How the policy fails on one case: the chance of a right answer and of each wrong one (they sum to 1)."""

    right: float
    wrong: tuple[float, float, float]


def draw_habit(rng: np.random.Generator, study: Study) -> Habit:
    """Systematic errors: one wrong answer takes three quarters of the failures of a case."""
    right = float(rng.uniform(0.25, 0.65))
    # Misreadings of the main finding are to be as frequent in either kind of question: only the first wrong answer
    # of a question for a test comes of one.
    favourite = int(rng.choice(3, p=[0.64, 0.18, 0.18] if study.asks_for_test else [0.45, 0.45, 0.10]))
    shares = [0.75 if i == favourite else 0.125 for i in range(3)]
    return Habit(right, tuple((1 - right) * share for share in shares))  # type: ignore[arg-type]


def draw_solution(rng: np.random.Generator, study: Study, habit: Habit) -> TrueSolution:
    """One candidate."""
    kinds = _draw_kinds(rng, study)
    answers = (study.answer, *study.wrong_answers)
    which = int(rng.choice(4, p=[habit.right, *habit.wrong]))
    claims = _true_claims(study)
    if which:
        _go_wrong(rng, study, claims, which)
    _misread_aside(rng, study, claims, chance=0.22 if which == 0 else 0.36)
    if rng.random() < (0.22 if which == 0 else 0.12):
        _add_slip(rng, study, claims, kinds)
    assert claims.answer == answers[which], f"the claims lead to {claims.answer}, not to {answers[which]}"
    steps = [_write(rng, study, claims, kind) for kind in kinds]
    return TrueSolution(steps, answers[which], which == 0)


def _draw_kinds(rng: np.random.Generator, study: Study) -> list[str]:
    chances = {
        "view": 0.5,
        "finding": 1.0,
        "second": 0.7 if study.second else 0.0,
        "mechanism": 0.5,
        "context": 0.8,
        "diagnosis": 0.3 if study.asks_for_test else 1.0,
        "guideline": 1.0 if study.asks_for_test else 0.4,
        "answer": 1.0,
    }
    return [kind for kind, chance in chances.items() if rng.random() < chance]


def _true_claims(study: Study) -> _Claims:
    return _Claims(
        view=study.view,
        finding=study.main,
        place=study.main,
        second_is_present=study.second_is_present,
        mechanism=MECHANISM[study.main.finding],
        cause=study.cause,
        clue=study.clue,
        diagnosis=diagnosis_of(study.main.finding, study.cause),
        compartment=COMPARTMENT[study.main.finding],
        test=study.test_for(study.main.finding),
        answer=study.answer,
    )


def _go_wrong(rng: np.random.Generator, study: Study, claims: _Claims, which: int) -> None:
    """Set the claims that lead to wrong answer number `which`; later claims follow from the wrong one."""
    by_inference = rng.random() < (0.15 if study.asks_for_test else 0.25)  # right findings, a wrong conclusion
    if which == 3 and not study.asks_for_test:
        _misread(study, claims)
        _contradict_context(study, claims)
        _conclude(study, claims)
    elif which == 1 and not by_inference:
        _misread(study, claims)
        _conclude(study, claims)
    elif study.asks_for_test and which > 1:
        claims.test = study.undocumented_tests[which - 2]
        claims.wrong["guideline"] = "guideline_misquoted"
    elif which == 2 and not by_inference:
        _contradict_context(study, claims)
        _conclude(study, claims)
    elif study.asks_for_test:
        claims.test = study.test_for(study.rival.finding)  # the passage on another compartment
        claims.wrong["guideline"] = "guideline_misquoted"
    else:
        claims.diagnosis = study.wrong_answers[which - 1]
        claims.wrong["diagnosis"] = "wrong_inference"
    claims.answer = study.wrong_answers[which - 1]
    claims.wrong["answer"] = "follows_an_error"


def _misread(study: Study, claims: _Claims) -> None:
    claims.finding = claims.place = study.rival
    claims.mechanism = MECHANISM[study.rival.finding]
    claims.wrong |= {"finding": "wrong_finding", "mechanism": "follows_an_error"}


def _contradict_context(study: Study, claims: _Claims) -> None:
    claims.cause, claims.clue = study.rival_cause, study.rival_clue
    claims.wrong["context"] = "context_contradicted"


def _conclude(study: Study, claims: _Claims) -> None:
    """Diagnosis and test as they follow from the claimed finding and cause."""
    claims.diagnosis = diagnosis_of(claims.finding.finding, claims.cause)
    if claims.diagnosis != diagnosis_of(study.main.finding, study.cause):
        claims.wrong["diagnosis"] = "follows_an_error"
    if COMPARTMENT[claims.finding.finding] in study.compartments:
        claims.compartment, claims.test = COMPARTMENT[claims.finding.finding], study.test_for(claims.finding.finding)
        if claims.compartment != COMPARTMENT[study.main.finding]:
            claims.wrong["guideline"] = "follows_an_error"


def _misread_aside(rng: np.random.Generator, study: Study, claims: _Claims, chance: float) -> None:
    """Wrong readings that do not touch the answer, as frequent as those of the main finding."""
    if rng.random() < chance:
        claims.view = "AP" if study.view == "PA" else "PA"
        claims.wrong["view"] = "wrong_view"
    if study.second and rng.random() < chance:
        claims.second_is_present = not study.second_is_present
        claims.wrong["second"] = "wrong_second"


def _add_slip(rng: np.random.Generator, study: Study, claims: _Claims, kinds: list[str]) -> None:
    """One more wrong step that does not touch the answer: with the misreadings, a right answer by a wrong path."""
    possible = [kind for kind in kinds if kind not in claims.wrong and kind not in ("view", "second", "answer")]
    if not claims.finding.place.side:
        possible = [kind for kind in possible if kind != "finding"]
    possible = [kind for kind in possible if kind != ("guideline" if study.asks_for_test else "diagnosis")]
    if study.asks_for_test is False:
        possible = [kind for kind in possible if kind != "context"]
    if not possible:
        return
    kind = str(rng.choice(possible))
    claims.wrong[kind] = "wrong_side" if kind == "finding" else "slip"
    if kind == "finding":
        claims.place = Located(claims.finding.finding, opposite(claims.finding.place))
    elif kind == "mechanism":
        claims.mechanism = MECHANISM[str(rng.choice([f for f in FINDINGS if MECHANISM[f] != claims.mechanism]))]
    elif kind == "context":
        claims.cause, claims.clue = study.rival_cause, study.rival_clue
    elif kind == "diagnosis":
        claims.diagnosis = diagnosis_of(study.rival.finding, study.cause)
    else:
        other_passage = [test for test in study.documented_tests if test != study.test_for(study.main.finding)]
        claims.test = str(rng.choice([*other_passage, study.undocumented_tests[0]]))


def _write(rng: np.random.Generator, study: Study, claims: _Claims, kind: str) -> TrueStep:
    key, values = kind, {"claim": ""}
    if kind == "view":
        values["claim"] = ("an " if claims.view == "AP" else "a ") + claims.view
    elif kind == "finding":
        values["claim"] = str(claims.place)
    elif kind == "second":
        key = "second" if claims.second_is_present else "no_second"
        values["claim"] = str(study.second)
    elif kind == "mechanism":
        values["claim"] = claims.mechanism
    elif kind == "context":
        values |= {"claim": claims.cause, "clue": claims.clue}
    elif kind == "diagnosis":
        values["claim"] = claims.diagnosis
    elif kind == "guideline":
        values |= {"claim": claims.test, "compartment": claims.compartment}
    else:
        values["claim"] = claims.answer
    error = claims.wrong.get(kind)
    content = str(rng.choice(SENTENCES[key])).format(**values)
    return TrueStep(kind, content, error is None, error)
