"""`evaluate`: a trained PRM and labelled cases to numbers, a table and a report.

In: EvaluateConfig. Out, in one folder: scored.jsonl, metrics.json, report.html, config.yaml, run.json. Threshold and
aggregation come from the validation split; every reported number is of the test split.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from medprm.cases.schema import Case, CaseSolutions
from medprm.commands.data_source import PHANTOM_NOTE, describe_source, open_source, read_splits
from medprm.commands.score_split import score_split
from medprm.config import EvaluateConfig
from medprm.errors import InputError
from medprm.evaluation.metrics import evaluate_scored, write_metrics
from medprm.evaluation.report import write_numbers_report, write_report
from medprm.evaluation.scored import ScoredSolution, write_scored
from medprm.evaluation.table import format_table
from medprm.evaluation.tables import number_tables
from medprm.images.files import resolve_image
from medprm.images.load import load_image, to_png_bytes
from medprm.model.attention import resolve_attention
from medprm.model.loading import load_checkpoint
from medprm.run import provenance, save_config, save_run, set_seed_and_threads, start_log
from medprm.scoring.scorer import StepScorer
from medprm.scoring.step_token import SYSTEM, StepTokenScorer
from medprm.tracking import start_tracking

logger = logging.getLogger(__name__)

SPLITS = ("validation", "test")
REPORT_IMAGE_PIXELS = 640  # longest side of an image in the report, which holds all of them in one file
# What a record holds of each input that can be permuted.
FIELDS = {"images": ("image", "images"), "context": ("clinical_context",), "documents": ("documents",)}


def run(config: EvaluateConfig) -> Path:
    """Evaluate as the settings say; returns the folder of the results."""
    checkpoint = find_checkpoint(config)
    folder = begin(config)
    data = open_source(config.data, Path(config.output_dir).parent)
    splits = limit(read_splits(data), config.max_cases)
    test = splits.get("test") or data.split("test")
    if config.permute:
        test = permute_input(test, config.permute, config.seed)
    save_run(folder, checkpoint=str(checkpoint), data=describe_source(data, splits))
    scorer = load_scorer(checkpoint, config)
    validation_scores = score_split(scorer, splits.get("validation", []), "validation", data.image_root)
    test_scores = score_split(scorer, test, "test", data.image_root)
    write_scored(folder / "scored.jsonl", [*validation_scores, *test_scores])
    logger.info("resampling %d times for the intervals", config.evaluation.num_bootstrap)
    metrics = evaluate_scored(validation_scores, test_scores, config.evaluation)
    write_metrics(folder / "metrics.json", metrics)
    write_report(
        folder / "report.html",
        metrics,
        test_scores,
        {item.case.case_id: item.case for item in test},
        image_reader({item.case.case_id: item.case for item in test}, data.image_root),
        title=f"{config.data.name}: {checkpoint}",
        notes=report_notes(config),
        settings=config.evaluation,
    )
    track(config, folder, metrics, test_scores, f"{config.data.name}: {checkpoint}")
    print(format_table(metrics))
    print(f"scores:  {folder / 'scored.jsonl'}\nnumbers: {folder / 'metrics.json'}\nreport:  {folder / 'report.html'}")
    return folder


def track(
    config: EvaluateConfig,
    folder: Path,
    metrics: Mapping[str, Any],
    test_scores: Sequence[ScoredSolution],
    title: str,
) -> None:
    """The numbers to the tracker, as tables and, where asked for, as a report without cases."""
    name = f"{config.run_name}_{folder.name}"
    tracker = start_tracking(config.tracking, name, asdict(config), folder)
    for table_name, table in number_tables(metrics).items():
        tracker.table(table_name, table.columns, table.rows)
    if config.tracking.keep_report:
        page = folder / "report_numbers.html"
        write_numbers_report(page, metrics, test_scores, title, report_notes(config))
        tracker.keep(name, "report", {one.name: one for one in (page, folder / "metrics.json")})
    tracker.finish()


def find_checkpoint(config: EvaluateConfig) -> str:
    """The folder of the checkpoint, or a hub id as it was given."""
    if config.checkpoint is not None:
        return config.checkpoint
    found = Path(config.output_dir) / "checkpoint"
    if not found.is_dir():
        raise InputError(
            f"{found}: no checkpoint; train first (python train.py run_name={config.run_name}), "
            "or give checkpoint=FOLDER"
        )
    return str(found)


def result_name(config: EvaluateConfig) -> str:
    """The controls get folders of their own beside the evaluation."""
    parts = ([f"permuted_{config.permute}"] if config.permute else []) + [f"blank_{one}" for one in config.blank or []]
    return config.name or "_".join(parts) or "evaluation"


def begin(config: EvaluateConfig) -> Path:
    """The folder of the results, log, seeds and threads."""
    folder = Path(config.output_dir) / result_name(config)
    if folder.is_dir() and any(folder.iterdir()):
        if not config.overwrite:
            raise InputError(f"{folder} exists already; overwrite=true deletes it, name=NAME writes beside it")
        if not (folder / "config.yaml").is_file():
            raise InputError(
                f"{folder} holds no config.yaml, so it is no evaluation and is not deleted; choose another name"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    start_log(folder)
    transformers_logging.disable_progress_bar()  # of weight files; ours stay
    save_config(folder, config)
    save_run(folder, **provenance())
    set_seed_and_threads(config.seed, config.num_threads)
    return folder


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


def load_scorer(checkpoint: str, config: EvaluateConfig) -> StepScorer | StepTokenScorer:
    """The checkpoint as a scorer, on the device and in the precision asked for."""
    settings = config.scoring
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise InputError("scoring.device=cuda but there is no GPU; choose auto or cpu")
    attention = resolve_attention(settings.attn_implementation, device == "cuda", settings.dtype != "float32")
    loaded = load_checkpoint(checkpoint, dtype=settings.dtype, device=device, attn_implementation=attention)
    logger.info("scoring with %s on %s in %s", checkpoint, device, settings.dtype)
    if settings.protocol == "medprm_reward":
        if config.blank:
            raise InputError("blank with scoring.protocol=medprm_reward: that model's prompt is fixed; leave it out")
        system = SYSTEM
        if settings.system_prompt is None:
            logger.warning("the system prompt is in our words; scoring.system_prompt=FILE gives the published one")
        else:
            system = Path(settings.system_prompt).read_text(encoding="utf-8").strip()
        return StepTokenScorer(loaded, checkpoint, settings.max_row_tokens, system)
    return StepScorer.from_loaded(loaded, checkpoint, settings.max_row_tokens, config.blank, settings.tree_attention)


def image_reader(cases: Mapping[str, Case], root: Path) -> Callable[[str], list[bytes]]:
    """A case's images as PNG files in memory, for the report."""

    def read(case_id: str) -> list[bytes]:
        return [
            to_png_bytes(load_image(resolve_image(root, image.path), frame=image.frame), REPORT_IMAGE_PIXELS)
            for image in cases[case_id].all_images
        ]

    return read


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
