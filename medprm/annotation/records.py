"""Verdicts to records: every source on every step, labels derived from them, and how they were made.

In: a case with a solution, the judge's verdicts, the rollouts' counts; later the experts' verdicts. Out: `Record`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medprm.annotation.consensus import label_steps
from medprm.annotation.expert_queue import StepKey
from medprm.annotation.settings import ConsensusSettings
from medprm.cases.answers import AnswerMatcher
from medprm.cases.overlay import solution_name
from medprm.cases.schema import (
    AnnotationMetadata,
    CaseSolutions,
    ExpertVerdict,
    JudgeVerdict,
    Label,
    MonteCarlo,
    Record,
    RuleVerdict,
    Solution,
    Sources,
    join,
)

CHANCE = "chance_correct"  # in the `extra` of a step whose label is fitted


class Making(NamedTuple):
    """How labels follow from sources, and what a record says of it; the date is the run's, not the clock's."""

    consensus: ConsensusSettings
    num_rollouts: int
    date: str | None


def with_outcome(item: CaseSolutions, number: int, answers: AnswerMatcher) -> Solution:
    """The solution with an id, its answer and whether that is right, where the record does not say so itself."""
    solution, is_correct = item.solutions[number], item.solutions[number].is_correct
    answer = solution.answer or answers.read(item.case, solution.solution_steps[-1].content)
    if is_correct is None:
        is_correct = answers.is_right(item.case, answer)
    given = {"solution_id": solution_name(item.case.case_id, solution, number), "answer": answer}
    return solution.model_copy(update=given | {"is_correct": is_correct})


def as_record(
    item: CaseSolutions,
    solution: Solution,
    verdicts: Sequence[JudgeVerdict],
    counts: Sequence[MonteCarlo | None],
    making: Making,
) -> Record:
    """All sources on every step. The last step has no rollouts: they would only repeat the outcome.

    `counts` of the other steps; None where a step was not measured.
    """
    is_right: dict[bool | None, Label] = {True: "correct", False: "incorrect", None: "unknown"}
    outcome = RuleVerdict(verdict=is_right[solution.is_correct], rule="answer")
    runs = [() if run is None else (run,) for run in counts]
    sources = [
        Sources(judge=(verdict,), monte_carlo=runs[place])
        if place < len(runs)
        else Sources(judge=(verdict,), outcome=(outcome,))
        for place, verdict in enumerate(verdicts)
    ]
    steps = label_steps(solution.solution_steps, sources, making.consensus)
    labelled = solution.model_copy(update={"solution_steps": tuple(steps)})
    return join(item.case, with_metadata(labelled, making))


def with_metadata(solution: Solution, making: Making) -> Solution:
    """What the record says of how its labels were made; the date is the run's, not the clock's."""
    steps = solution.solution_steps
    reviewed = tuple(one.step_id for one in steps if one.annotation_method == "expert_verified")
    models = [verdict.model for one in steps if one.sources for verdict in one.sources.judge]
    policies = [run.policy for one in steps if one.sources for run in one.sources.monte_carlo]
    num_unknown = sum(one.label == "unknown" for one in steps)
    described = AnnotationMetadata(
        annotation_date=making.date,
        rag_model=models[0] if models else None,
        mc_model=policies[0] if policies else None,
        mc_samples=making.num_rollouts,
        expert_verified_steps=reviewed,
        total_steps=len(steps),
        confident_steps=len(steps) - num_unknown,
        uncertain_steps=num_unknown,
    )
    return solution.model_copy(update={"annotation_metadata": described})


def with_experts(
    record: Record,
    experts: Mapping[StepKey, Sequence[ExpertVerdict]],
    making: Making,
    chances: Mapping[StepKey, float] | None = None,
) -> Record:
    """The record with the experts' verdicts among the sources, and its labels derived anew.

    `chances` are those of a rule fitted on the experts; each stands beside its step: no record can be fitted alone.
    """
    assert record.solution_id is not None
    keys = [StepKey(record.case_id, record.solution_id, step.step_id) for step in record.solution_steps]
    sources, steps = [], []
    for key, step in zip(keys, record.solution_steps, strict=True):
        said = tuple(experts.get(key, ()))
        given = step.sources or Sources()
        sources.append(given.model_copy(update={"expert": said}) if said else given)
        if chances is not None:
            step = step.model_copy(update={"extra": {**(step.extra or {}), CHANCE: round(chances[key], 6)}})
        steps.append(step)
    fitted = None if chances is None else [chances[key] for key in keys]
    labelled = label_steps(steps, sources, making.consensus, fitted)
    solution = record.solution().model_copy(update={"solution_steps": tuple(labelled)})
    return join(record.case(), with_metadata(solution, making))
