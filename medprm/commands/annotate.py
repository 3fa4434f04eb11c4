"""`annotate`: cases to labelled records, a queue for the experts, a ledger and a report.

In: AnnotateConfig. Out, in one folder: candidates.jsonl (where solutions were made), machine.jsonl (the machines'
verdicts), labelled.jsonl (with those of the experts), training.jsonl and filters.json (where filters are set),
expert_queue.jsonl, ledger.json, labels_report.json and .html, gates.json (of a project's stage), journal.sqlite (what
was bought or computed), retrieved.sqlite (what was found), config.yaml, run.json. A run that was stopped at any instant
goes on with resume=true to the same bytes.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from medprm.annotation.estimate import Planned, estimate_run
from medprm.annotation.expert_queue import StepKey, queued_steps, write_queue
from medprm.annotation.expert_stage import fitted_chances, read_truth, review
from medprm.annotation.gates import Facts, check_previous, gates_of, write_gates
from medprm.annotation.judge_counts import JudgeCounts
from medprm.annotation.labels_cost import cost_of
from medprm.annotation.labels_report import Measured, make_report, write_report
from medprm.annotation.ledger import Work, make_ledger, write_ledger
from medprm.annotation.passages import Passage
from medprm.annotation.records import with_experts
from medprm.cases.answers import AnswerMatcher
from medprm.cases.jsonl import read_cases, read_records, write_cases, write_records
from medprm.cases.schema import CaseSolutions, Label, Record
from medprm.cases.stored import scan_cases
from medprm.clients.chat import Unanswered
from medprm.clients.journal import Journal
from medprm.clients.limits import BudgetSpent
from medprm.clients.prices import PriceList
from medprm.clients.settings import ModelPrice
from medprm.commands.annotate_cases import machine_records, making, with_solutions
from medprm.commands.annotate_filters import save_counts, usable_cases, usable_solutions, write_training
from medprm.commands.annotate_shards import cases_of_shard, merged_records, run_folder, shard_folders
from medprm.commands.annotators import (
    Source,
    check_annotators,
    check_keys,
    is_paid,
    make_annotators,
    make_evidence,
    make_judges,
    make_makers,
    num_at_a_time,
    open_source,
    workshop_of,
)
from medprm.commands.data_source import PHANTOM_NOTE
from medprm.config import AnnotateConfig
from medprm.run import RunStopped, begin_run, save_run

logger = logging.getLogger(__name__)

WAYS_OUT = "resume=true goes on with it, overwrite=true deletes it, run_name=NAME starts another"
CANDIDATES_FILE, MACHINE_FILE, LABELLED_FILE = "candidates.jsonl", "machine.jsonl", "labelled.jsonl"
JOURNAL_FILE = "journal.sqlite"
# What may differ when a run goes on: where it runs, how fast, what it may cost, and who has reviewed since.
FREE_ON_RESUME = (
    *("resume", "overwrite", "output_dir", "run_name", "num_threads", "budget_dollars", "expert", "num_bootstrap"),
    *("stages", "stage", "monte_carlo.num_processes", "answers.findings_python", "answers.findings_timeout_seconds"),
    *("judge_server.concurrency", "judge_server.base_urls", "policy_server.concurrency", "policy_server.base_urls"),
)


class Counted(NamedTuple):
    """What is in labelled.jsonl."""

    work: Work
    num_modalities: int
    readable_share: float | None
    judged: JudgeCounts
    labels: list[Label]  # of all steps, in order


def run(config: AnnotateConfig) -> Path:
    """Annotate as the settings say; returns the folder of the results."""
    check_previous(config.stage)
    if not config.estimate and not config.merge_shards:
        check_keys(config)
    source = open_source(config)
    usable = usable_cases(open_cases(source, config)[: config.max_cases], source, config)
    check_annotators(usable.cases, source, config)
    cases = cases_of_shard(usable.cases, config)
    kinds = AnswerMatcher(config.answers).check(item.case for item in cases)
    if config.estimate:
        print(json.dumps(estimate(cases, config), indent=2))
        return Path(config.output_dir)
    in_shards = MACHINE_FILE if "machines" in config.stages else CANDIDATES_FILE
    shards = shard_folders(config, in_shards, FREE_ON_RESUME) if config.merge_shards else []
    folder = begin_run(run_folder(config), config, WAYS_OUT, FREE_ON_RESUME)
    save_counts(folder, usable.counts)
    save_run(folder, cases=str(source.cases), num_cases=len(cases), date=config.date, answers=kinds)
    logger.info("answers: %s", ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    with ExitStack() as opened:
        if shards:
            write_records(folder / in_shards, merged_records(shards, cases, in_shards))
            logger.info("%d shards put together", len(shards))
            journals = [opened.enter_context(Journal(one / JOURNAL_FILE, is_paid=is_paid(config))) for one in shards]
        else:
            journals = [opened.enter_context(Journal(folder / JOURNAL_FILE, is_paid=is_paid(config)))]
            ask_machines(folder, cases, source, journals[0], config)
        if "experts" in config.stages and config.shard is None:
            ask_experts(folder, source, journals, config)
            say(folder)
        else:
            print(f"done so far: {', '.join(config.stages)}: {folder}")
    return folder


def open_cases(source: Source, config: AnnotateConfig) -> Sequence[CaseSolutions]:
    """The cases, which stay in their file; the filters compare them with each other, and Parquet has no lines."""
    if config.filters.given or source.cases.suffix == ".parquet":
        return read_cases(source.cases)
    return scan_cases(source.cases, require_steps=False)


def estimate(cases: Sequence[CaseSolutions], config: AnnotateConfig) -> dict[str, Any]:
    """What the run would cost at most; a server without a price here is taken to be ours."""
    prices = PriceList(config.prices, is_free=False)
    judge, policy = (prices.price(one.model) or ModelPrice() for one in (config.judge_server, config.policy_server))
    makers = [prices.price(one.model) or ModelPrice() for one in config.solution_servers.values()] or [policy]
    settings = (config.retrieval, config.judge, config.monte_carlo, config.consensus, config.expert, config.answers)
    return estimate_run(cases, Planned(*settings, config.solutions, judge, policy, makers))


def ask_machines(
    folder: Path, cases: Sequence[CaseSolutions], source: Source, journal: Journal, config: AnnotateConfig
) -> None:
    """Solutions where there are none, then the verdicts of judge and rollouts: candidates.jsonl, machine.jsonl."""
    try:
        if any(not item.solutions for item in cases):
            cases = usable_solutions(folder, make_candidates(folder, cases, source, journal, config), config)
        if "machines" in config.stages:
            label_by_machines(folder, cases, source, journal, config)
    except BudgetSpent as stop:
        raise RunStopped(f"budget_dollars={config.budget_dollars}: {stop}") from None
    except Unanswered as stop:
        raise RunStopped(f"no answer from {stop}") from None


def make_candidates(
    folder: Path, cases: Sequence[CaseSolutions], source: Source, journal: Journal, config: AnnotateConfig
) -> Sequence[CaseSolutions]:
    """candidates.jsonl: every case with solutions."""
    with ExitStack() as opened:
        shop = workshop_of(config, source, folder, journal, opened)
        _, answers = make_judges(shop)
        made = with_solutions(cases, make_makers(shop), answers, config, num_at_a_time(config))
        write_cases(folder / CANDIDATES_FILE, tqdm(made, desc="solve", unit=" cases", total=len(cases)))
    return scan_cases(folder / CANDIDATES_FILE)


def label_by_machines(
    folder: Path, cases: Sequence[CaseSolutions], source: Source, journal: Journal, config: AnnotateConfig
) -> None:
    """machine.jsonl: every solution with the verdicts of judge and rollouts."""
    with ExitStack() as opened:
        annotators = make_annotators(workshop_of(config, source, folder, journal, opened), source)
        judged = JudgeCounts()
        records = judged.passing(machine_records(cases, annotators, config, num_at_a_time(config)))
        total = sum(len(item.solutions) for item in cases)
        num = write_records(folder / MACHINE_FILE, tqdm(records, desc="annotate", unit=" solutions", total=total))
        annotators.evidence.say_sums()
        judged.say()
    logger.info("%d solutions of %d cases have the machines' verdicts", num, len(cases))


def ask_experts(folder: Path, source: Source, journals: Sequence[Journal], config: AnnotateConfig) -> None:
    """The queue, what experts have said, the labels that follow, and what it cost; report and gates."""
    truth = read_truth(source.truth) if source.truth else {}
    steps = [one for record in read_records(folder / MACHINE_FILE) for one in queued_steps(record)]
    measured, queue = review(steps, config.expert, truth, config.seed)
    chances = fitted_chances(measured, config.consensus)
    write_experts_queue(folder, source, queue, config)
    counted = write_labelled(folder, measured, chances, config)
    measured = measured._replace(labelled=counted.labels)
    write_training(folder, folder / LABELLED_FILE, config)
    prices = asdict(config.prices) | {"dollars_per_compute_hour": config.dollars_per_compute_hour}
    ledger = make_ledger(journals, counted.work, config.expert, prices)
    write_ledger(folder, ledger, journals)
    report = make_report(measured, config.num_bootstrap) | {"judging": counted.judged.as_json()}
    report["cost"] = cost_of(measured, journals, ledger, config.expert, config.num_bootstrap)
    notes = [PHANTOM_NOTE] if source.truth else []
    write_report(folder, report, f"labels: {config.data.name}", notes)
    if config.stage.name != "none":
        pass_gates(folder, facts_of(report, ledger, counted, measured), config)


def write_experts_queue(folder: Path, source: Source, queue: Mapping[StepKey, float], config: AnnotateConfig) -> None:
    """expert_queue.jsonl: each step with the passages that the judge was shown."""
    evidence = make_evidence(config, source, folder)

    def shown(record: Record) -> list[Passage]:
        assert record.solution_id is not None
        return evidence.for_solution(record.case(), record.solution_id, record.step_texts)

    try:
        write_queue(folder / "expert_queue.jsonl", read_records(folder / MACHINE_FILE), queue, shown)
    finally:
        evidence.close()


def write_labelled(
    folder: Path, measured: Measured, chances: Mapping[StepKey, float] | None, config: AnnotateConfig
) -> Counted:
    """labelled.jsonl; returns what is in it."""
    counts: Counter[str] = Counter()
    seen: dict[str, set[str]] = {"cases": set(), "modalities": set()}
    judged = JudgeCounts()
    labels: list[Label] = []

    def labelled() -> Iterator[Record]:
        for record in judged.passing(read_records(folder / MACHINE_FILE)):
            record = with_experts(record, measured.experts, making(config), chances)
            seen["cases"].add(record.case_id)
            seen["modalities"].add(record.modality)
            runs = [run for step in record.solution_steps if step.sources for run in step.sources.monte_carlo]
            counts.update(solutions=1, steps=len(record.solution_steps))
            counts.update(labels=sum(label != "unknown" for label in record.labels))
            labels.extend(record.labels)
            counts.update(rollouts=sum(run.num_total for run in runs))
            counts.update(readable=sum(run.num_correct + run.num_wrong for run in runs))
            yield record

    write_records(folder / LABELLED_FILE, labelled())
    reviews = [one for said in measured.experts.values() for one in said]
    seconds = [one.seconds for one in reviews if one.seconds is not None]
    made = (len(seen["cases"]), counts["solutions"], counts["steps"], counts["labels"])
    work = Work(*made, len(reviews), len(seconds), sum(seconds))
    readable = counts["readable"] / counts["rollouts"] if counts["rollouts"] else None
    return Counted(work, len(seen["modalities"]), readable, judged, labels)


def facts_of(report: Mapping[str, Any], ledger: Mapping[str, Any], counted: Counted, measured: Measured) -> Facts:
    """What the gates of a stage look at."""
    kappas = [pair["kappa"]["value"] for pair in report["experts_together"]["pairs"].values() if "kappa" in pair]
    against_truth = report["sources"]["hybrid_after_experts"].get("accuracy")
    against_experts = report["pilot"]["agreement"]["machines, expert"].get("raw_agreement")
    accuracy = against_truth or against_experts
    return Facts(
        num_cases=counted.work.num_cases,
        num_modalities=counted.num_modalities,
        num_experts=len({one.expert_id for said in measured.experts.values() for one in said}),
        lowest_kappa=min(kappas, default=None),
        label_accuracy=accuracy["value"] if accuracy else None,
        judge_coverage=report["sources"]["judge"]["coverage"]["value"],
        readable_share=counted.readable_share,
        dollars_per_10000_cases=ledger["dollars_per_10000_cases"] or 0.0,
    )


def pass_gates(folder: Path, facts: Facts, config: AnnotateConfig) -> None:
    """gates.json, and a line a gate."""
    gates = gates_of(config.stage, facts)
    write_gates(folder, config.stage.name, gates)
    for one in gates:
        print(f"{'passed' if one.is_passed else 'SHUT  '}  {one}")


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
    for title, name in (("labels", LABELLED_FILE), ("queue", "expert_queue.jsonl"), ("report", "labels_report.html")):
        print(f"{title + ':':8}{folder / name}")


def _interval(one: Mapping[str, Any]) -> str:
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
