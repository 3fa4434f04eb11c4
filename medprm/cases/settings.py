"""Settings of reading and comparing answers, and the names of the kinds of answers."""

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from medprm.errors import InputError, check_choice, check_least

Kind = Literal["choice", "yes_no", "number", "icd10", "diagnosis", "findings", "open"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ICD10_LEVELS = ("full", "category", "chapter")
MISSING_UNIT = ("accept", "wrong")
OPEN = ("text", "judge")
FINDINGS_METRICS = ("token_f1", "radgraph", "chexbert", "ratescore")
# Which kind reads a setting: with another one it would do nothing.
READ_BY = {
    "relative_tolerance": "number",
    "absolute_tolerance": "number",
    "missing_unit": "number",
    "icd10_level": "icd10",
    "synonyms": "diagnosis",
    "findings_metric": "findings",
    "findings_least": "findings",
    "findings_python": "findings",
    "findings_timeout_seconds": "findings",
    "open": "open",
}
# What only a metric in a process of its own reads.
OF_A_PROCESS = ("findings_python", "findings_timeout_seconds")


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
    # findings: how an answer is compared with the reference findings. token_f1: words in common; radgraph, chexbert,
    # ratescore: packages of their own, in a process of their own (docs/evaluation.md).
    findings_metric: str = "token_f1"
    # findings: right from this score of the metric on, in (0, 1].
    findings_least: float = 0.5
    # findings, but for token_f1: the python of an environment that has the metric's package; null: this one.
    findings_python: str | None = None
    # findings, but for token_f1: seconds until the metric has answered; its first answer waits for weights to download.
    findings_timeout_seconds: float = 900.0
    # open: text: equal after normalising; judge: the judge's server says whether another wording means the same.
    open: str = "text"

    def __post_init__(self) -> None:
        check_choice("answers.kind", self.kind, ("auto", *KINDS))
        check_choice("answers.missing_unit", self.missing_unit, MISSING_UNIT)
        check_choice("answers.icd10_level", self.icd10_level, ICD10_LEVELS)
        check_choice("answers.open", self.open, OPEN)
        check_choice("answers.findings_metric", self.findings_metric, FINDINGS_METRICS)
        if not 0 < self.findings_least <= 1:
            raise InputError(f"answers.findings_least is {self.findings_least}; expected a number above 0, up to 1")
        if not 0 < self.findings_timeout_seconds < inf:
            raise InputError(
                f"answers.findings_timeout_seconds is {self.findings_timeout_seconds}; expected seconds above 0"
            )
        for name in ("relative_tolerance", "absolute_tolerance"):
            check_least(f"answers.{name}", getattr(self, name), 0)
        for name, kind in self.given().items():
            if self.kind not in ("auto", kind):
                raise InputError(
                    f"answers.{name} is {getattr(self, name)!r} with answers.kind={self.kind}, which does not read it; "
                    f"leave it out, or choose answers.kind={kind} or auto"
                )
            if name in OF_A_PROCESS and self.findings_metric == "token_f1":
                raise InputError(
                    f"answers.{name} is {getattr(self, name)!r} with answers.findings_metric=token_f1, which needs no "
                    f"process of its own; leave it out, or choose one of {', '.join(FINDINGS_METRICS[1:])}"
                )

    def given(self) -> dict[str, str]:
        """The settings of one kind that are not as they come, and that kind."""
        return {name: kind for name, kind in READ_BY.items() if getattr(self, name) != getattr(type(self), name)}
