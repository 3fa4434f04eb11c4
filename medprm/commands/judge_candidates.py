"""`python -m medprm.commands.judge_candidates FOLDER --url URL --model NAME`: rate the candidates of an evaluation.

In: the folder of an evaluation (scored.jsonl, config.yaml), an OpenAI-compatible server. Out, in the folder:
judge_ratings.jsonl, judge_journal.sqlite (what was bought is not bought again), judge_ledger/. Then
`python -m medprm.commands.report FOLDER` puts the judge beside the other selectors. Where cases may go is in the
`guard` of the evaluation's settings: by default the phantom alone may leave this machine.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from medprm.annotation.ledger import Work, make_ledger, write_ledger
from medprm.annotation.settings import ExpertSettings, JudgeSettings
from medprm.cases.png_files import png_files
from medprm.cases.schema import Case
from medprm.clients.chat import Unanswered
from medprm.clients.guard import Guard, zone_of
from medprm.clients.journal import Journal
from medprm.clients.limits import BudgetSpent
from medprm.clients.openai_http import OpenAIClient
from medprm.clients.settings import ModelPrice, PriceSettings, ServerSettings
from medprm.commands.evaluate import REPORT_IMAGE_PIXELS
from medprm.commands.report import Evaluated, open_evaluated
from medprm.errors import InputError
from medprm.evaluation.judge_selector import JudgeSelector, Rated, write_ratings
from medprm.evaluation.scored import ScoredSolution, group_by_case

RATINGS_FILE = "judge_ratings.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        rate(given)
    except (InputError, BudgetSpent) as error:
        print(f"judge_candidates: {error}", file=sys.stderr)
        return 2
    except Unanswered as error:
        print(f"judge_candidates: no answer from {error}; started again it goes on", file=sys.stderr)
        return 2
    return 0


def rate(given: argparse.Namespace) -> None:
    """Every test candidate once; the ledger says what it cost."""
    evaluated = open_evaluated(given.folder, None)
    if evaluated.cases is None:
        raise InputError(f"{given.folder}: its records cannot be opened ({evaluated.why}); a judge needs the cases")
    assert evaluated.image_root is not None, "it is known where the cases are"
    guard = Guard(evaluated.guard, evaluated.image_root)
    prices = PriceSettings(models={given.model: ModelPrice(given.input_price, given.output_price)})
    server = ServerSettings([given.url], given.model, given.key_env, given.concurrency)
    is_paid = zone_of(given.url, evaluated.guard.site_hosts) == "outside"
    with Journal(given.folder / "judge_journal.sqlite", is_paid) as journal:
        client = OpenAIClient(server, prices, guard, journal, given.budget_dollars)
        images = partial(png_files, root=evaluated.image_root, max_side=REPORT_IMAGE_PIXELS)
        selector = JudgeSelector(client, JudgeSettings(kind="server"), images)
        rated = list(_rate_all(selector, evaluated, given.concurrency))
        write_ratings(given.folder / RATINGS_FILE, rated)
        work = Work(len({one.case_id for one in rated}), len(rated), 0, 0, 0)
        folder = given.folder / "judge_ledger"
        folder.mkdir(exist_ok=True)
        write_ledger(folder, make_ledger([journal], work, ExpertSettings(), {}), [journal])
        print(f"{len(rated)} candidates rated for ${journal.spent():.4f}: {given.folder / RATINGS_FILE}")
    if missing := Counter(one.reason for one in rated if one.rating is None):
        print(f"without a rating, and last of all: {json.dumps(dict(missing))}")


def _rate_all(selector: JudgeSelector, evaluated: Evaluated, num_at_a_time: int) -> list[Rated]:
    groups = list(group_by_case(evaluated.test).values())
    with ThreadPoolExecutor(num_at_a_time) as pool:
        done = pool.map(partial(_rate_case, selector, evaluated.cases or {}), groups)
        return [one for rated in tqdm(done, total=len(groups), desc="judging", unit=" cases") for one in rated]


def _rate_case(selector: JudgeSelector, cases: dict[str, Case], group: Sequence[ScoredSolution]) -> list[Rated]:
    return selector.rate(cases[group[0].case_id], [(one.solution_id, one.step_texts) for one in group])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.judge_candidates", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="the folder of an evaluation, with scored.jsonl")
    parser.add_argument("--url", required=True, help="address up to and with the version: http://127.0.0.1:8000/v1")
    parser.add_argument("--model", required=True, help="the model that is asked for")
    parser.add_argument("--key-env", help="name of the environment variable with the server's key")
    parser.add_argument("--concurrency", type=int, default=8, help="requests under way (8)")
    parser.add_argument("--input-price", type=float, default=0.0, help="dollars a million tokens read")
    parser.add_argument("--output-price", type=float, default=0.0, help="dollars a million tokens written")
    parser.add_argument("--budget-dollars", type=float, help="stop before more than this is spent")
    return parser


if __name__ == "__main__":
    sys.exit(main())
