"""`search`: solve cases by PRM-guided search against a policy, beside Best-of-N at equal tokens.

In: SearchConfig. Out, below the run's folder: searched.jsonl (a line a case, method and N), search.json (numbers with
intervals), ledger.json (calls, tokens, dollars), journal.sqlite (what was drawn: an interrupted search goes on with
resume=true), config.yaml, run.json.
"""

import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from medprm.annotation.ledger import Work, make_ledger, write_ledger
from medprm.annotation.rollouts import Drawing, Policy
from medprm.annotation.settings import ExpertSettings
from medprm.cases.answers import AnswerMatcher
from medprm.cases.atomic import replaced_file
from medprm.cases.schema import Case
from medprm.cases.steps import split_steps
from medprm.clients.journal import Journal
from medprm.commands.answer_matcher import make_matcher
from medprm.commands.data_source import PHANTOM_NOTE, describe_source, open_source
from medprm.commands.evaluate import REPORT_IMAGE_PIXELS
from medprm.commands.policies import Workshop, is_any_outside, local_policy, server_policy
from medprm.commands.scorers import find_checkpoint, load_scorer
from medprm.config import SearchConfig
from medprm.errors import InputError
from medprm.evaluation.search import Pool, at_equal_tokens, search
from medprm.evaluation.search_table import Outcome, as_row, search_numbers, search_table
from medprm.evaluation.votes import normalise_answer
from medprm.model.lessons import STEP_SEPARATOR
from medprm.run import begin_run, save_run
from medprm.scoring.aggregate import AGGREGATORS, DEFAULT_AGGREGATION
from medprm.scoring.rows import Candidates
from medprm.scoring.scorer import StepScorer
from medprm.serving.batching import Batcher

logger = logging.getLogger(__name__)

WAYS_OUT = "resume=true goes on with it, overwrite=true deletes it, name=NAME writes beside it"
FREE_ON_RESUME = (
    *("resume", "overwrite", "output_dir", "run_name", "num_threads", "budget_dollars", "num_bootstrap", "tiles"),
    *("policy_server.concurrency", "policy_server.base_urls", "scoring.num_workers"),
    *("answers.findings_python", "answers.findings_timeout_seconds"),
)
STAGE = "search"


class Tools(NamedTuple):
    """Who draws steps, who draws whole solutions, who scores, who compares answers."""

    step_policy: Policy
    whole_policy: Policy
    score: Callable[[Case, Sequence[Sequence[str]]], list[list[float]]]
    answers: AnswerMatcher
    aggregation: str


def run(config: SearchConfig) -> Path:
    """Search as the settings say; returns the folder of the results."""
    checkpoint = find_checkpoint(config)
    folder = begin_run(Path(config.output_dir) / config.name, config, WAYS_OUT, FREE_ON_RESUME)
    data = open_source(config.data, Path(config.output_dir).parent)
    cases = [item.case for item in data.split(config.split, require_steps=False)[: config.max_cases]]
    if AnswerMatcher(config.answers).check(cases).get("without a reference answer"):
        raise InputError("some cases have no reference answer (gold_standard); a search cannot be measured on them")
    save_run(folder, checkpoint=checkpoint, data=describe_source(data, {}), num_cases=len(cases))
    scorer = load_scorer(checkpoint, config.scoring, config.tiles)
    assert isinstance(scorer, StepScorer), "SearchConfig refuses other protocols"
    aggregation = config.search.aggregation or scorer.prm.get("aggregation", DEFAULT_AGGREGATION)
    with ExitStack() as opened:
        answers = make_matcher(config.answers, folder, opened)
        is_paid = is_any_outside([config.policy_server], config.guard)
        journal = opened.enter_context(Journal(folder / "journal.sqlite", is_paid))
        batcher = opened.enter_context(Batcher(scorer, max_cases=8, max_wait_ms=2.0, max_waiting=1024))

        def score(case: Case, solutions: Sequence[Sequence[str]]) -> list[list[float]]:
            return batcher.submit(Candidates(case, solutions), data.image_root).result()

        shop = Workshop(config, folder, data.image_root, REPORT_IMAGE_PIXELS, config.budget_dollars, journal, opened)
        tools = Tools(make_policy(shop, is_step=True), make_policy(shop, is_step=False), score, answers, aggregation)
        outcomes = solve_all(cases, tools, config)
        report(folder, outcomes, journal, len(cases), config)
    return folder


