"""What a run would cost at most, before anything is sent.

In: cases, settings, prices. Out: one JSON object: calls, tokens, dollars and expert hours, at most. A token a byte of
text, as a request's reserve is reckoned; every answer as long as is allowed, and the judge's answers of no use until
the last round. Nothing is known of the sources' agreement beforehand, so rollouts are counted in full; the ledger says
later what was saved. Not counted: attempts that break off, and a server that gives fewer answers than asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from medprm.annotation import answer_judge
from medprm.annotation.first_error import most_measured
from medprm.annotation.server_judge import SYSTEM, judge_prompt
from medprm.annotation.server_policy import policy_messages
from medprm.annotation.settings import (
    ConsensusSettings,
    ExpertSettings,
    JudgeSettings,
    MonteCarloSettings,
    RetrievalSettings,
    SolutionSettings,
)
from medprm.annotation.stopping import most_rounds
from medprm.cases.answers import AnswerSettings, kind_of
from medprm.cases.schema import Case, CaseSolutions, Solution, Step
from medprm.clients.chat import Message
from medprm.clients.prices import most_input_tokens
from medprm.clients.settings import ModelPrice

BYTES_A_TOKEN = 4  # of a text that is still to be written
EVIDENCE_BYTES_A_TOKEN = 3  # as evidence is packed where no tokenizer is named
MARK_TOKENS = 200  # around a passage: its id and the fence


class Planned(NamedTuple):
    """The settings of a run, and what a million tokens cost at each server."""

    retrieval: RetrievalSettings
    judge: JudgeSettings
    monte_carlo: MonteCarloSettings
    consensus: ConsensusSettings
    experts: ExpertSettings
    answers: AnswerSettings
    solutions: SolutionSettings
    judge_price: ModelPrice
    policy_price: ModelPrice
    maker_prices: Sequence[ModelPrice]


class Calls(NamedTuple):
    """Requests, and the tokens of all of them together."""

    num: int
    input_tokens: int
    output_tokens: int

    def as_json(self, price: ModelPrice) -> dict[str, Any]:
        return {
            "calls_at_most": self.num,
            "input_tokens_at_most": self.input_tokens,
            "output_tokens_at_most": self.output_tokens,
            "dollars_at_most": (self.input_tokens * price.input + self.output_tokens * price.output) / 1e6,
        }


def estimate_run(cases: Sequence[CaseSolutions], plan: Planned) -> dict[str, Any]:
    """Upper numbers of the whole run. Solutions that are still to be made are taken to have the most steps."""
    making = _making([item.case for item in cases if not item.solutions], plan)
    cases = [item if item.solutions else _with_longest(item, plan) for item in cases]
    num_steps = sum(len(one.solution_steps) for item in cases for one in item.solutions)
    parts = {
        "making_solutions": making,
        "judge": _added(_judging(item, plan) for item in cases).as_json(plan.judge_price),
        "monte_carlo": _rolling(cases, plan),
        "answers": _added(_comparing(item, plan) for item in cases).as_json(plan.judge_price),
        "experts": _reviewing(num_steps, plan.experts),
    }
    total = sum(one["dollars_at_most"] for one in parts.values())
    return {
        "cases": len(cases),
        "solutions": sum(len(item.solutions) for item in cases),
        "steps": num_steps,
        **parts,
        "dollars_at_most": total,
        "dollars_per_10000_cases_at_most": total / len(cases) * 10_000 if cases else None,
    }


def _judging(item: CaseSolutions, plan: Planned) -> Calls:
    """Every solution, asked about in every round."""
    retrieval, judge = plan.retrieval, plan.judge
    evidence = retrieval.max_tokens * (1 if retrieval.tokenizer else EVIDENCE_BYTES_A_TOKEN)
    images = (b"",) * (len(item.case.all_images) if judge.show_images else 0)
    size = 0
    for one in item.solutions:
        prompt = judge_prompt(item.case, one.step_texts, [], judge.show_answer)
        num_passages = len(item.case.documents) + retrieval.num_passages * (1 + len(one.solution_steps))
        size += most_input_tokens([Message("system", SYSTEM), Message("user", prompt, images)])
        size += evidence + MARK_TOKENS * num_passages
    num = len(item.solutions) * judge.max_rounds
    return Calls(num, size * judge.max_rounds, num * judge.max_answer_tokens)


def _rolling(cases: Sequence[CaseSolutions], plan: Planned) -> dict[str, Any]:
    """Rollouts of every prefix, or of as many as a search for the first error measures."""
    settings = plan.monte_carlo
    is_searched = settings.search == "first_error"
    rounds = most_rounds(settings, replace(plan.consensus, rule="value") if is_searched else plan.consensus)
    num_prefixes = size = 0
    for item in cases:
        for one in item.solutions:
            texts = one.step_texts
            sizes = [_policy_tokens(item.case, texts[: place + 1], plan) for place in range(len(texts) - 1)]
            if is_searched:
                sizes = sorted(sizes)[-most_measured(len(sizes)) :] if sizes else []
            num_prefixes += len(sizes)
            size += sum(sizes)
    num_rollouts = num_prefixes * settings.num_rollouts
    calls = Calls(num_prefixes * rounds, size * rounds, num_rollouts * settings.max_new_tokens)
    return {"prefixes": num_prefixes, "rollouts_at_most": num_rollouts} | calls.as_json(plan.policy_price)


def _policy_tokens(case: Case, steps: Sequence[str], plan: Planned) -> int:
    images = (b"",) * len(case.all_images)
    return most_input_tokens(
        policy_messages(case, tuple(steps), images, plan.answers.kind, plan.monte_carlo.continuation)
    )


def _making(cases: Sequence[Case], plan: Planned) -> dict[str, Any]:
    """Texts of candidate solutions, drawn again up to `max_rounds` times."""
    settings = plan.solutions
    num_requests = settings.max_rounds + settings.greedy
    num_texts = settings.num * settings.max_rounds + settings.greedy
    calls = Calls(
        len(cases) * num_requests,
        sum(_policy_tokens(case, (), plan) for case in cases) * num_requests,
        len(cases) * num_texts * settings.max_new_tokens,
    )
    found = [calls.as_json(price) for price in plan.maker_prices]
    added = {name: sum(one[name] for one in found) for name in calls.as_json(ModelPrice())}
    return {"cases": len(cases), "texts_at_most": len(cases) * num_texts * len(found)} | added


def _with_longest(item: CaseSolutions, plan: Planned) -> CaseSolutions:
    """The case with as many and as long solutions as may be made for it."""
    settings = plan.solutions
    text = "x" * (BYTES_A_TOKEN * settings.max_new_tokens // settings.max_steps)
    steps = tuple(Step(step_id=place, content=text) for place in range(settings.max_steps))
    return CaseSolutions(item.case, [Solution(solution_steps=steps)] * settings.num * len(plan.maker_prices))


def _comparing(item: CaseSolutions, plan: Planned) -> Calls:
    """Answers to an open question, if no two of them are alike, asked about in every round."""
    if plan.answers.open != "judge" or kind_of(item.case, plan.answers) != "open":
        return Calls(0, 0, 0)
    num_prefixes = sum(len(one.solution_steps) - 1 for one in item.solutions)
    num = (len(item.solutions) + num_prefixes * plan.monte_carlo.num_rollouts) * plan.judge.max_rounds
    longest = "x" * (BYTES_A_TOKEN * plan.monte_carlo.max_new_tokens)
    prompt = answer_judge.comparison_prompt(item.case, longest, longest)
    size = most_input_tokens([Message("system", answer_judge.SYSTEM), Message("user", prompt)])
    return Calls(num, num * size, num * plan.judge.max_answer_tokens)


def _reviewing(num_steps: int, experts: ExpertSettings) -> dict[str, Any]:
    num = num_steps if experts.steps == "all" else int(experts.max_share * num_steps)
    hours = num * experts.minutes_per_step / 60
    return {"steps_at_most": num, "hours": hours, "dollars_at_most": hours * experts.dollars_per_hour}


def _added(calls: Iterable[Calls]) -> Calls:
    return Calls(*(sum(numbers) for numbers in zip(Calls(0, 0, 0), *calls, strict=True)))
