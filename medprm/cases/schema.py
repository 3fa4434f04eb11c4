"""The record: a case with one solution, one JSON object per line (CONTRIBUTING.md, "The record").

In: parsed JSON, already free of duplicate keys and NaN (see `jsonl`). Out: frozen objects that are valid by
construction. Unknown fields are refused at every level; each level has one free mapping, `extra`.
Fields that were absent stay absent when written, so that a file goes through unchanged.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# `other`: images of none of these kinds, as public sets have them (MRI, ultrasound, charts, drawings).
Modality = Literal["chest_xray", "ct_scan", "pathology", "clinical_photos", "text", "other"]
Category = Literal["observation", "analysis", "integration", "diagnosis"]
Label = Literal["correct", "incorrect", "neutral", "unknown"]
Verdict = Label
SplitName = Literal["train", "validation", "test"]
SourceName = Literal["judge", "monte_carlo", "expert", "rule", "outcome"]


def check_relative_path(path: str) -> str:
    """The path itself where it names a file below the data root by its form; ValueError otherwise.

    Data files come from others: none may make us open a file elsewhere on the machine, or an address.
    Links inside the data root are the owner's and are followed (the Hugging Face cache is made of them).
    """
    allowed = "expected a path relative to the data root, with forward slashes and without '..'"
    if "://" in path or "\\" in path or "\0" in path:
        raise ValueError(f"path {path!r}; {allowed}")
    parts = PurePosixPath(path)
    if parts.is_absolute() or PureWindowsPath(path).drive or ".." in parts.parts or not parts.parts:
        raise ValueError(f"path {path!r}; {allowed}")
    return path


Text = Annotated[str, Field(pattern=r"\S")]
RelativePath = Annotated[str, Field(pattern=r"\S"), AfterValidator(check_relative_path)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Scalar = str | int | float | bool | None


class _Frozen(BaseModel):
    # ser_json_inf_nan: NaN in a free mapping must reach the writer, which refuses it, and not turn into null.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, ser_json_inf_nan="constants"
    )


class Metadata(_Frozen):
    """Where the case came from and who may read it."""

    source: str | None = None
    difficulty: str | None = None
    specialty: str | None = None
    requires_specialist: bool | None = None
    irb_approved: bool | None = None
    phi_removed: bool | None = None
    licence: str | None = None
    split: SplitName | None = None
    extra: dict[str, Any] | None = None


class ClinicalContext(_Frozen):
    """What the referring clinician knows; every field here may enter the prompt."""

    age: int | None = None
    age_group: str | None = None
    sex: str | None = None
    symptoms: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    vitals: dict[str, Scalar] | None = None
    laboratory: dict[str, Scalar] | None = None
    note: str | None = None
    extra: dict[str, Any] | None = None


class Image(_Frozen):
    """One image file, relative to the data root. `frame` counts from 0."""

    path: RelativePath
    view: str | None = None
    quality: str | None = None
    frame: Count | None = None
    extra: dict[str, Any] | None = None


class GoldStandard(_Frozen):
    """The reference reading. Never enters a prompt."""

    findings: tuple[str, ...] = ()
    diagnosis: str | None = None
    icd10: str | None = None
    confidence: str | None = None
    answer: str | None = None
    extra: dict[str, Any] | None = None


class Document(_Frozen):
    """One retrieved passage. It may enter the prompt."""

    document_id: Text
    source: str | None = None
    title: str | None = None
    text: Text
    relevance: Share | None = None
    extra: dict[str, Any] | None = None


class Evidence(_Frozen):
    """A passage that supports a label, as the annotators quoted it."""

    source: Text
    quote: str
    relevance: Share | None = None
    document_id: str | None = None
    extra: dict[str, Any] | None = None


class JudgeVerdict(_Frozen):
    """What one judge said of one step."""

    verdict: Verdict
    model: str | None = None
    prompt_hash: str | None = None
    reason: str | None = None
    citations: tuple[Evidence, ...] = ()
    extra: dict[str, Any] | None = None


class MonteCarlo(_Frozen):
    """Counts of rollouts from one step prefix. `num_total` is what was run: correct + wrong + unparsed + truncated."""

    num_correct: Count
    num_wrong: Count
    num_unparsed: Count = 0
    num_truncated: Count = 0
    num_planned: Count | None = None
    stopping: str | None = None
    policy: str | None = None
    extra: dict[str, Any] | None = None

    @property
    def num_total(self) -> int:
        return self.num_correct + self.num_wrong + self.num_unparsed + self.num_truncated


class ExpertVerdict(_Frozen):
    """What one expert said of one step."""

    verdict: Verdict
    expert_id: Text
    note: str | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    date: str | None = None
    extra: dict[str, Any] | None = None


class RuleVerdict(_Frozen):
    """What a rule, a reference label or the final outcome says of one step."""

    verdict: Verdict
    rule: str | None = None
    extra: dict[str, Any] | None = None


class Sources(_Frozen):
    """Every source's raw verdicts; the fused label is derived from these."""

    judge: tuple[JudgeVerdict, ...] = ()
    monte_carlo: tuple[MonteCarlo, ...] = ()
    expert: tuple[ExpertVerdict, ...] = ()
    rule: tuple[RuleVerdict, ...] = ()
    outcome: tuple[RuleVerdict, ...] = ()


