"""Solutions left out by their labels and answers, after annotation: what Med-PRM and MM-PRM do for balance.

In: labelled cases. Out: those to train on, in order, and the counts. Draws are by the seed.
Sources: Med-PRM (arXiv 2506.11474) leaves out wrong solutions without a wrong step, and keeps max(2, wrong) right ones
a question, the first; ours are drawn. MM-PRM draws positives down to as many as negatives.
"""

import random
from collections import Counter
from collections.abc import Sequence

from medprm.cases.filters.counts import FilterCounts, Filtered, counted
from medprm.cases.filters.settings import FilterSettings
from medprm.cases.schema import CaseSolutions, Solution


def filter_labelled(cases: Sequence[CaseSolutions], settings: FilterSettings) -> Filtered:
    """By each filter in turn; a case that keeps no solution is left out."""
    counts = FilterCounts()
    kept: list[CaseSolutions] = []
    for item in cases:
        found = [one for one in item.solutions if not _is_wrong_without_error(one, settings)]
        if len(found) < len(item.solutions):
            counts.leave_out("a wrong answer and no incorrect step", len(item.solutions) - len(found))
        found = _balanced(item.case.case_id, found, settings, counts)
        kept.append(CaseSolutions(item.case, found))
    if settings.max_correct_step_share is not None:
        kept = _fewer_correct(kept, settings.max_correct_step_share, settings.seed, counts)
    left = [item for item in kept if item.solutions]
    if num := len(kept) - len(left):
        counts.cases_left_out["no solution left"] = num
    return counted(cases, counts, left)


def _is_wrong_without_error(solution: Solution, settings: FilterSettings) -> bool:
    """An answer that nobody judged is not wrong."""
    return settings.refuse_wrong_without_error and solution.is_correct is False and "incorrect" not in solution.labels


def _balanced(
    case_id: str, solutions: list[Solution], settings: FilterSettings, counts: FilterCounts
) -> list[Solution]:
    """At most max(n, wrong) with a right answer; those without a judged answer are on neither side."""
    if settings.max_right_per_case is None:
        return solutions
    right = [place for place, one in enumerate(solutions) if one.is_correct is True]
    most = max(settings.max_right_per_case, sum(one.is_correct is False for one in solutions))
    if len(right) <= most:
        return solutions
    chosen = set(random.Random(f"{settings.seed} {case_id}").sample(right, most))
    counts.leave_out("right solutions of a case beyond the wrong ones", len(right) - most)
    return [one for place, one in enumerate(solutions) if place in chosen or place not in right]


def _fewer_correct(
    cases: Sequence[CaseSolutions], share: float, seed: int, counts: FilterCounts
) -> list[CaseSolutions]:
    """Solutions whose labelled steps are all correct leave, drawn, until at most `share` of labelled steps is correct.

    Where they do not suffice the share stays higher: no solution with an incorrect step is given up.
    """
    steps: Counter[str] = Counter(label for item in cases for one in item.solutions for label in one.labels)
    spare = [
        (case, place)
        for case, item in enumerate(cases)
        for place, one in enumerate(item.solutions)
        if "correct" in one.labels and "incorrect" not in one.labels
    ]
    random.Random(seed).shuffle(spare)
    gone: set[tuple[int, int]] = set()
    num_correct, num_incorrect = steps["correct"], steps["incorrect"]
    for case, place in spare:
        if num_correct <= share * (num_correct + num_incorrect):
            break
        num_correct -= cases[case].solutions[place].labels.count("correct")
        gone.add((case, place))
    if gone:
        counts.leave_out("correct steps beyond the share that is wanted", len(gone))
    return [
        CaseSolutions(item.case, [one for place, one in enumerate(item.solutions) if (case, place) not in gone])
        for case, item in enumerate(cases)
    ]
