"""The IRB and PHI checklist: what the records say themselves, and what people must answer before a release.

In: cases by split; a YAML file of answers. Out: findings and what is open; a page in Markdown.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from medprm.cases.schema import CaseSolutions
from medprm.errors import InputError

OLDEST_SHOWN_AGE = 89  # HIPAA's Safe Harbor, 45 CFR 164.514(b)(2)(i)(C)

QUESTIONS = {
    "irb_decision": "An IRB or ethics board has approved, or exempted in writing, the use of every set that needs it.",
    "data_use_agreements": "Every gated set's agreement allows a derived, shared benchmark, and says who may have it.",
    "licences": "Every licence allows redistribution in this form, with the notices that it asks for.",
    "headers": "DICOM headers were de-identified by the PS3.15 profile, and the report of that run was read.",
    "burned_in_text": "Text burned into pixels was looked for, and a person has looked at a drawn sample of images.",
    "free_text": "Questions, contexts and notes were searched for names, dates and numbers, and a sample was read.",
    "recognisable_people": "Photographs show no face, tattoo, jewellery or room by which a person could be known.",
    "small_groups": "No combination of age, sex, site and rare disease points to one person.",
    "specialists": "The specialists' qualification, training, pay and consent are on record.",
    "hidden_labels": "The hidden folder lies where only those who run the evaluation can read it.",
    "withdrawal": "There is an address for reports of identifiable content, and a way to withdraw a case.",
}


class Answer(BaseModel):
    """A person's answer. `not_applicable` needs a note that says why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    answer: Literal["yes", "no", "not_applicable"] | None = None
    by: str | None = None
    date: str | None = None
    note: str | None = None


class Finding(NamedTuple):
    """What the records say of one point."""

    point: str
    is_fine: bool
    detail: str


def check_records(splits: Mapping[str, Sequence[CaseSolutions]]) -> list[Finding]:
    """What can be read off the records: identifiers removed, approval, licences, ages, patients in one split."""
    cases = [item.case for members in splits.values() for item in members]
    not_removed = Counter(one.metadata.source for one in cases if one.metadata.phi_removed is not True)
    not_approved = Counter(one.metadata.source for one in cases if one.metadata.irb_approved is not True)
    no_licence = Counter(one.metadata.source for one in cases if not one.metadata.licence)
    old = Counter(one.metadata.source for one in cases if (one.clinical_context.age or 0) > OLDEST_SHOWN_AGE)
    seen: dict[str, set[str]] = defaultdict(set)
    for split, members in splits.items():
        for item in members:
            seen[item.case.group_id].add(split)
    num_twice = sum(len(one) > 1 for one in seen.values())
    no_patient = sum(one.patient_id is None for one in cases)
    return [
        Finding("identifiers removed (metadata.phi_removed)", not not_removed, _detail(not_removed, len(cases))),
        Finding("IRB approved (metadata.irb_approved)", not not_approved, _detail(not_approved, len(cases))),
        Finding("licence named (metadata.licence)", not no_licence, _detail(no_licence, len(cases))),
        Finding(f"no age above {OLDEST_SHOWN_AGE}", not old, _detail(old, len(cases))),
        Finding(
            "every patient in one split", num_twice == 0, f"{num_twice} in several; {no_patient} cases name no patient"
        ),
    ]


def write_template(path: Path) -> None:
    """A file to answer; one that is there stays as it is."""
    if path.exists():
        return
    lines = ["# answer: yes, no or not_applicable (then with a note); by: a name; date: YYYY-MM-DD."]
    for name, question in QUESTIONS.items():
        lines += ["", f"# {question}", f"{name}: {{answer: null, by: null, date: null, note: null}}"]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def read_answers(path: Path) -> dict[str, Answer]:
    """InputError for a question that is not asked, or an answer that is none."""
    if not path.is_file():
        raise InputError(f"{path}: no checklist; build writes one to answer")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        unknown = [name for name in given if name not in QUESTIONS]
        if unknown:
            raise InputError(f"{path}: {unknown[0]}: no such question; expected {', '.join(QUESTIONS)}")
        return {name: Answer.model_validate(_with_text_date(given.get(name) or {})) for name in QUESTIONS}
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{path}: {first['loc']}: {first['msg']}; given {first['input']!r}") from None


def still_open(findings: Sequence[Finding], answers: Mapping[str, Answer]) -> list[str]:
    """What stands in the way of a release, a line each."""
    found = [f"{one.point}: {one.detail}" for one in findings if not one.is_fine]
    for name, one in answers.items():
        if one.answer is None:
            found.append(f"{name}: not answered")
        elif one.answer == "no":
            found.append(f"{name}: answered no")
        elif not one.by or not one.date:
            found.append(f"{name}: answered without name and date")
        elif one.answer == "not_applicable" and not one.note:
            found.append(f"{name}: not applicable, without a note that says why")
    return found


def checklist_page(findings: Sequence[Finding], answers: Mapping[str, Answer], title: str) -> str:
    """CHECKLIST.md."""
    lines = [f"# IRB and PHI checklist of {title}", "", "| what the records say | | |", "|---|---|---|"]
    lines += [f"| {one.point} | {'fine' if one.is_fine else '**open**'} | {one.detail} |" for one in findings]
    lines += ["", "| what people answered | | by | date | note |", "|---|---|---|---|---|"]
    for name, question in QUESTIONS.items():
        one = answers[name]
        lines.append(
            f"| {question} | {one.answer or '**open**'} | {one.by or ''} | {one.date or ''} | {one.note or ''} |"
        )
    return "\n".join([*lines, ""])


def _with_text_date(value: Mapping[str, object]) -> dict[str, object]:
    """YAML reads an unquoted date as one."""
    date = value.get("date")
    return {**value, "date": None if date is None else str(date)}


def _detail(counts: Mapping[str | None, int], total: int) -> str:
    if not counts:
        return f"all {total} cases"
    return ", ".join(f"{num} cases of {source or '(no source)'}" for source, num in counts.items()) + " do not say so"
