"""The PRM at work: scored candidates of a case, ranked, with every step coloured by its score.

In: material with a scored.jsonl, and the cases of which nothing may be told yet: neither reference nor what is right.
Out: values for the templates. Read-only.
"""

from collections import Counter
from collections.abc import Set
from typing import Any

from medprm.cases.schema import Case
from medprm.evaluation.scored import ScoredSolution, group_by_case
from medprm.evaluation.shown_cases import TRUTH_MARKS, context_rows, majority_of, pick_of, score_colour
from medprm.review.material import Material
from medprm.review.views import gold_view

PAGE_SIZE = 50
NUM_COLOURS = 20
SHOWN = ("all", "wrong", "missed")


def scored_rows(material: Material, page: int, show: str, untold: Set[str] = frozenset()) -> dict[str, Any]:
    """One page of the list of cases. `wrong`: the pick is wrong; `missed`: although a right candidate was there.

    Cases of which nothing may be told are in neither.
    """
    show = show if show in SHOWN else "all"
    aggregation = material.aggregation.name
    rows = []
    for number, (case_id, group) in enumerate(_groups(material).items(), start=1):
        pick = pick_of(group, aggregation)
        num_right = sum(one.is_correct is True for one in group)
        is_told = case_id not in untold
        is_wrong = is_told and pick.is_correct is False
        is_kept = {"all": True, "wrong": is_wrong, "missed": is_wrong and num_right > 0}[show]
        if is_kept:
            rows.append(
                {
                    "number": number,
                    "split": group[0].split,
                    "candidates": len(group),
                    "is_told": is_told,
                    "right": num_right if is_told else None,
                    "score": pick.score(aggregation),
                    "answer": pick.answer or "(not parsed)",
                    "is_correct": pick.is_correct if is_told else None,
                }
            )
    num_pages = max(1, -(-len(rows) // PAGE_SIZE))
    page = min(max(1, page), num_pages)
    shown = rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    values = {"rows": shown, "page": page, "num_pages": num_pages, "show": show, "num_rows": len(rows)}
    return values | {"aggregation": material.aggregation}


def scored_case(material: Material, number: int, untold: Set[str] = frozenset()) -> dict[str, Any]:
    """One case with all its candidates, best first. KeyError where there is none."""
    groups = list(_groups(material).items())
    if not 1 <= number <= len(groups):
        raise KeyError(number)
    case_id, group = groups[number - 1]
    aggregation = material.aggregation.name
    pick, majority = pick_of(group, aggregation), majority_of(group, aggregation)
    is_told = case_id not in untold
    votes = Counter(one.answer for one in group if one.answer is not None)
    candidates = [
        {
            "rank": rank,
            "score": one.score(aggregation),
            "answer": one.answer or "(not parsed)",
            "votes": votes[one.answer] if one.answer is not None else 0,
            "is_correct": one.is_correct if is_told else None,
            "roles": ["PRM's pick"] * (one is pick) + ["majority vote"] * (one is majority),
            "steps": _steps(one, is_told),
        }
        for rank, one in enumerate(sorted(group, key=lambda one: -one.score(aggregation)), start=1)
    ]
    case: Case | None = next((one for one in material.records if one.case_id == case_id), None)
    return {
        "number": number,
        "num_cases": len(groups),
        "aggregation": material.aggregation,
        "candidates": candidates,
        "case": case,
        "context": context_rows(case) if case else [],
        "is_told": is_told,
        "gold": gold_view(case) if case and is_told else [],
        "images": [one.number for one in material.images_of.get(case_id, [])],
    }


def score_css() -> str:
    """Classes `score-0` to `score-20`: a page may hold no styles of its own."""
    return "".join(f".score-{k} {{ background: {score_colour(k / NUM_COLOURS)}; }}\n" for k in range(NUM_COLOURS + 1))


def _groups(material: Material) -> dict[str, list[ScoredSolution]]:
    return group_by_case(material.scored)


def _steps(one: ScoredSolution, is_told: bool) -> list[dict[str, Any]]:
    rows = zip(one.step_texts, one.categories, one.step_scores, one.labels, strict=True)
    return [
        {
            "text": text,
            "category": category or "",
            "score": score,
            "colour": round(score * NUM_COLOURS),
            "truth": label if is_told else "",
            "mark": TRUTH_MARKS[label] if is_told else "",
        }
        for text, category, score, label in rows
    ]
