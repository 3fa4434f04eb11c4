"""`evaluate`: a trained PRM and labelled cases to numbers, a table and a report.

In: EvaluateConfig. Out, in one folder: scored.jsonl, metrics.json, report.html, config.yaml, run.json, and rows/, the
scores as they came, from which an interrupted run goes on (resume=true). Threshold and aggregation come from the
validation split; every reported number is of the test split. Under torchrun the processes share the rows.
"""

import hashlib
import json
import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medprm.cases.folder import DataFolder
from medprm.cases.png_files import png_files
from medprm.cases.schema import Case, CaseSolutions
from medprm.clients.guard import Guard
from medprm.clients.uploads import Uploads
from medprm.commands.data_source import PHANTOM_NOTE, describe_source, open_source, read_splits
from medprm.commands.score_split import score_split
from medprm.commands.scorers import find_checkpoint, load_scorer
from medprm.config import EvaluateConfig
from medprm.errors import InputError
from medprm.evaluation.calibration import fit_all
from medprm.evaluation.metrics import evaluate_scored
from medprm.evaluation.report import About, Shown, versions_of, write_report
from medprm.evaluation.results import scores_of_orm, write_results
from medprm.evaluation.scored import ScoredSolution, write_scored
from medprm.evaluation.steps import judged_steps
from medprm.evaluation.table import format_table
from medprm.evaluation.tables import number_tables
from medprm.run import (
    begin_run,
    is_first_process,
    joined_processes,
    num_cores_of_a_process,
    num_processes,
    process_rank,
    read_run,
    save_run,
)
from medprm.scoring.calibration import FILE_NAME as CALIBRATION_FILE
from medprm.scoring.calibration import save_calibration
from medprm.scoring.engine import Share
from medprm.scoring.kept_rows import RowFile
from medprm.tracking import start_tracking, tracker_url

logger = logging.getLogger(__name__)

SPLITS = ("validation", "test")
WAYS_OUT = "resume=true goes on with it, overwrite=true deletes it, name=NAME writes beside it"
# What may differ when scoring goes on: it changes no score, or is done anew each time.
FREE_ON_RESUME = (
    *("resume", "overwrite", "output_dir", "run_name", "num_threads", "tracking", "evaluation", "tiles"),
    *("orm", "save_calibration"),
    "scoring.num_workers",
)
REPORT_IMAGE_PIXELS = 640  # longest side of an image in the report, which holds all of them in one file
# What a record holds of each input that can be permuted.
FIELDS = {"images": ("image", "images"), "context": ("clinical_context",), "documents": ("documents",)}


def run(config: EvaluateConfig) -> Path:
    """Evaluate as the settings say; returns the folder of the results. Several processes share the scoring."""
    with joined_processes() as meet:
        checkpoint = find_checkpoint(config)
        if config.orm is not None and not Path(config.orm).is_file():
            raise InputError(f"orm={config.orm}: no such file; expected the scored.jsonl of a run with labels=outcome")
        results = Path(config.output_dir) / result_name(config)
        folder = begin_run(results, config, WAYS_OUT, FREE_ON_RESUME, meet)
        data = open_data_together(config, meet)
        splits = limit(read_splits(data), config.max_cases)
        test = splits.get("test") or data.split("test")
        if config.permute:
            test = permute_input(test, config.permute, config.seed)
        source = describe_source(data, splits)
        save_run(folder, checkpoint=str(checkpoint), data=source)
        scorer = load_scorer(checkpoint, config.scoring, config.tiles, config.blank)
        scored_in = {"device": scorer.device.type, "dtype": str(scorer.model.dtype).removeprefix("torch.")}
        save_run(folder, scored_in=scored_in)
        named, share = identity(checkpoint, source["hash"], scored_in, config), Share(process_rank(), num_processes())

        def score(cases: Sequence[CaseSolutions], split: str) -> list[ScoredSolution]:
            kept = RowFile(folder / "rows" / split, f"{split} {named}", share.rank)
            workers = num_workers(config, scorer.device)
            return score_split(
                scorer, cases, split, data.image_root, kept=kept, share=share, num_workers=workers, meet=meet
            )

        validation_scores, test_scores = score(splits.get("validation", []), "validation"), score(test, "test")
    if is_first_process():
        look = look_command(folder, data)
        report(config, folder, checkpoint, validation_scores, test_scores, test, data.image_root, look)
    return folder


