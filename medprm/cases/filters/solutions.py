"""Solutions left out by what they look like, before anybody labels them: steps, loops, answers, doubles.

In: cases with solutions. Out: the same cases with fewer solutions, in order, and the counts. What one case keeps does
not depend on another.
"""

import re
from collections.abc import Callable, Sequence

from medprm.cases.answers import AnswerMatcher
from medprm.cases.filters.counts import FilterCounts, Filtered, counted
from medprm.cases.filters.settings import FilterSettings
from medprm.cases.fingerprints import jaccard, normalised, word_runs
from medprm.cases.overlay import solution_name
from medprm.cases.schema import Case, CaseSolutions, Solution

RUN_LENGTH = 4  # words; shorter runs repeat in any text


def filter_solutions(cases: Sequence[CaseSolutions], settings: FilterSettings, answers: AnswerMatcher) -> Filtered:
    """A case that keeps no solution is left out. Solutions without an id get the one that annotation gives by place."""
    counts = FilterCounts()
    kept = []
    for item in cases:
        found = _of_case(item, settings, answers, counts)
        if found or not item.solutions:
            kept.append(CaseSolutions(item.case, found))
        else:
            counts.cases_left_out["no solution left"] = counts.cases_left_out.get("no solution left", 0) + 1
    return counted(cases, counts, kept)


def _of_case(
    item: CaseSolutions, settings: FilterSettings, answers: AnswerMatcher, counts: FilterCounts
) -> list[Solution]:
    kept: list[Solution] = []
    for number, solution in enumerate(item.solutions):
        reason = _reason(item.case, solution, settings, answers)
        if reason is None and settings.duplicates:
            reason = _double(solution, kept, settings.near_duplicates)
        if reason is None:
            name = solution_name(item.case.case_id, solution, number)
            kept.append(solution if solution.solution_id else solution.model_copy(update={"solution_id": name}))
        else:
            counts.leave_out(reason, 1)
    return kept


def _reason(case: Case, solution: Solution, settings: FilterSettings, answers: AnswerMatcher) -> str | None:
    steps = solution.step_texts
    checks: list[tuple[bool, str, Callable[[], bool]]] = [
        (settings.min_steps is not None, f"fewer than {settings.min_steps} steps",
         lambda: len(steps) < (settings.min_steps or 0)),
        (settings.max_steps is not None, f"more than {settings.max_steps} steps",
         lambda: len(steps) > (settings.max_steps or 0)),
        (settings.refuse_repeated_steps, "a step repeats another, or says nothing", lambda: has_repeated_step(steps)),
        (settings.max_repeated_share is not None, "a step is a loop",
         lambda: repeated_share(steps) > (settings.max_repeated_share or 0)),
        (settings.refuse_unparsed, "no answer that can be read", lambda: _is_unparsed(case, solution, answers)),
    ]  # fmt: skip
    return next((reason for is_on, reason, holds in checks if is_on and holds()), None)


def has_repeated_step(steps: Sequence[str]) -> bool:
    """Whether a step without its number says what an earlier one says, or has no letter."""
    texts = [re.sub(r"^step \d+ ", "", normalised(one)) for one in steps]
    return len(set(texts)) < len(texts) or any(not re.search(r"[^\W\d_]", one) for one in texts)


def repeated_share(steps: Sequence[str]) -> float:
    """Of the step that repeats most: the share of its runs of 4 words that stood in the solution before."""
    seen: set[str] = set()
    largest = 0.0
    for step in steps:
        words = normalised(step).split()
        runs = [" ".join(words[begin : begin + RUN_LENGTH]) for begin in range(len(words) - RUN_LENGTH + 1)]
        num_repeated = 0
        for run in runs:
            num_repeated += run in seen
            seen.add(run)
        largest = max(largest, num_repeated / len(runs)) if runs else largest
    return largest


def _is_unparsed(case: Case, solution: Solution, answers: AnswerMatcher) -> bool:
    if solution.answer is not None:
        return False
    return not solution.solution_steps or answers.read(case, solution.step_texts[-1]) is None


def _double(solution: Solution, kept: Sequence[Solution], similarity: float | None) -> str | None:
    text = normalised(" ".join(solution.step_texts))
    for other in kept:
        known = normalised(" ".join(other.step_texts))
        if text == known:
            return "the same solution twice in a case"
        if similarity is not None and jaccard(word_runs(text), word_runs(known)) >= similarity:
            return "nearly the same solution twice in a case"
    return None