def make_policy(shop: Workshop[SearchConfig], is_step: bool) -> Policy:
    """The policy, drawing one step at a time or whole solutions."""
    settings = shop.config.search
    drawing = Drawing(
        settings.temperature,
        settings.max_step_tokens if is_step else settings.max_solution_tokens,
        STAGE if is_step else "solutions",
        settings.continuation,
        stop=STEP_SEPARATOR if is_step else None,
    )
    if settings.policy == "tiny":
        return local_policy(shop, drawing, num_processes=1)
    return server_policy(shop, shop.config.policy_server, drawing)


def solve_all(cases: Sequence[Case], tools: Tools, config: SearchConfig) -> list[Outcome]:
    """Every case under every method and N; several cases under way where a server draws."""
    num_at_a_time = config.policy_server.concurrency if config.search.policy == "server" else 1
    with ThreadPoolExecutor(num_at_a_time) as pool, tqdm(total=len(cases), desc="searching", unit=" cases") as bar:
        found = []
        for outcomes in pool.map(partial(solve, tools=tools, config=config), cases):
            found += outcomes
            bar.update()
    return found


def solve(case: Case, tools: Tools, config: SearchConfig) -> list[Outcome]:
    """One case by every method and N, and what its tokens buy without search."""
    settings, pool = config.search, draw_pool(case, tools, config)
    outcomes = []
    for method in settings.methods:
        for num_candidates in settings.num_candidates:
            found = search(case, tools.step_policy, tools.score, method, num_candidates, tools.aggregation, settings)
            answer = tools.answers.read(case, found.solutions[0].steps[-1]) if found.solutions else None
            beside = at_equal_tokens(pool, found.num_tokens, settings.num_orders, config.seed)
            outcomes.append(
                Outcome(
                    case_id=case.case_id,
                    group_id=case.group_id,
                    method=method,
                    num_candidates=num_candidates,
                    is_correct=tools.answers.is_right(case, answer) is True,
                    answer=answer,
                    num_tokens=found.num_tokens,
                    num_scored=found.num_scored,
                    num_cut=found.num_cut,
                    num_open=found.num_open,
                    best_of_n=beside.best_of_n,
                    majority=beside.majority,
                    best_of_n_candidates=beside.num_candidates,
                    best_of_n_tokens=beside.num_tokens,
                    is_pool_short=beside.is_short,
                    pass_at_1=float(pool.is_correct.mean()),
                    oracle=float(pool.is_correct.any()),
                )
            )
    return outcomes


def draw_pool(case: Case, tools: Tools, config: SearchConfig) -> Pool:
    """Whole solutions of the same policy; one that was cut off is there with its tokens, wrong and never picked."""
    (drawn,) = tools.whole_policy.draw(case, [()], config.search.num_solutions, 0)
    each = [one for one in drawn for _ in range(one.count)]
    steps = [() if one.is_truncated else tuple(split_steps(one.text)) for one in each]
    scored = list(dict.fromkeys(one for one in steps if one))
    if not scored:
        raise InputError(
            f"case {case.case_id}: none of {len(each)} solutions ended within search.max_solution_tokens="
            f"{config.search.max_solution_tokens}; raise it"
        )
    scores = dict(zip(scored, tools.score(case, scored), strict=True))
    answers = [tools.answers.read(case, one[-1]) if one else None for one in steps]
    return Pool(
        num_tokens=np.array([one.num_tokens for one in each]),
        scores=np.array([AGGREGATORS[tools.aggregation](scores[one]) if one else -1.0 for one in steps]),
        is_correct=np.array([tools.answers.is_right(case, answer) is True for answer in answers]),
        answers=[normalise_answer(answer) for answer in answers],
    )


def report(folder: Path, outcomes: Sequence[Outcome], journal: Journal, num_cases: int, config: SearchConfig) -> None:
    """Files, and the table on the terminal."""
    with replaced_file(folder / "searched.jsonl") as draft:
        draft.write_text("".join(json.dumps(as_row(one), ensure_ascii=False) + "\n" for one in outcomes), "utf-8")
    numbers = search_numbers(outcomes, config.num_bootstrap, config.seed) | {"settings": asdict(config.search)}
    if config.data.path is None:
        numbers["notes"]["data"] = PHANTOM_NOTE
    with replaced_file(folder / "search.json") as draft:
        draft.write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", "utf-8")
    work = Work(num_cases, len(outcomes), sum(one.num_scored for one in outcomes), 0, 0)
    write_ledger(folder, make_ledger([journal], work, ExpertSettings(), {"date": config.prices.date}), [journal])
    print(search_table(numbers))
    print(f"numbers: {folder / 'search.json'}\nledger:  {folder / 'ledger.json'}")


if __name__ == "__main__":
    from medprm import import_last

    CHECKOUT = Path(__file__).resolve().parents[2]
    import_last(CHECKOUT)

    from medprm.commands.entry import main

    main("search", CHECKOUT / "conf")
