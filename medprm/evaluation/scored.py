"""`ScoredSolution`: one candidate with its step scores and the truth beside them; scored.jsonl holds one per line.

In: cases with solutions and the scorer's step scores. Out: what every metric, plot and the report read.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path

from medprm.cases.answers.kinds import reference_answer
from medprm.cases.atomic import replaced_file
from medprm.cases.parsing import parse_json
from medprm.cases.schema import Case, CaseSolutions, Step
from medprm.errors import InputError
from medprm.scoring.aggregate import AGGREGATORS, aggregate_all

LABELS = ("correct", "incorrect", "neutral", "unknown")
SPLITS = ("validation", "test")


class ScoredError(InputError):
    """A scored solution does not hold together, or a file of them cannot be read."""


@dataclass(frozen=True)
class ScoredSolution:
    """One solution of a case; the lists have one entry per step. Scores are P(+), in [0, 1].

    `is_correct` says whether the final answer is right (None: nobody knows); `answer` None means unparsed. What breaks
    numbers down may be absent: `source` is the set that the case is from, `variant_of` the question that it varies
    (DynaMath), `error_kinds` what is wrong with each step, `experts` the verdict of each expert on each step,
    `has_reference` whether an answer of the case could be compared with anything.
    """

    case_id: str
    patient_id: str | None
    group_id: str
    split: str
    solution_id: str
    generator: str | None
    answer: str | None
    is_correct: bool | None
    step_scores: list[float]
    labels: list[str]
    categories: list[str | None]
    step_texts: list[str]
    modality: str | None = None
    source: str | None = None
    variant_of: str | None = None
    error_kinds: list[str | None] = field(default_factory=list)
    experts: list[dict[str, str]] = field(default_factory=list)
    has_reference: bool = False

    def __post_init__(self) -> None:
        where = f"case {self.case_id} solution {self.solution_id}"
        num_steps = len(self.step_scores)
        if num_steps == 0:
            raise ScoredError(f"{where}: no steps; a solution needs at least one to be scored")
        for name in ("labels", "categories", "step_texts"):
            if len(getattr(self, name)) != num_steps:
                raise ScoredError(f"{where}: {len(getattr(self, name))} {name} for {num_steps} step_scores")
        for name in ("error_kinds", "experts"):
            if len(getattr(self, name)) not in (0, num_steps):
                raise ScoredError(
                    f"{where}: {len(getattr(self, name))} {name} for {num_steps} steps; expected all or none"
                )
        for step, score in enumerate(self.step_scores):
            is_number = isinstance(score, int | float) and not isinstance(score, bool)
            if not is_number or not math.isfinite(score) or not 0 <= score <= 1:
                raise ScoredError(f"{where} step {step}: score {score!r}; expected a number from 0 to 1")
        for step, label in enumerate(self.labels):
            if label not in LABELS:
                raise ScoredError(f"{where} step {step}: label {label!r}; expected one of {', '.join(LABELS)}")
        if self.split not in SPLITS:
            raise ScoredError(f"{where}: split {self.split!r}; expected validation or test")

    def score(self, aggregation: str) -> float:
        """The solution score by one of the aggregators."""
        return float(AGGREGATORS[aggregation](self.step_scores))


def scored_solutions(case: CaseSolutions, scores: Sequence[Sequence[float]], split: str) -> list[ScoredSolution]:
    """The solutions of a case with their step scores, in file order."""
    num_solutions = len(case.solutions)
    if len(scores) != num_solutions:
        raise ScoredError(f"case {case.case.case_id}: {len(scores)} lists of scores for {num_solutions} solutions")
    return [
        ScoredSolution(
            case_id=case.case.case_id,
            patient_id=case.case.patient_id,
            group_id=case.case.group_id,
            split=split,
            solution_id=solution.solution_id or f"{case.case.case_id}#{number}",
            generator=solution.generator,
            answer=solution.answer,
            is_correct=solution.is_correct,
            step_scores=[float(score) for score in step_scores],
            labels=list(solution.labels),
            categories=[step.category for step in solution.solution_steps],
            step_texts=list(solution.step_texts),
            modality=case.case.modality,
            source=(case.case.metadata.extra or {}).get("data_source") or case.case.metadata.source,
            variant_of=(case.case.extra or {}).get("variant_of"),
            has_reference=reference_answer(case.case) is not None,
            **_by_step(case.case, solution.solution_steps),
        )
        for number, (solution, step_scores) in enumerate(zip(case.solutions, scores, strict=True))
    ]


def _by_step(case: Case, steps: Sequence[Step]) -> dict[str, list]:
    """Kinds of error of the incorrect steps and experts' verdicts, each left empty where no step has any.

    The kind is the step's `error_kind`, PRMBench's `classification`, or the `error_type` of the whole case (MEDEC).
    """
    of_case = ((case.gold_standard.extra if case.gold_standard else None) or {}).get("error_type")

    def kind(step: Step) -> str | None:
        extra = step.extra or {}
        found = extra.get("error_kind") or extra.get("classification") or of_case
        return str(found) if found is not None and step.label == "incorrect" else None

    kinds = [kind(step) for step in steps]
    experts = [{one.expert_id: one.verdict for one in step.sources.expert} if step.sources else {} for step in steps]
    return {"error_kinds": kinds if any(kinds) else [], "experts": experts if any(experts) else []}


def group_by_case(solutions: Iterable[ScoredSolution]) -> dict[str, list[ScoredSolution]]:
    """Candidates of each case, in the order given; a case that belongs to two patients is an error."""
    cases: dict[str, list[ScoredSolution]] = {}
    for solution in solutions:
        candidates = cases.setdefault(solution.case_id, [])
        if candidates and candidates[0].group_id != solution.group_id:
            raise ScoredError(
                f"case {solution.case_id}: its solutions name two patients, "
                f"{candidates[0].group_id!r} and {solution.group_id!r}; expected one"
            )
        candidates.append(solution)
    return cases


def write_scored(path: Path, solutions: Iterable[ScoredSolution]) -> None:
    """scored.jsonl: every field, and for the reader the solution score by each aggregation."""
    with replaced_file(path) as draft, draft.open("w", encoding="utf-8") as file:
        for solution in solutions:
            row = asdict(solution) | {"solution_scores": aggregate_all(solution.step_scores)}
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def read_scored(path: Path) -> list[ScoredSolution]:
    """Solutions of a scored.jsonl. `solution_scores` is not read back: it follows from the step scores."""
    try:
        # Not splitlines: it also breaks at U+2028 and the like, which JSON allows inside a string.
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise ScoredError(f"{path}: no such file; expected scored solutions, one JSON object per line") from None
    return [_read_line(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]


def _read_line(line: str, where: str) -> ScoredSolution:
    row = parse_json(line, where)
    if not isinstance(row, dict):
        raise ScoredError(f"{where}: expected a JSON object, found {type(row).__name__}")
    row.pop("solution_scores", None)
    expected = {one.name for one in fields(ScoredSolution)}
    needed = {one.name for one in fields(ScoredSolution) if one.default is MISSING and one.default_factory is MISSING}
    if not needed <= set(row) <= expected:
        missing, extra = sorted(needed - set(row)), sorted(set(row) - expected)
        raise ScoredError(f"{where}: missing fields {missing}, unknown fields {extra}; expected {sorted(expected)}")
    try:
        return ScoredSolution(**row)
    except ScoredError as error:
        raise ScoredError(f"{where}: {error}") from None
