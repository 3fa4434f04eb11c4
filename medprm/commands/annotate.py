"""`annotate`: cases with solutions to labelled records, a queue for the experts, a ledger and a report.

In: AnnotateConfig. Out, in one folder: labelled.jsonl (the records), expert_queue.jsonl, ledger.json,
labels_report.json and .html, journal.sqlite (what was bought or computed), retrieved.sqlite (what was found),
config.yaml, run.json. A run that was stopped at any instant goes on with resume=true to the same bytes.
"""

import json
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from medprm.annotation.answer_judge import ServerAnswerJudge
from medprm.annotation.estimate import estimate_run
from medprm.annotation.expert_queue import StepKey, queued_steps, write_queue
from medprm.annotation.expert_stage import read_truth, review
from medprm.annotation.first_error import measure_solutions
from medprm.annotation.judging import Judge
from medprm.annotation.labels_report import Measured, make_report, write_report
from medprm.annotation.ledger import Work, make_ledger, write_ledger
from medprm.annotation.local_policy import LocalPolicy
from medprm.annotation.records import Making, as_record, with_experts, with_outcome
from medprm.annotation.retrieval import EvidenceFinder, open_evidence
from medprm.annotation.rollouts import Policy, StepPrefix
from medprm.annotation.rule_judge import RuleJudge
from medprm.annotation.server_judge import ServerJudge
from medprm.annotation.server_policy import ServerPolicy
from medprm.cases.answers import AnswerMatcher
from medprm.cases.folder import open_data
from medprm.cases.jsonl import read_cases, read_records, write_records
from medprm.cases.schema import Case, CaseSolutions, JudgeVerdict, Record, Solution
from medprm.clients.guard import Guard, zone_of
from medprm.clients.journal import Journal
from medprm.clients.limits import BudgetSpent
from medprm.clients.openai_http import OpenAIClient
from medprm.clients.prices import PriceList
from medprm.clients.settings import ModelPrice
from medprm.commands.data_source import PHANTOM_NOTE
from medprm.commands.phantom import ensure_phantom
from medprm.config import AnnotateConfig
from medprm.images.files import resolve_image
from medprm.images.load import load_image, to_png_bytes
from medprm.model.tiny import shipped_base
from medprm.run import (
    CONFIG_FILE,
    RunStopped,
    check_same_config,
    num_cores_of_a_process,
    prepare_run_folder,
    provenance,
    save_config,
    save_run,
    set_seed_and_threads,
    start_log,
)

logger = logging.getLogger(__name__)

WAYS_OUT = "resume=true goes on with it, overwrite=true deletes it, run_name=NAME starts another"
MACHINE_FILE = "machine.jsonl"
FOUND_FILE = "retrieved.sqlite"
# What may differ when a run goes on: where it runs, how fast, what it may cost, and who has reviewed since.
FREE_ON_RESUME = (
    *("resume", "overwrite", "output_dir", "run_name", "num_threads", "budget_dollars", "expert", "num_bootstrap"),
    "monte_carlo.num_processes",
    *("judge_server.concurrency", "judge_server.base_urls", "policy_server.concurrency", "policy_server.base_urls"),
)


class Source(NamedTuple):
    """Where the cases are, where their images start, where the passages are, and the truth if it is a phantom's."""

    cases: Path
    image_root: Path
    collections: Mapping[str, str]
    truth: Path | None


class Annotators(NamedTuple):
    """Who labels."""

    evidence: EvidenceFinder
    judge: Judge
    policy: Policy
    answers: AnswerMatcher


