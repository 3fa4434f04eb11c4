"""Cases through the annotators, several at a time, in the order of the cases.

In: cases, makers of solutions or annotators. Out: cases with solutions; records with the machines' verdicts.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from medprm.annotation.first_error import measure_solutions
from medprm.annotation.records import Making, as_record, with_outcome
from medprm.annotation.rollouts import StepPrefix
from medprm.annotation.solutions import Maker, make_solutions
from medprm.cases.answers import AnswerMatcher
from medprm.cases.schema import CaseSolutions, JudgeVerdict, Record, Solution
from medprm.commands.annotators import Annotators
from medprm.config import AnnotateConfig

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def in_order(
    work: Callable[[CaseSolutions], Result], cases: Iterable[CaseSolutions], num_threads: int
) -> Iterator[Result]:
    """`work` on every case; twice as many cases as threads are under way."""
    with ThreadPoolExecutor(num_threads) as pool:
        under_way: deque[Future[Result]] = deque()
        try:
            for item in cases:
                under_way.append(pool.submit(work, item))
                if len(under_way) >= 2 * num_threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for one in under_way:
                one.cancel()


def with_solutions(
    cases: Sequence[CaseSolutions],
    makers: Sequence[Maker],
    answers: AnswerMatcher,
    config: AnnotateConfig,
    num_threads: int,
) -> Iterator[CaseSolutions]:
    """The cases; those without solutions have new ones. A case for which none could be made is left out, and named."""
    not_used: Counter[str] = Counter()
    num_missing = num_made = 0

    def made(item: CaseSolutions) -> tuple[CaseSolutions, Counter[str], int]:
        if item.solutions:
            return item, Counter(), 0
        found = make_solutions(item.case, makers, config.solutions, answers)
        return CaseSolutions(item.case, found.solutions), found.not_used, found.num_missing

    for before, (item, reasons, missing) in zip(cases, in_order(made, cases, num_threads), strict=True):
        not_used += reasons
        num_missing += missing
        num_made += 0 if before.solutions else len(item.solutions)
        if item.solutions:
            yield item
        else:
            logger.warning("case %s: left out: none of its solutions could be used", item.case.case_id)
    for reason, count in not_used.items():
        logger.warning("%d texts were not used: %s", count, reason)
    logger.info("%d solutions made, %d fewer than asked for", num_made, num_missing)


def machine_records(
    cases: Sequence[CaseSolutions], annotators: Annotators, config: AnnotateConfig, num_threads: int
) -> Iterator[Record]:
    """Each solution with the machines' verdicts and the labels that follow from them."""
    for records in in_order(lambda item: annotate_case(item, annotators, config), cases, num_threads):
        yield from records


def annotate_case(item: CaseSolutions, annotators: Annotators, config: AnnotateConfig) -> list[Record]:
    """Retrieval and judge for every solution; then the rollouts of all their prefixes together."""
    solutions = [with_outcome(item, number, annotators.answers) for number in range(len(item.solutions))]
    verdicts = [judge_solution(item, one, annotators) for one in solutions]
    wanted = [
        [StepPrefix(tuple(one.step_texts[: place + 1]), said[place].verdict) for place in range(len(said) - 1)]
        for one, said in zip(solutions, verdicts, strict=True)
    ]
    sampling = (annotators.policy, config.monte_carlo, config.consensus, annotators.answers)
    counts = measure_solutions(item.case, wanted, *sampling)
    return [
        as_record(item, one, said, measured, making(config))
        for one, said, measured in zip(solutions, verdicts, counts, strict=True)
    ]


def judge_solution(item: CaseSolutions, solution: Solution, annotators: Annotators) -> list[JudgeVerdict]:
    """The judge's verdicts, by the case's own documents and what is found for its steps."""
    assert solution.solution_id is not None
    passages = annotators.evidence.for_solution(item.case, solution.solution_id, solution.step_texts)
    return annotators.judge.judge(item.case, solution.solution_id, solution.step_texts, passages)


def making(config: AnnotateConfig) -> Making:
    """What the records are made by."""
    return Making(config.consensus, config.monte_carlo.num_rollouts, config.date)
