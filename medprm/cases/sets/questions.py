"""A question with its answer as a case: what all sets of questions share."""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from medprm.cases.rows import Row
from medprm.cases.schema import Case, ClinicalContext, GoldStandard, Image, Metadata, Modality, SplitName

YES_NO = ("yes", "no")
CONTEXT = ClinicalContext()


def question_case(
    source: str,
    licence: str,
    case_id: str,
    question: str,
    *,
    answer: str | None,
    options: Sequence[str] = (),
    modality: Modality = "text",
    images: Sequence[Image] = (),
    patient_id: str | None = None,
    split: SplitName | None = None,
    context: ClinicalContext = CONTEXT,
    findings: Sequence[str] = (),
    gold_extra: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
    data_source: str | None = None,
    variant_of: str | None = None,
) -> Case:
    """The case; `answer` is the text of an option where there are options, None where the set hides it.

    `data_source`: the name by which published protocols know the set, where it is not `source`. `variant_of`: the
    question that this one varies.
    """
    fields: dict[str, Any] = {}
    if images:
        fields = {"image": images[0]} if len(images) == 1 else {"images": tuple(images)}
    if answer is not None or findings:
        gold: dict[str, Any] = {"findings": tuple(findings)} if findings else {}
        gold |= {"answer": answer} if answer is not None else {}
        gold |= {"extra": gold_extra} if gold_extra else {}
        fields["gold_standard"] = GoldStandard(**gold)
    if patient_id is not None:
        fields["patient_id"] = patient_id
    if context.model_fields_set:
        fields["clinical_context"] = context
    metadata: dict[str, Any] = {"source": source, "licence": licence}
    metadata |= {"split": split} if split else {}
    extra = (extra or {}) | ({"data_source": data_source} if data_source else {})
    metadata |= {"extra": extra} if extra else {}
    fields |= {"extra": {"variant_of": variant_of}} if variant_of else {}
    return Case(
        case_id=case_id,
        modality=modality,
        metadata=Metadata(**metadata),
        question=question.strip(),
        options=tuple(option.strip() for option in options),
        **fields,
    )


def option_at(options: Sequence[str], letter: str, row: Row, name: str) -> str:
    """The option that a letter names; RecordError where there is none."""
    place = ascii_uppercase.find(letter.strip().upper()) if len(letter.strip()) == 1 else -1
    if not 0 <= place < len(options):
        raise row.error(name, f"a letter from A to {ascii_uppercase[len(options) - 1]}")
    return options[place].strip()


def closed_options(answer: str) -> tuple[str, ...]:
    """yes and no where the answer is one of them."""
    return YES_NO if answer.strip().casefold() in YES_NO else ()
