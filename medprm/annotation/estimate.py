"""What a run would cost, before anything is sent.

In: cases, settings, prices. Out: one JSON object: calls, tokens, dollars and expert hours, at most. Nothing is known of
the sources' agreement beforehand, so rollouts are counted in full; the ledger says later what was saved.
"""

from collections.abc import Sequence
from typing import Any

from medprm.annotation.first_error import most_measured
from medprm.annotation.settings import (
    ExpertSettings,
    JudgeSettings,
    MonteCarloSettings,
    RetrievalSettings,
    SolutionSettings,
)
from medprm.cases.answers import AnswerSettings, kind_of
from medprm.cases.schema import CaseSolutions, Solution, Step
from medprm.clients.prices import IMAGE_TOKENS
from medprm.clients.settings import ModelPrice

BYTES_A_TOKEN = 4
OTHER_TOKENS = 500  # instructions, context, question and options of one prompt


def estimate_run(
    cases: Sequence[CaseSolutions],
    retrieval: RetrievalSettings,
    judge: JudgeSettings,
    monte_carlo: MonteCarloSettings,
    experts: ExpertSettings,
    answers: AnswerSettings,
    made: SolutionSettings,
    judge_price: ModelPrice,
    policy_price: ModelPrice,
    maker_prices: Sequence[ModelPrice],
) -> dict[str, Any]:
    """Upper numbers of the whole run. Solutions that are still to be made are taken to have the most steps."""
    num_unsolved = sum(not item.solutions for item in cases)
    making = _making(num_unsolved, made, maker_prices)
    cases = [item if item.solutions else _with_longest(item, made, len(maker_prices)) for item in cases]
    solutions = [one for item in cases for one in item.solutions]
    num_steps = sum(len(one.solution_steps) for one in solutions)
    step_tokens = [sum(len(text.encode()) for text in one.step_texts) // BYTES_A_TOKEN for one in solutions]
    image_tokens = sum(len(item.case.all_images) * len(item.solutions) for item in cases) * IMAGE_TOKENS
    judge_input = len(solutions) * (retrieval.max_tokens + OTHER_TOKENS) + sum(step_tokens)
    judge_input += image_tokens * judge.show_images
    judge_output = len(solutions) * judge.max_answer_tokens
    num_prefixes = num_steps - len(solutions)
    if monte_carlo.search == "first_error":
        num_prefixes = sum(most_measured(len(one.solution_steps) - 1) for one in solutions)
    num_rollouts = num_prefixes * monte_carlo.num_rollouts
    num_requests = num_prefixes * -(-monte_carlo.num_rollouts // monte_carlo.rollouts_per_round)
    policy_output = num_rollouts * monte_carlo.max_new_tokens
    policy_input = num_requests * OTHER_TOKENS
    num_reviews = num_steps if experts.steps == "all" else int(experts.max_share * num_steps)
    hours = num_reviews * experts.minutes_per_step / 60
    judge_dollars = (judge_input * judge_price.input + judge_output * judge_price.output) / 1e6
    policy_dollars = (policy_input * policy_price.input + policy_output * policy_price.output) / 1e6
    comparisons = _comparisons(cases, monte_carlo, answers) * judge.max_rounds
    answers_input, answers_output = comparisons * OTHER_TOKENS, comparisons * judge.max_answer_tokens
    answers_dollars = (answers_input * judge_price.input + answers_output * judge_price.output) / 1e6
    total = (
        making["dollars_at_most"] + judge_dollars + policy_dollars + answers_dollars + hours * experts.dollars_per_hour
    )
    return {
        "cases": len(cases),
        "solutions": len(solutions),
        "steps": num_steps,
        "making_solutions": making,
        "judge": {
            **{"calls": len(solutions), "input_tokens": judge_input},
            **{"output_tokens_at_most": judge_output, "dollars_at_most": judge_dollars},
        },
        "monte_carlo": {
            **{"prefixes": num_prefixes, "rollouts_at_most": num_rollouts, "requests_at_most": num_requests},
            **{"output_tokens_at_most": policy_output, "dollars_at_most": policy_dollars},
        },
        "answers": {
            **{"calls_at_most": comparisons, "input_tokens_at_most": answers_input},
            **{"output_tokens_at_most": answers_output, "dollars_at_most": answers_dollars},
        },
        "experts": {"steps_at_most": num_reviews, "hours": hours, "dollars": hours * experts.dollars_per_hour},
        "dollars_at_most": total,
        "dollars_per_10000_cases_at_most": total / len(cases) * 10_000 if cases else None,
    }


def _making(num_cases: int, settings: SolutionSettings, prices: Sequence[ModelPrice]) -> dict[str, Any]:
    """Texts of candidate solutions, drawn again up to `max_rounds` times."""
    num_texts = num_cases * (settings.num * settings.max_rounds + settings.greedy)
    num_requests = num_cases * (settings.max_rounds + settings.greedy)
    tokens = num_texts * settings.max_new_tokens
    dollars = sum(num_requests * OTHER_TOKENS * one.input + tokens * one.output for one in prices) / 1e6
    return {
        "cases": num_cases,
        "texts_at_most": num_texts * len(prices),
        "output_tokens_at_most": tokens * len(prices),
        "dollars_at_most": dollars,
    }


def _with_longest(item: CaseSolutions, settings: SolutionSettings, num_policies: int) -> CaseSolutions:
    """The case with as many and as long solutions as may be made for it."""
    text = "x" * (BYTES_A_TOKEN * settings.max_new_tokens // settings.max_steps)
    steps = tuple(Step(step_id=place, content=text) for place in range(settings.max_steps))
    return CaseSolutions(item.case, [Solution(solution_steps=steps)] * settings.num * num_policies)


def _comparisons(cases: Sequence[CaseSolutions], monte_carlo: MonteCarloSettings, answers: AnswerSettings) -> int:
    """Pairs for the judge of answers, if no two answers to an open question are alike."""
    if answers.open != "judge":
        return 0
    solutions = [one for item in cases if kind_of(item.case, answers) == "open" for one in item.solutions]
    num_prefixes = sum(len(one.solution_steps) - 1 for one in solutions)
    return len(solutions) + num_prefixes * monte_carlo.num_rollouts
