"""The cases that the report shows: which ones, which of their candidates, and how each step is coloured and marked.

In: scored candidates of each case and the case itself. Out: views of plain text for the template, which escapes it.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medprm.cases.schema import Case
from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.votes import normalise_answer

TRUTH_MARKS = {"correct": "✓", "incorrect": "✗", "neutral": "–", "unknown": "?"}
CASE_RULE = (
    "A quarter of the cases are the worst: the PRM's pick is wrong, and a right candidate scores lower by the widest "
    "margin. A quarter are at random among those where the PRM's pick is right and the majority vote wrong, a quarter "
    "among the others where the PRM's pick is wrong although a right candidate was there, the rest at random among all "
    "others; where a kind runs short, others take its place."
)


class StepView(NamedTuple):
    """One step as shown. `verdict` names a disagreement between the score and the truth."""

    text: str
    category: str
    score: str
    truth: str
    mark: str
    verdict: str
    background: str


class SolutionView(NamedTuple):
    """One candidate as shown, with the roles it plays."""

    roles: list[str]
    answer: str
    correctness: str
    score: str
    steps: list[StepView]


class CaseView(NamedTuple):
    """One case as shown."""

    case_id: str
    kind: str
    images: list[str]
    context: list[tuple[str, str]]
    question: str
    options: list[str]
    reference: str
    documents: list[tuple[str, str]]
    num_candidates: int
    solutions: list[SolutionView]


class PickedCase(NamedTuple):
    """A case chosen for the report and why."""

    case_id: str
    kind: str


def pick_of(candidates: Sequence[ScoredSolution], aggregation: str) -> ScoredSolution:
    """The candidate of highest solution score; of equals the first in the file (the numbers share ties instead)."""
    return max(candidates, key=lambda one: one.score(aggregation))


def majority_of(candidates: Sequence[ScoredSolution], aggregation: str) -> ScoredSolution | None:
    """The best-scored candidate of the commonest answer; None where no answer is parsed. Of equals the first."""
    votes: dict[str, list[ScoredSolution]] = {}
    for one in candidates:
        answer = normalise_answer(one.answer)
        if answer is not None:
            votes.setdefault(answer, []).append(one)
    return pick_of(max(votes.values(), key=len), aggregation) if votes else None


def pick_cases(
    candidates: Mapping[str, Sequence[ScoredSolution]], aggregation: str, num_cases: int, seed: int
) -> list[PickedCase]:
    """The cases to show, by `CASE_RULE`, in the order worst, won, failed, others."""
    kinds: dict[str, list[str]] = {"won": [], "failed": [], "other": []}
    for case_id, group in candidates.items():
        kinds[_kind(group, aggregation)].append(case_id)
    generator = np.random.default_rng(seed)
    shuffled = {kind: [ids[i] for i in generator.permutation(len(ids))] for kind, ids in kinds.items()}
    share = num_cases // 4
    worst = sorted(kinds["failed"], key=lambda one: -_margin(candidates[one], aggregation))[:share]
    shuffled["failed"] = [one for one in shuffled["failed"] if one not in worst]
    taken = {"worst": worst, "won": shuffled["won"][:share], "failed": shuffled["failed"][:share]}
    taken["other"] = shuffled["other"][: num_cases - sum(map(len, taken.values()))]
    for kind in ("failed", "won"):
        room = num_cases - sum(map(len, taken.values()))
        taken[kind] = shuffled[kind][: len(taken[kind]) + room]
    titles = {
        "worst": "worst: a wrong pick by the widest margin",
        "won": "PRM right, majority vote wrong",
        "failed": "PRM wrong although a right candidate was there",
        "other": "picked at random",
    }
    return [PickedCase(case_id, titles[kind]) for kind, ids in taken.items() for case_id in ids]


def _margin(group: Sequence[ScoredSolution], aggregation: str) -> float:
    """How far the best right candidate is below the pick."""
    best_right = max(one.score(aggregation) for one in group if one.is_correct)
    return pick_of(group, aggregation).score(aggregation) - best_right


def _kind(group: Sequence[ScoredSolution], aggregation: str) -> str:
    pick, majority = pick_of(group, aggregation), majority_of(group, aggregation)
    if pick.is_correct and majority is not None and majority.is_correct is False:
        return "won"
    if pick.is_correct is False and any(one.is_correct for one in group):
        return "failed"
    return "other"


def view_case(
    picked: PickedCase,
    case: Case,
    candidates: Sequence[ScoredSolution],
    aggregation: str,
    threshold: float,
    image_png: Callable[[str], list[bytes]],
) -> CaseView:
    gold = case.gold_standard
    reference = [one for one in (gold.answer, gold.diagnosis, ", ".join(gold.findings)) if one] if gold else []
    return CaseView(
        case_id=case.case_id,
        kind=picked.kind,
        images=["data:image/png;base64," + base64.b64encode(png).decode("ascii") for png in image_png(case.case_id)],
        context=context_rows(case),
        question=case.question,
        options=list(case.options),
        reference="; ".join(dict.fromkeys(reference)),
        documents=[(document.title or document.document_id, document.text) for document in case.documents],
        num_candidates=len(candidates),
        solutions=_solution_views(candidates, aggregation, threshold),
    )


def context_rows(case: Case) -> list[tuple[str, str]]:
    """Name and value of what the clinical context says."""
    context = case.clinical_context
    rows: list[tuple[str, str]] = []
    for name in ("age", "age_group", "sex", "symptoms", "history", "vitals", "laboratory", "note"):
        value = getattr(context, name)
        if isinstance(value, dict):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        elif isinstance(value, tuple):
            value = ", ".join(value)
        if value not in (None, ""):
            rows.append((name.replace("_", " "), str(value)))
    return rows


def _solution_views(candidates: Sequence[ScoredSolution], aggregation: str, threshold: float) -> list[SolutionView]:
    """The PRM's pick, the majority's answer, the lowest score; a candidate with several roles is shown once."""
    shown = [("PRM's pick", pick_of(candidates, aggregation))]
    majority = majority_of(candidates, aggregation)
    if majority is not None and len(candidates) > 1:
        shown.append(("best-scored of the majority answer", majority))
    if len(candidates) > 1:
        shown.append(("lowest score", min(candidates, key=lambda one: one.score(aggregation))))
    roles: dict[int, list[str]] = {}
    for role, solution in shown:
        roles.setdefault(id(solution), []).append(role)
    by_id = {id(solution): solution for _, solution in shown}
    words = {True: "right answer", False: "wrong answer", None: "answer not judged"}
    return [
        SolutionView(
            roles=roles[key],
            answer=solution.answer if solution.answer is not None else "(not parsed)",
            correctness=words[solution.is_correct],
            score=f"{solution.score(aggregation):.3f}",
            steps=_step_views(solution, threshold),
        )
        for key, solution in by_id.items()
    ]


def _step_views(solution: ScoredSolution, threshold: float) -> list[StepView]:
    views = []
    rows = zip(solution.step_texts, solution.categories, solution.step_scores, solution.labels, strict=True)
    for text, category, score, label in rows:
        verdict = ""
        if label == "correct" and score < threshold:
            verdict = "false alarm"
        elif label == "incorrect" and score >= threshold:
            verdict = "missed error"
        views.append(
            StepView(text, category or "", f"{score:.2f}", label, TRUTH_MARKS[label], verdict, score_colour(score))
        )
    return views


def score_colour(score: float) -> str:
    """Vermilion at 0, white at one half, blue at 1, all light enough for dark text (contrast above 7)."""
    low, middle, high = np.array([246, 190, 158]), np.array([255, 255, 255]), np.array([166, 206, 236])
    end, share = (low, 1 - 2 * score) if score < 0.5 else (high, 2 * score - 1)
    red, green, blue = np.rint(middle + share * (end - middle)).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"
