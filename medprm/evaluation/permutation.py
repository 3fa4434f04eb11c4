"""Does the model look and read? AUROC with an input intact, permuted between patients, and blanked in training.

In: the same test solutions scored several times, and which of their steps depend on the input in question.
Out: AUROC of each with intervals by patient, and the paired differences on the same resamples.
A model that uses an input loses when it is permuted, down to a control that was trained without it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from medprm.evaluation.scored import ScoredError, ScoredSolution
from medprm.evaluation.steps import JudgedSteps, draw_resampling, estimate_auroc, judged_steps, resampled_auroc
from medprm.statistics.bootstrap import Estimate, interval

StepFilter = Callable[[ScoredSolution, int], bool]
"""Whether a step of a solution depends on the input in question."""


def every_step(solution: ScoredSolution, step: int) -> bool:
    """Keeps all steps."""
    return True


class LookingCheck(NamedTuple):
    """AUROC by variant, and paired differences; `blank` is absent where no control was scored."""

    auroc: dict[str, Estimate]
    differences: dict[str, Estimate]
    num_steps: int

    def as_json(self) -> dict[str, Any]:
        parts = {"auroc": self.auroc, "differences": self.differences}
        return {
            name: {key: one.as_json() for key, one in part.items() if one.is_defined} for name, part in parts.items()
        } | {"num_steps": self.num_steps}


def check_looking(
    intact: Sequence[ScoredSolution],
    permuted: Sequence[ScoredSolution],
    blank: Sequence[ScoredSolution] | None = None,
    keep: StepFilter = every_step,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> LookingCheck:
    """AUROC on the judged steps that `keep` keeps: intact, permuted, blank; intact - permuted, permuted - blank.

    All sets hold the same solutions with the same labels, in any order; ScoredError where they do not.
    """
    sets = {"intact": intact, "permuted": permuted} | ({} if blank is None else {"blank": blank})
    for name, solutions in sets.items():
        _check_same_solutions(intact, solutions, name)
    steps = {name: _kept_steps(solutions, keep) for name, solutions in sets.items()}
    if len(steps["intact"].scores) == 0:
        raise ScoredError("no judged step depends on the input in question; expected at least one")
    resampling = draw_resampling(steps["intact"].group_ids, num_bootstrap, seed)
    auroc = {name: estimate_auroc(one, resampling) for name, one in steps.items()}
    resampled = {name: resampled_auroc(one, resampling) for name, one in steps.items()}
    pairs = [("intact", "permuted")] + ([("permuted", "blank"), ("intact", "blank")] if blank is not None else [])
    num_steps = len(steps["intact"].scores)
    differences = {
        f"{first}_minus_{second}": interval(
            auroc[first].value - auroc[second].value, resampled[first] - resampled[second], num_steps
        )
        for first, second in pairs
    }
    return LookingCheck(auroc, differences, num_steps)


def _kept_steps(solutions: Sequence[ScoredSolution], keep: StepFilter) -> JudgedSteps:
    """Judged steps that are kept; a step that is not becomes unknown first."""
    kept = []
    for solution in solutions:
        labels = [label if keep(solution, step) else "unknown" for step, label in enumerate(solution.labels)]
        kept.append(_with_labels(solution, labels))
    return judged_steps(kept)


def _with_labels(solution: ScoredSolution, labels: list[str]) -> ScoredSolution:
    return ScoredSolution(**{**vars(solution), "labels": labels})


def _check_same_solutions(first: Sequence[ScoredSolution], second: Sequence[ScoredSolution], name: str) -> None:
    def keys(solutions: Sequence[ScoredSolution]) -> dict[tuple[str, str], tuple[str, list[str]]]:
        return {(one.case_id, one.solution_id): (one.group_id, one.labels) for one in solutions}

    expected, found = keys(first), keys(second)
    differing = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    if differing:
        case_id, solution_id = min(differing)
        raise ScoredError(
            f"{name} scores: {len(differing)} solutions differ from the intact set in presence, patient or labels "
            f"(first: case {case_id} solution {solution_id}); expected the same solutions, scored again"
        )
