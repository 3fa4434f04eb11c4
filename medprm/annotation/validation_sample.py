"""A small sample that experts read whole, to see how far the labels can be trusted: Med-PRM's protocol.

In: labelled records. Out: easy and hard questions, a few solutions of each, every step of them; later, with the
experts' verdicts, Pearson's r of each source with them, by group. Med-PRM (arXiv 2506.11474) had 3 easy and 3 hard
questions with 5 traces, 180 labels. What makes a question easy is not said there; here it is the share of its solutions
that end in the right answer. With three questions a group, intervals resample solutions: they say nothing of other
questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from medprm.annotation.consensus import judge_verdict
from medprm.annotation.expert_queue import StepKey
from medprm.cases.schema import CaseSolutions, ExpertVerdict, Solution, Sources
from medprm.cases.verdicts import expert_majority, share_so_far
from medprm.errors import InputError, check_least
from medprm.statistics.agreement import pearson

Group = Literal["easy", "hard"]
GROUPS: tuple[Group, ...] = ("easy", "hard")
SIGNED = {"correct": 1.0, "incorrect": 0.0}


@dataclass(frozen=True)
class SampleSettings:
    """How the sample is drawn."""

    num_questions: int = 3  # of each group
    num_solutions: int = 5  # of each question
    easy_from: float = 0.7  # least share of right answers of an easy question
    hard_to: float = 0.3  # most share of right answers of a hard one
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_questions", "num_solutions"):
            check_least(name, getattr(self, name), 1)
        if not 0 <= self.hard_to < self.easy_from <= 1:
            raise InputError(
                f"hard_to is {self.hard_to} and easy_from {self.easy_from}; expected 0 <= hard_to < easy_from <= 1"
            )


class Sampled(NamedTuple):
    """One question with the solutions that are read."""

    group: Group
    item: CaseSolutions


def draw_sample(cases: Sequence[CaseSolutions], settings: SampleSettings) -> list[Sampled]:
    """Questions in random order, easy and hard mixed; InputError where a group has too few."""
    rng = np.random.default_rng(settings.seed)
    sample: list[Sampled] = []
    for group in GROUPS:
        known = [item for item in cases if _group_of(item, settings) == group]
        if len(known) < settings.num_questions:
            raise InputError(
                f"{len(known)} {group} questions with {settings.num_solutions} solutions of known outcome; expected "
                f"{settings.num_questions}; annotate more cases, or change --easy-from, --hard-to or --num-solutions"
            )
        for place in rng.choice(len(known), settings.num_questions, replace=False):
            case, solutions = known[place]
            chosen = sorted(rng.choice(len(solutions), settings.num_solutions, replace=False).tolist())
            sample.append(Sampled(group, CaseSolutions(case, [solutions[n] for n in chosen])))
    return [sample[place] for place in rng.permutation(len(sample))]


def _group_of(item: CaseSolutions, settings: SampleSettings) -> Group | None:
    outcomes = [one.is_correct for one in item.solutions if one.is_correct is not None]
    if len(item.solutions) < settings.num_solutions or len(outcomes) < len(item.solutions):
        return None
    share = sum(outcomes) / len(outcomes)
    return "easy" if share >= settings.easy_from else "hard" if share <= settings.hard_to else None


def sample_rows(sample: Sequence[Sampled]) -> list[dict[str, Any]]:
    """What an expert reads, a line a step: without labels, verdicts, scores, the group and the reference answer."""
    return [
        {
            "case_id": item.case.case_id,
            "solution_id": solution.solution_id,
            "step_id": step.step_id,
            "images": [image.path for image in item.case.all_images],
            "question": item.case.question,
            "options": list(item.case.options),
            "steps": solution.step_texts,
        }
        for _, item in sample
        for solution in item.solutions
        for step in solution.solution_steps
    ]


def measure_sample(
    cases: Sequence[CaseSolutions],
    experts: Mapping[StepKey, Sequence[ExpertVerdict]],
    settings: SampleSettings,
    scores: Mapping[StepKey, float],
    num_bootstrap: int,
) -> dict[str, Any]:
    """r of label, judge, Monte Carlo score and PRM score (`scores`) with the experts, by group and together.

    InputError where a verdict is of a step that the records do not have.
    """
    rows = [
        (StepKey(item.case.case_id, solution.solution_id or "", number), _group_of(item, settings), solution)
        for item in cases
        for solution in item.solutions
        for number in range(len(solution.solution_steps))
    ]
    strangers = experts.keys() - {key for key, _, _ in rows}
    if strangers:
        raise InputError(f"{tuple(sorted(strangers)[0])}: a verdict on a step that is not in the records")
    found: dict[str, Any] = {}
    for group in (*GROUPS, "all"):
        chosen = [row for row in rows if row[0] in experts and group in (row[1], "all")]
        expert = [SIGNED.get(expert_majority(experts[key])) for key, _, _ in chosen]
        traces = [(key.case_id, key.solution_id) for key, _, _ in chosen]
        sources = [_said(key, solution, scores) for key, _, solution in chosen]
        found[group] = {
            "num_steps": len(chosen),
            "num_solutions": len(set(traces)),
            "num_questions": len({key.case_id for key, _, _ in chosen}),
        }
        for name in ("label", "judge", "monte_carlo", "prm"):
            r = pearson([said.get(name) for said in sources], expert, traces, num_bootstrap)
            if r.is_defined:
                found[group][name] = r.as_json()
    return found


def _said(key: StepKey, solution: Solution, scores: Mapping[StepKey, float]) -> dict[str, float | None]:
    """What each source says of a step as a number; the label is that of the machines, never an expert's."""
    step = solution.solution_steps[key.step_id]
    sources = step.sources or Sources()
    return {
        "label": SIGNED.get(step.label or "") if step.annotation_method != "expert_verified" else None,
        "judge": SIGNED.get(judge_verdict(sources)),
        "monte_carlo": share_so_far(sources.monte_carlo),
        "prm": scores.get(key),
    }