def run(config: AnnotateConfig) -> Path:
    """Annotate as the settings say; returns the folder of the results."""
    source = open_source(config)
    cases = read_cases(source.cases, require_steps=True)[: config.max_cases]
    kinds = AnswerMatcher(config.answers).check(item.case for item in cases)
    if config.estimate:
        print(json.dumps(estimate(cases, config), indent=2))
        return Path(config.output_dir)
    folder = begin(config)
    save_run(folder, cases=str(source.cases), num_cases=len(cases), date=config.date, answers=kinds)
    logger.info("answers: %s", ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    with ExitStack() as open_things:
        journal = open_things.enter_context(Journal(folder / "journal.sqlite", is_paid=is_paid(config)))
        annotators = make_annotators(config, source, journal, open_things)
        open_things.callback(annotators.evidence.close)
        records = tqdm(machine_records(cases, annotators, config), desc="annotate", unit=" solutions")
        try:
            num_records = write_records(folder / MACHINE_FILE, records)
        except BudgetSpent as stop:
            raise RunStopped(f"budget_dollars={config.budget_dollars}: {stop}") from None
        annotators.evidence.say_sums()
        logger.info("%d solutions of %d cases have the machines' verdicts", num_records, len(cases))
        truth = read_truth(source.truth) if source.truth else {}
        steps = [one for record in read_records(folder / MACHINE_FILE) for one in queued_steps(record)]
        measured, queue = review(steps, config.expert, truth, config.seed)
        work = finish(folder, measured, queue, config)
        prices = asdict(config.prices) | {"dollars_per_compute_hour": config.dollars_per_compute_hour}
        write_ledger(folder / "ledger.json", make_ledger(journal, work, config.expert, prices))
    write_report(
        folder,
        make_report(measured, config.num_bootstrap),
        f"labels: {config.data.name}",
        [PHANTOM_NOTE] if source.truth else [],
    )
    say(folder)
    return folder


def begin(config: AnnotateConfig) -> Path:
    """The folder of the results, log, seeds and threads."""
    folder = Path(config.output_dir)
    prepare_run_folder(folder, config.resume, config.overwrite, WAYS_OUT)
    if config.resume and (folder / CONFIG_FILE).is_file():
        check_same_config(folder, config, FREE_ON_RESUME)
    start_log(folder)
    transformers_logging.disable_progress_bar()
    save_config(folder, config)
    save_run(folder, **provenance())
    set_seed_and_threads(config.seed, config.num_threads)
    return folder


def open_source(config: AnnotateConfig) -> Source:
    """The file that was named, or the phantom's unlabelled candidates."""
    given = dict(config.retrieval.collections)
    if config.cases is not None:
        path = Path(config.cases)
        return Source(path, Path(config.image_root or path.parent), given, None)
    if config.data.path is not None:
        data = open_data(config.data.path)
        return Source(data.file("train"), data.image_root, given, None)
    folder = ensure_phantom(Path(config.output_dir).parent, config.data.phantom, config.data.annotators)
    collections = given or {"guidelines": str(folder / "guidelines.jsonl")}
    return Source(folder / "candidates.jsonl", folder, collections, folder / "truth.jsonl")


def estimate(cases: Sequence[CaseSolutions], config: AnnotateConfig) -> dict[str, Any]:
    """What the run would cost at most; a server without a price here is taken to be ours."""
    prices = PriceList(config.prices, is_free=False)
    judge, policy = (prices.price(one.model) or ModelPrice() for one in (config.judge_server, config.policy_server))
    settings = (config.retrieval, config.judge, config.monte_carlo, config.expert, config.answers)
    return estimate_run(cases, *settings, judge, policy)


def make_annotators(config: AnnotateConfig, source: Source, journal: Journal, open_things: ExitStack) -> Annotators:
    """Index, judge and policy, as the settings name them."""
    guard = Guard(config.guard, source.image_root)
    evidence = make_evidence(config, source)
    judge, answers = make_judges(config, source, guard, journal)
    if config.monte_carlo.policy == "server":
        return Annotators(evidence, judge, make_server_policy(config, source, guard, journal), answers)
    num_processes = num_sampling_processes(config)
    policy = LocalPolicy(shipped_base(), source.image_root, config.monte_carlo, journal, config.seed, num_processes)
    return Annotators(evidence, judge, open_things.enter_context(policy), answers)


def make_evidence(config: AnnotateConfig, source: Source) -> EvidenceFinder:
    """Indexes are shared by the runs beside this one; what was found is the run's own."""
    folder = Path(config.output_dir)
    return open_evidence(config.retrieval, source.collections, folder.parent / "indexes", folder / FOUND_FILE)


def is_paid(config: AnnotateConfig) -> bool:
    """Whether a server stands outside this site."""
    urls = [*config.judge_server.base_urls, *config.policy_server.base_urls]
    return any(zone_of(url, config.guard.site_hosts) == "outside" for url in urls)


def make_judges(config: AnnotateConfig, source: Source, guard: Guard, journal: Journal) -> tuple[Judge, AnswerMatcher]:
    """The judge of steps, and whoever compares answers; a server serves both within the limits of one client."""
    if config.judge.kind == "rule":
        return RuleJudge(config.judge.unseen), AnswerMatcher(config.answers)  # type: ignore[arg-type]
    client = OpenAIClient(config.judge_server, config.prices, guard, journal, config.budget_dollars)
    judge = ServerJudge(client, config.judge, image_files(source, config.judge.max_image_pixels))
    by_judge = ServerAnswerJudge(client, config.judge) if config.answers.open == "judge" else None
    return judge, AnswerMatcher(config.answers, by_judge)


def make_server_policy(config: AnnotateConfig, source: Source, guard: Guard, journal: Journal) -> Policy:
    client = OpenAIClient(config.policy_server, config.prices, guard, journal, config.budget_dollars)
    images = image_files(source, config.judge.max_image_pixels)
    return ServerPolicy(client, config.monte_carlo, images, config.seed, config.answers.kind)


def num_sampling_processes(config: AnnotateConfig) -> int:
    return config.monte_carlo.num_processes or min(8, num_cores_of_a_process())


def image_files(source: Source, max_pixels: int) -> Callable[[Case], list[bytes]]:
    """A case's images as PNG files in memory: decoded pixels, without a header."""

    def read(case: Case) -> list[bytes]:
        files = [(resolve_image(source.image_root, image.path), image.frame) for image in case.all_images]
        return [to_png_bytes(load_image(path, frame=frame), max_pixels) for path, frame in files]

    return read


def machine_records(cases: Sequence[CaseSolutions], annotators: Annotators, config: AnnotateConfig) -> Iterator[Record]:
    """Case by case, each solution with the machines' verdicts and the labels that follow from them.

    Several cases are under way at a time, as servers or processes allow; the records keep the order of the cases.
    """
    num_threads = max(
        config.judge_server.concurrency * (config.judge.kind == "server"),
        config.policy_server.concurrency if config.monte_carlo.policy == "server" else num_sampling_processes(config),
    )
    with ThreadPoolExecutor(num_threads) as pool:
        under_way: deque[Future[list[Record]]] = deque()
        try:
            for item in cases:
                under_way.append(pool.submit(annotate_case, item, annotators, config))
                if len(under_way) >= 2 * num_threads:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        finally:
            for one in under_way:
                one.cancel()


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


def making(config: AnnotateConfig) -> Making:
    """What the records are made by."""
    return Making(config.consensus, config.monte_carlo.num_rollouts, config.date)


def judge_solution(item: CaseSolutions, solution: Solution, annotators: Annotators) -> list[JudgeVerdict]:
    """The judge's verdicts, by the case's own documents and what is found for its steps."""
    assert solution.solution_id is not None
    passages = annotators.evidence.for_solution(item.case, solution.solution_id, solution.step_texts)
    said = annotators.judge.judge(item.case, solution.solution_id, solution.step_texts, passages)
    return said.verdicts


def finish(folder: Path, measured: Measured, queue: Mapping[StepKey, float], config: AnnotateConfig) -> Work:
    """labelled.jsonl and expert_queue.jsonl; returns what was done."""
    write_queue(folder / "expert_queue.jsonl", read_records(folder / MACHINE_FILE), queue)
    counts: Counter[str] = Counter()

    def labelled() -> Iterator[Record]:
        cases = set()
        for record in read_records(folder / MACHINE_FILE):
            record = with_experts(record, measured.experts, making(config))
            cases.add(record.case_id)
            counts.update(solutions=1, steps=len(record.solution_steps))
            counts.update(labels=sum(label != "unknown" for label in record.labels))
            yield record
        counts["cases"] = len(cases)

    write_records(folder / "labelled.jsonl", labelled())
    reviewed = len(measured.experts)
    return Work(counts["cases"], counts["solutions"], counts["steps"], counts["labels"], reviewed)


def say(folder: Path) -> None:
    """The few numbers to read first."""
    report = json.loads((folder / "labels_report.json").read_text())
    ledger = json.loads((folder / "ledger.json").read_text())
    for name, row in report["sources"].items():
        cells = [f"{key} {_interval(row[key])}" for key in ("coverage", "accuracy") if key in row]
        print(f"{name:24} {'  '.join(cells)}")
    total, by_experts = ledger["total_dollars"], ledger["experts"]["dollars"]
    per_cases = ledger["dollars_per_10000_cases"]
    print(f"${total:.2f}, of which experts ${by_experts:.2f}; ${per_cases:,.0f} per 10,000 cases")
    for title, name in (
        ("labels", "labelled.jsonl"),
        ("queue", "expert_queue.jsonl"),
        ("report", "labels_report.html"),
    ):
        print(f"{title + ':':8}{folder / name}")


def _interval(one: Mapping[str, Any]) -> str:
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