def report(
    config: EvaluateConfig,
    folder: Path,
    checkpoint: str,
    validation_scores: Sequence[ScoredSolution],
    test_scores: Sequence[ScoredSolution],
    test: Sequence[CaseSolutions],
    image_root: Path,
    look_command: str,
) -> None:
    """Scores to numbers, table and page."""
    write_scored(folder / "scored.jsonl", [*validation_scores, *test_scores])
    logger.info("resampling %d times for the intervals", config.evaluation.num_bootstrap)
    others = {} if config.orm is None else {"orm": scores_of_orm(Path(config.orm))}
    metrics = evaluate_scored(validation_scores, test_scores, config.evaluation, others)
    notes = report_notes(config)
    save_run(folder, report_notes=notes)  # for the page that is made again without the model
    keep_calibration(config, checkpoint, validation_scores)
    cases = {item.case.case_id: item.case for item in test}
    title, versions = f"{config.data.name}: {checkpoint}", versions_of(read_run(folder))
    about = About(title, notes, config.evaluation, versions, look_command)
    card = Path(checkpoint) / "README.md"
    write_results(
        *(folder, metrics, test_scores, others, about, Shown(cases, image_reader(cases, image_root))),
        *(card if card.is_file() else None, config.data.name),
    )
    track(config, folder, metrics, test_scores, test)
    print(format_table(metrics))
    print(f"scores:  {folder / 'scored.jsonl'}\nnumbers: {folder / 'metrics.json'}\nreport:  {folder / 'report.html'}")


def keep_calibration(config: EvaluateConfig, checkpoint: str, validation: Sequence[ScoredSolution]) -> None:
    """calibration.json beside the weights, where asked for."""
    if config.save_calibration is None:
        return
    fitted = fit_all(judged_steps(validation)).get(config.save_calibration)
    if fitted is None:
        raise InputError(
            f"save_calibration={config.save_calibration}: too few validation steps are judged, or all alike, to "
            "fit it; leave it out"
        )
    logger.info("%s is kept with the checkpoint: %s", config.save_calibration, save_calibration(checkpoint, fitted))


def look_command(folder: Path, data: DataFolder) -> str:
    """How to look through the scored cases in the review application."""
    settings = {
        "run_name": f"look_at_{folder.parent.name}_{folder.name}",
        "data.path": data.file("test"),
        "data.image_root": data.image_root,
        "data.scored": folder / "scored.jsonl",
        "rules.steps": "all",
        "rules.show_truth_early": "true",
    }
    return shlex.join(["python", "-m", "medprm.review", *(f"{name}={value}" for name, value in settings.items())])


def open_data_together(config: EvaluateConfig, meet: Callable[[], None]) -> DataFolder:
    """The data, drawn by the first process alone where it is the phantom."""
    if is_first_process():
        open_source(config.data, Path(config.output_dir).parent)
    meet()
    return open_source(config.data, Path(config.output_dir).parent)


def num_workers(config: EvaluateConfig, device: torch.device) -> int:
    """Processes that read ahead: as many as are asked for, else some beside a GPU and none on a CPU, which is busy."""
    if config.scoring.num_workers is not None:
        return config.scoring.num_workers
    return 0 if device.type == "cpu" else min(8, num_cores_of_a_process())


