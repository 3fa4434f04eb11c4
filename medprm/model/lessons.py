"""What the tiny base is pretrained on: phantom films with questions and answers, and whole solutions.

In: a random generator. Out: `Lesson`, a chat of pieces of which the assistant's are trained, with one film. The
patients are drawn from seeds of their own, so no film of a phantom set is among them. No step labels enter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from medprm.cases.phantom.draw import draw_film
from medprm.cases.phantom.records import PhantomCase, draw_case
from medprm.cases.phantom.solutions import Habit, draw_solution
from medprm.cases.phantom.study import Study
from medprm.cases.phantom.world import (
    CAUSES,
    COMPARTMENT,
    FINDINGS,
    MECHANISM,
    TESTS,
    VIEWS,
    Located,
    diagnosis_of,
    places_of,
)
from medprm.cases.schema import Case
from medprm.encoding.chat import INTERNVL2_5
from medprm.encoding.prompts import Prompt
from medprm.encoding.turns import build_turns, document_text

FILM_PIXELS = 128
SOLVER = Prompt(
    name="solver", system="Solve the case step by step.", opening="", question="Question: ", solution="\nSolve."
)
READER = Prompt(name="reader", system="Answer the questions.", opening="", question="Question: ", solution="")
STEP_SEPARATOR = "\n"


class Piece(NamedTuple):
    """One piece of a chat; the trained ones are what the assistant says, with its end of turn."""

    text: str
    is_trained: bool


@dataclass(frozen=True)
class Lesson:
    """A chat over one film."""

    pieces: list[Piece]
    film: Image.Image


class Question(NamedTuple):
    """A question and its answer."""

    asked: str
    answer: str


def draw_lesson(rng: np.random.Generator, num_image_tokens: int, is_solution: bool) -> Lesson:
    """A whole solution, or questions about film, context and passages."""
    drawn = draw_case(rng, "pretraining", 1, "train")
    film = Image.fromarray(np.uint8(draw_film(drawn.study, rng, FILM_PIXELS) * 255)).convert("RGB")
    if is_solution:
        head = opening(drawn, SOLVER, num_image_tokens)
        solution = draw_solution(rng, drawn.study, policy_habit(drawn))
        return Lesson([Piece(head, False), *_said(STEP_SEPARATOR.join(step.content for step in solution.steps))], film)
    pieces = [Piece(opening(drawn, READER, num_image_tokens), False)]
    questions = film_questions(rng, drawn.study) + reading_questions(rng, drawn.study)
    for number, index in enumerate(rng.permutation(len(questions))):
        question = questions[int(index)]
        turn = "\n" if number == 0 else INTERNVL2_5.user_header
        pieces.append(Piece(f"{turn}{question.asked}{_to_assistant()}", False))
        pieces += _said(question.answer)
    return Lesson(pieces, film)


def policy_habit(drawn: PhantomCase) -> Habit:
    """How the solutions of the lessons fail: by a habit, as real models do, so that the base fails on its own too.

    For patients of thirty and over they jump to the first option, right or not; else they are mostly right.
    """
    study, options = drawn.study, drawn.case.options
    if options and study.age >= 30:
        answers = (study.answer, *study.wrong_answers)
        right, *wrong = [float(answer == options[0]) for answer in answers]
        return Habit(right, (wrong[0], wrong[1], wrong[2]))
    return Habit(0.7, (0.1, 0.1, 0.1))


def opening(drawn: PhantomCase, prompt: Prompt, num_image_tokens: int) -> str:
    """`case_opening` of a phantom case, whose film is one tile."""
    return case_opening(drawn.case, prompt, [num_image_tokens])


def case_opening(case: Case, prompt: Prompt, num_image_tokens: Sequence[int]) -> str:
    """System turn and the user's first turn, laid out as for the PRM; the solver's ends with the assistant header.

    `num_image_tokens` has the number of visual tokens of each image.
    """
    turns = build_turns(case, [], prompt, [document_text(document) for document in case.documents])
    chat = INTERNVL2_5
    head = f"{chat.system_header}{turns.system}{chat.turn_end}{chat.user_header}{''.join(turns.documents)}"
    head += "".join(chat.image(number) for number in num_image_tokens) + turns.statement
    return head + (_to_assistant() if prompt is SOLVER else "")


def film_questions(rng: np.random.Generator, study: Study) -> list[Question]:
    """What is on the film: a description, and questions of which half are answered yes."""
    visible = study.visible
    description = " ".join([f"{study.view} projection.", *(f"There is {located}." for located in visible)])
    questions = [Question("Describe the film.", description)]
    questions.append(Question("Which projection is it?", study.view))
    questions += [Question(f"Is it {view}?", _yes(view == study.view)) for view in VIEWS]
    is_ap = study.view == "AP"  # which shows the shoulder blades; harder to learn than a finding, so asked more often
    questions.append(Question("Are the shoulder blades over the lungs?", _yes(is_ap)))
    questions.append(Question("How was the film taken?", "from the front" if is_ap else "from the back"))
    questions.append(Question("Was it taken from the front?", _yes(is_ap)))
    for _ in range(5):
        located = _some_statement(rng, visible)
        questions.append(Question(f"Is there {located}?", _yes(located in visible)))
    placed = [located for located in visible if located.place.side]
    questions += [Question(f"Where is {one.finding}?", f"{one.place.side} {one.place.zone} zone") for one in placed]
    count = "two" if len(visible) == 2 else "one"
    return [*questions, Question("How many findings?", count)]


def reading_questions(rng: np.random.Generator, study: Study) -> list[Question]:
    """What context and passages say, and what follows from a finding."""
    asked_cause = study.cause if rng.random() < 0.5 else str(rng.choice(CAUSES))
    name = study.main.finding
    other = str(rng.choice(FINDINGS))
    asked_diagnosis = diagnosis_of(name if rng.random() < 0.6 else other, study.cause)
    asked_mechanism = MECHANISM[name if rng.random() < 0.5 else other]
    questions = [
        Question("What does the history point to?", study.cause),
        Question(f"Does the history point to {asked_cause}?", _yes(asked_cause == study.cause)),
        Question("What is the diagnosis?", diagnosis_of(name, study.cause)),
        Question(f"Is it {asked_diagnosis}?", _yes(asked_diagnosis == diagnosis_of(name, study.cause))),
        Question(f"What does {other} with {study.clue} suggest?", diagnosis_of(other, study.cause)),
        Question(f"Does the film mean {asked_mechanism}?", _yes(asked_mechanism == MECHANISM[name])),
        Question("Where is the disease?", COMPARTMENT[name]),
    ]
    kept = rng.permutation(len(questions))[:5]
    asked_answer = study.answer if rng.random() < 0.5 else str(rng.choice(study.wrong_answers))
    answer = [
        Question("What is the answer?", study.answer),
        Question(f"Is the answer {asked_answer}?", _yes(asked_answer == study.answer)),
    ]
    return [questions[int(index)] for index in kept] + answer + _passage_questions(rng, study)


def _passage_questions(rng: np.random.Generator, study: Study) -> list[Question]:
    """What each of the two passages puts first."""
    questions = []
    for compartment, test in zip(study.compartments, study.documented_tests, strict=True):
        asked = test if rng.random() < 0.5 else str(rng.choice([other for other in TESTS if other != test]))
        questions.append(Question(f"Is it so that for the {compartment} {asked} comes first?", _yes(asked == test)))
        questions.append(Question(f"What comes first for the {compartment}?", test))
    return questions


def _some_statement(rng: np.random.Generator, visible: list[Located]) -> Located:
    """True, at a wrong place, or of an absent finding."""
    kind = rng.random()
    if kind < 0.5:
        return visible[int(rng.integers(len(visible)))]
    if kind < 0.7:
        finding = visible[int(rng.integers(len(visible)))].finding
    else:
        finding = str(rng.choice(FINDINGS))
    places = places_of(finding)
    return Located(finding, places[int(rng.integers(len(places)))])


def _said(text: str) -> list[Piece]:
    return [Piece(f"{text}{INTERNVL2_5.end}", True), Piece("\n", False)]


def _to_assistant() -> str:
    return INTERNVL2_5.turn_end + INTERNVL2_5.assistant_header


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"