class Step(_Frozen):
    """One piece of a solution. `label` None means that nobody has judged the step: it counts as unknown."""

    step_id: Count
    category: Category | None = None
    content: Text
    label: Label | None = None
    confidence: Share | None = None
    annotation_method: str | None = None
    rag_label: Literal["+", "-", "="] | None = None
    mc_score: Share | None = None
    medical_evidence: tuple[Evidence, ...] = ()
    differential: tuple[str, ...] = ()
    supporting_guidelines: tuple[str, ...] = ()
    icd10: str | None = None
    expert_id: str | None = None
    expert_note: str | None = None
    sources: Sources | None = None
    extra: dict[str, Any] | None = None


class AnnotationMetadata(_Frozen):
    """How the labels of one solution were made."""

    annotation_date: str | None = None
    rag_model: str | None = None
    mc_model: str | None = None
    mc_samples: Count | None = None
    expert_verified_steps: tuple[int, ...] = ()
    primary_annotator: str | None = None
    expert_reviewer: str | None = None
    total_steps: Count | None = None
    confident_steps: Count | None = None
    uncertain_steps: Count | None = None
    extra: dict[str, Any] | None = None


class Case(_Frozen):
    """One patient situation. `patient_id` groups splits; without it, `case_id` does."""

    case_id: Text
    patient_id: Text | None = None
    modality: Modality
    metadata: Metadata = Metadata()
    clinical_context: ClinicalContext = ClinicalContext()
    image: Image | None = None
    images: tuple[Image, ...] = ()
    question: Text
    options: tuple[Text, ...] = ()
    documents: tuple[Document, ...] = ()
    gold_standard: GoldStandard | None = None
    extra: dict[str, Any] | None = None

    @property
    def all_images(self) -> tuple[Image, ...]:
        return ((self.image,) if self.image else ()) + self.images

    @property
    def group_id(self) -> str:
        """What splits and resampling go by: the patient, or the case where no patient is known."""
        return self.patient_id or self.case_id


class Solution(_Frozen):
    """One candidate reasoning for a case, by one generator."""

    solution_id: Text | None = None
    generator: str | None = None
    answer: str | None = None
    is_correct: bool | None = None
    solution_steps: tuple[Step, ...] = ()
    annotation_metadata: AnnotationMetadata | None = None

    @model_validator(mode="after")
    def _steps_are_in_order(self) -> "Solution":
        for place, step in enumerate(self.solution_steps):
            if step.step_id != place:
                raise ValueError(f"step {place}: step_id {step.step_id}; expected {place} (0, 1, 2, ... in order)")
        if "solution_steps" in self.model_fields_set and not self.solution_steps:
            raise ValueError("solution_steps is empty; give at least one step, or leave the field out")
        return self

    @property
    def step_texts(self) -> list[str]:
        return [step.content for step in self.solution_steps]

    @property
    def labels(self) -> list[Label]:
        return [step.label or "unknown" for step in self.solution_steps]


class Record(Solution, Case):
    """One line of a file: a case with one solution, or a case alone (no solution field given)."""

    def case(self) -> Case:
        given = self.model_fields_set & CASE_FIELDS
        return Case.model_construct(_fields_set=given, **self._pick(CASE_FIELDS))

    def solution(self) -> Solution:
        return Solution.model_construct(
            _fields_set=self.model_fields_set & SOLUTION_FIELDS, **self._pick(SOLUTION_FIELDS)
        )

    def _pick(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}


CASE_FIELDS = frozenset(Case.model_fields)
SOLUTION_FIELDS = frozenset(Solution.model_fields)


def join(case: Case, solution: Solution) -> Record:
    """The record of one case and one of its solutions."""
    fields = {name: getattr(case, name) for name in case.model_fields_set}
    fields |= {name: getattr(solution, name) for name in solution.model_fields_set}
    return Record.model_construct(_fields_set=set(fields), **fields)


class CaseSolutions(NamedTuple):
    """A case with all its candidate solutions, in file order."""

    case: Case
    solutions: list[Solution]


def to_json(record: BaseModel) -> dict[str, Any]:
    """The JSON object of a record: exactly the fields that were given."""
    return record.model_dump(mode="json", exclude_unset=True)


def from_json(value: Mapping[str, Any]) -> Record:
    """A record from a plain mapping (lists allowed where the type holds tuples). Raises pydantic.ValidationError."""
    return Record.model_validate_json(json.dumps(value, allow_nan=False))
