"""Settings of reading and comparing answers, and the names of the kinds of answers."""

from dataclasses import dataclass
from typing import Literal, get_args

from medprm.errors import InputError, check_choice, check_least

Kind = Literal["choice", "yes_no", "number", "icd10", "diagnosis", "findings", "open"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ICD10_LEVELS = ("full", "category", "chapter")
MISSING_UNIT = ("accept", "wrong")
OPEN = ("text", "judge")
# Which kind reads a setting: with another one it would do nothing.
READ_BY = {
    "relative_tolerance": "number",
    "absolute_tolerance": "number",
    "missing_unit": "number",
    "icd10_level": "icd10",
    "synonyms": "diagnosis",
    "findings_least_f1": "findings",
    "open": "open",
}


@dataclass
class AnswerSettings:
    """How final answers are read and compared with the reference answer."""

    # choice, yes_no (or maybe), number, icd10, diagnosis, findings or open, for every case; auto: what each case's
    # options and reference answer show (docs/annotation.md).
    kind: str = "auto"
    # diagnosis: file of names that mean the same, a JSON list of them a line; null: the table that comes with the code.
    synonyms: str | None = None
    # number: how far two numbers may differ, as a share of the larger; 0: equal.
    relative_tolerance: float = 0.0
    # number: the same in the reference's unit; it is enough to be within one of the two.
    absolute_tolerance: float = 0.0
    # number: one of the two has a unit and the other has none. accept: the numbers are compared; wrong: no match.
    missing_unit: str = "accept"
    # icd10: full: the whole code; category: its first three characters; chapter: I to XXII.
    icd10_level: str = "full"
    # findings: right from this token F1 with the reference findings on, in (0, 1].
    findings_least_f1: float = 0.5
    # open: text: equal after normalising; judge: the judge's server says whether another wording means the same.
    open: str = "text"

    def __post_init__(self) -> None:
        check_choice("answers.kind", self.kind, ("auto", *KINDS))
        check_choice("answers.missing_unit", self.missing_unit, MISSING_UNIT)
        check_choice("answers.icd10_level", self.icd10_level, ICD10_LEVELS)
        check_choice("answers.open", self.open, OPEN)
        if not 0 < self.findings_least_f1 <= 1:
            raise InputError(
                f"answers.findings_least_f1 is {self.findings_least_f1}; expected a number above 0, up to 1"
            )
        for name in ("relative_tolerance", "absolute_tolerance"):
            check_least(f"answers.{name}", getattr(self, name), 0)
        for name, kind in self.given().items():
            if self.kind not in ("auto", kind):
                raise InputError(
                    f"answers.{name} is {getattr(self, name)!r} with answers.kind={self.kind}, which does not read it; "
                    f"leave it out, or choose answers.kind={kind} or auto"
                )

    def given(self) -> dict[str, str]:
        """The settings of one kind that are not as they come, and that kind."""
        return {name: kind for name, kind in READ_BY.items() if getattr(self, name) != getattr(type(self), name)}
