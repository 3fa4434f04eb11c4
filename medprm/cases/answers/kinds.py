"""Which kind of answer a case asks for, and its reference answer.

In: a case, settings. Out: one of `KINDS`. The kind is that of the settings, or follows from the case alone:
options: choice; reference yes, no or maybe: yes_no; an ICD-10 code: icd10; a number, alone or with a unit: number; the
diagnosis of the gold standard: diagnosis; anything else: open. Findings are compared where the settings say so.
"""

from typing import cast

from medprm.cases.answers.icd10 import is_plain_code
from medprm.cases.answers.number import is_plain_quantity
from medprm.cases.answers.wording import normalise
from medprm.cases.answers.yes_no import WORDS
from medprm.cases.schema import Case
from medprm.cases.settings import AnswerSettings, Kind


def reference_answer(case: Case, kind: Kind | None = None) -> str | None:
    """The reference answer; None where the case has none. A code or a diagnosis has a field of its own."""
    gold = case.gold_standard
    if gold is None:
        return None
    fields = [gold.answer, gold.diagnosis, gold.icd10]
    if kind == "icd10":
        fields = [gold.icd10, gold.answer]
    elif kind == "diagnosis":
        fields = [gold.diagnosis, gold.answer]
    elif kind == "findings":
        fields = [", ".join(gold.findings), gold.answer]
    return next((one for one in fields if one), None)


def kind_of(case: Case, settings: AnswerSettings) -> Kind:
    """The kind that the settings name, or that the case's options and reference answer show."""
    if settings.kind != "auto":
        return cast(Kind, settings.kind)
    if case.options:
        return "choice"
    gold, reference = case.gold_standard, reference_answer(case)
    if gold is None or reference is None:
        return "open"
    if normalise(reference) in WORDS:
        return "yes_no"
    if reference == gold.icd10 or is_plain_code(reference):
        return "icd10"
    if is_plain_quantity(reference):
        return "number"
    return "diagnosis" if reference == gold.diagnosis else "open"
