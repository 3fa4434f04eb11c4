"""Published step labels to ours: index bases are converted here and nowhere else.

Numbers in this room count from 0. A set that counts from 1 passes through `from_one_based` on the way in and
`to_one_based` on the way out. Steps after the first error of a first-error set are `unknown`, not wrong.
"""

from collections.abc import Sequence
from typing import Any

from medprm.cases.formats.reading import Unusable
from medprm.cases.schema import Label, RuleVerdict, Solution, Sources, Step

SIGNS: dict[str, Label] = {"+": "correct", "-": "incorrect"}
RATINGS: dict[int, Label] = {1: "correct", 0: "neutral", -1: "incorrect"}
SIGN_OF: dict[Label, str] = {label: sign for sign, label in SIGNS.items()}
RATING_OF: dict[Label, int] = {label: rating for rating, label in RATINGS.items()}


def from_one_based(number: int, num_steps: int) -> int:
    """The 0-based place of step `number`, which counts from 1; Unusable where there is no such step."""
    if not 1 <= number <= num_steps:
        raise Unusable("a step number that the solution does not have")
    return number - 1


def to_one_based(place: int) -> int:
    """The number that a set counting from 1 gives to the step at `place`."""
    return place + 1


def first_error_labels(num_steps: int, first_error: int | None) -> list[Label]:
    """(num_steps,): correct before the first error, incorrect there, unknown after it; None: all correct."""
    before: list[Label] = ["correct"] * (num_steps if first_error is None else first_error)
    if first_error is None:
        return before
    if not 0 <= first_error < num_steps:
        raise Unusable("a first error outside the steps")
    after: list[Label] = ["unknown"] * (num_steps - first_error - 1)
    return [*before, "incorrect", *after]


def first_error_of(solution: Solution) -> int | None:
    """The 0-based place of the first incorrect step, None where there is none."""
    return next((place for place, label in enumerate(solution.labels) if label == "incorrect"), None)


def ruled_steps(
    texts: Sequence[str], labels: Sequence[Label], rule: str, method: str, extras: Sequence[dict[str, Any]] = ()
) -> tuple[Step, ...]:
    """Steps whose one source is the set's own label, named `rule`; unknown ones have no verdict.

    `texts` and `labels` have one length. A blank text cannot be a step: Unusable.
    """
    if len(texts) != len(labels):
        raise Unusable("another number of labels than of steps")
    if not texts:
        raise Unusable("no steps")
    if not all(text.strip() for text in texts):
        raise Unusable("a blank step")
    steps = []
    for place, (text, label) in enumerate(zip(texts, labels, strict=True)):
        verdicts = () if label == "unknown" else (RuleVerdict(verdict=label, rule=rule),)
        extra: dict[str, Any] = {"extra": extras[place]} if extras else {}
        steps.append(
            Step(
                step_id=place,
                content=text.strip(),
                label=label,
                annotation_method=method,
                sources=Sources(rule=verdicts),
                **extra,
            )
        )
    return tuple(steps)