def identity(checkpoint: str, data_hash: str, scored_in: Mapping[str, str], config: EvaluateConfig) -> str:
    """What scores depend on beside the settings that a run must go on with: the checkpoint's files, data, precision."""
    digest = hashlib.sha256(f"{data_hash} {config.permute} {config.seed} {config.blank} {config.max_cases}".encode())
    digest.update(json.dumps(scored_in).encode())
    # An evaluation may write a map into the checkpoint at its end; scores depend on it only where it is asked for.
    not_read = set() if config.scoring.calibration == "saved" else {CALIBRATION_FILE}
    found = Path(checkpoint).glob("*")
    files = sorted(one for one in found if one.suffix in (".safetensors", ".json") and one.name not in not_read)
    for path in files or [Path(checkpoint)]:
        digest.update(path.name.encode())
        if path.is_file():
            with open(path, "rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def track(
    config: EvaluateConfig,
    folder: Path,
    metrics: Mapping[str, Any],
    test_scores: Sequence[ScoredSolution],
    test: Sequence[CaseSolutions],
) -> None:
    """The numbers to the tracker, as tables and, where asked for, as a report without cases; both pass the guard."""
    name = f"{config.run_name}_{folder.name}"
    gate = Uploads(Guard(config.guard), test, tracker_url(config.tracking))
    tracker = start_tracking(config.tracking, name, asdict(config), folder, gate)
    for table_name, table in number_tables(metrics).items():
        tracker.table(table_name, table.columns, table.rows)
    if config.tracking.keep_report:
        page = folder / "report_numbers.html"
        write_report(page, metrics, test_scores, About(config.data.name, report_notes(config), config.evaluation))
        tracker.keep(name, "report", {one.name: one for one in (page, folder / "metrics.json")})
    tracker.finish()


def result_name(config: EvaluateConfig) -> str:
    """The controls get folders of their own beside the evaluation."""
    parts = ([f"permuted_{config.permute}"] if config.permute else []) + [f"blank_{one}" for one in config.blank or []]
    return config.name or "_".join(parts) or "evaluation"


def limit(splits: Mapping[str, Sequence[CaseSolutions]], max_cases: int | None) -> dict[str, list[CaseSolutions]]:
    """The first `max_cases` cases of each split; what is left out is said."""
    for name in SPLITS:
        left_out = len(splits.get(name, ())) - (max_cases or len(splits.get(name, ())))
        if left_out > 0:
            logger.warning("%d cases of the %s split are left out: max_cases=%s", left_out, name, max_cases)
    return {name: list(cases[:max_cases]) for name, cases in splits.items()}


def permute_input(cases: Sequence[CaseSolutions], what: str, seed: int) -> list[CaseSolutions]:
    """Every case with the images, context or documents of another patient's case; each patient gives to one other."""
    by_patient: dict[str, list[Case]] = {}
    for item in cases:
        by_patient.setdefault(item.case.group_id, []).append(item.case)
    if len(by_patient) < 2:
        raise InputError(f"permute={what}: the test split has {len(by_patient)} patients; expected at least 2")
    patients = sorted(by_patient)
    np.random.default_rng(seed).shuffle(patients)
    # A circle without fixed points: nobody keeps their own.
    donor_of = dict(zip(patients, [*patients[1:], patients[0]], strict=True))
    permuted = []
    for item in cases:
        donors = by_patient[donor_of[item.case.group_id]]
        donor = donors[by_patient[item.case.group_id].index(item.case) % len(donors)]
        given = {name: getattr(donor, name) for name in FIELDS[what]}
        permuted.append(CaseSolutions(item.case.model_copy(update=given), item.solutions))
    logger.info("%s of %d cases swapped between %d patients", what, len(cases), len(patients))
    return permuted


def image_reader(cases: Mapping[str, Case], root: Path) -> Callable[[str], list[bytes]]:
    """A case's images as PNG files in memory, for the report."""
    return lambda case_id: png_files(cases[case_id], root, REPORT_IMAGE_PIXELS)


def report_notes(config: EvaluateConfig) -> list[str]:
    """What a reader must know before the first number."""
    notes: list[Any] = [PHANTOM_NOTE] if config.data.path is None else []
    if config.permute:
        notes.append(f"Control experiment: {config.permute} were swapped between the patients of the test split.")
    if config.blank:
        notes.append(f"Control experiment: taken away from the input: {json.dumps(config.blank)}.")
    if config.max_cases:
        notes.append(f"Only the first {config.max_cases} cases of each split were scored.")
    return notes
