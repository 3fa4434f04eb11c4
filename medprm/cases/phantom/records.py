"""Phantom studies and solutions as records: the case that everybody sees, the truth that few may open."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from medprm.cases.phantom.solutions import TrueSolution, draw_habit, draw_solution
from medprm.cases.phantom.study import Study, draw_study
from medprm.cases.phantom.world import CLUES, passage_text
from medprm.cases.schema import (
    Case,
    ClinicalContext,
    Document,
    GoldStandard,
    Image,
    Metadata,
    RuleVerdict,
    Solution,
    Sources,
    Step,
)

QUESTIONS = {False: "What is the most likely diagnosis?", True: "Which test does the guideline put first?"}
GENERATORS = ("policy_a", "policy_b", "policy_c")  # drawn at random: no policy is better than another


class PhantomCase(NamedTuple):
    """One case with its study, its solutions and their truth, in the same shuffled order."""

    study: Study
    case: Case
    solutions: list[Solution]
    truths: list[TrueSolution]


def draw_cases(rng: np.random.Generator, num_patients: int, num_candidates: int, split: str) -> Iterator[PhantomCase]:
    """One or two studies for each patient."""
    for _ in range(num_patients):
        patient_id = f"phantom-{rng.integers(16**10):010x}"
        for _ in range(2 if rng.random() < 0.1 else 1):
            yield draw_case(rng, patient_id, num_candidates, split)


def draw_case(rng: np.random.Generator, patient_id: str, num_candidates: int, split: str) -> PhantomCase:
    """A case of one patient with its candidates."""
    study = draw_study(rng)
    options = tuple(rng.permutation([study.answer, *study.wrong_answers]).tolist()) if study.has_options else ()
    case_id = f"case-{rng.integers(16**10):010x}"
    case = _as_case(rng, study, case_id, patient_id, options, split)
    habit = draw_habit(rng, study)
    truths = [draw_solution(rng, study, habit) for _ in range(num_candidates)]
    solutions = [
        Solution(
            solution_id=f"{case_id}-{rng.integers(16**8):08x}",
            generator=str(rng.choice(GENERATORS)),
            answer=truth.answer,
            is_correct=truth.is_correct,
            solution_steps=tuple(
                Step(step_id=i, category=step.category, content=step.content)  # type: ignore[arg-type]
                for i, step in enumerate(truth.steps)
            ),
        )
        for truth in truths
    ]
    return PhantomCase(study, case, solutions, truths)


def with_truth(solution: Solution, truth: TrueSolution) -> Solution:
    """The solution labelled by the truth, for validation and test."""
    steps = []
    for step, true in zip(solution.solution_steps, truth.steps, strict=True):
        verdict = "correct" if true.is_correct else "incorrect"
        sources = Sources(rule=(RuleVerdict(verdict=verdict, rule="phantom_truth"),))
        steps.append(
            step.model_copy(update={"label": verdict, "annotation_method": "phantom_truth", "sources": sources})
        )
    return solution.model_copy(update={"solution_steps": tuple(steps)})


def truth_row(case: Case, study: Study, solution: Solution, truth: TrueSolution) -> dict[str, Any]:
    """One line of the truth file."""
    return {
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "solution_id": solution.solution_id,
        "findings": [str(located) for located in study.visible],
        "labels": ["correct" if step.is_correct else "incorrect" for step in truth.steps],
        "errors": [step.error for step in truth.steps],
        "kinds": [step.kind for step in truth.steps],
        "depends": [step.depends for step in truth.steps],
    }


def _as_case(
    rng: np.random.Generator, study: Study, case_id: str, patient_id: str, options: tuple[str, ...], split: str
) -> Case:
    is_symptom = study.clue in CLUES["infection"] + ("leg swelling", "orthopnoea")
    symptoms = [*study.symptoms, *([study.clue] if is_symptom else [])]
    documents = tuple(
        Document(
            document_id=f"{study.guideline.lower()}-{compartment}",
            source=f"{study.guideline} guideline",
            text=passage_text(study.guideline, compartment),
        )
        for compartment in study.compartments
    )
    return Case(
        case_id=case_id,
        patient_id=patient_id,
        modality="chest_xray",
        metadata=Metadata(source="phantom", phi_removed=True, split=split),  # type: ignore[arg-type]
        clinical_context=ClinicalContext(
            age=study.age,
            sex=study.sex,
            symptoms=tuple(rng.permutation(symptoms).tolist()),
            history=() if is_symptom else (study.clue,),
        ),
        image=Image(path=f"images/{case_id}.dcm"),
        question=QUESTIONS[study.asks_for_test],
        options=options,
        documents=documents,
        gold_standard=GoldStandard(
            findings=tuple(str(located) for located in study.visible),
            diagnosis=study.answer if not study.asks_for_test else None,
            answer=study.answer,
        ),
    )
