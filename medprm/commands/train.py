"""`train`: labelled cases to a PRM's checkpoint.

In: TrainConfig. Out: a run's folder (medprm/run.py says what is in it) with `checkpoint/`, which holds weights,
tokenizer and `medprm.json`: prompt, label tokens, label settings, threshold and aggregation chosen on validation.
"""

import json
import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.utils import logging as transformers_logging

from medprm import __version__
from medprm.cases.schema import CaseSolutions
from medprm.cases.stored import ChainedCases
from medprm.clients.guard import Guard
from medprm.clients.uploads import Uploads
from medprm.commands.data_source import (
    describe_mix,
    describe_source,
    open_source,
    read_splits,
    with_labels,
)
from medprm.commands.score_split import score_split
from medprm.commands.train_sets import (
    count_of_validation,
    make_collator,
    packed,
    selected,
    training_dataset,
    training_sets,
    validation_dataset,
)
from medprm.config import TrainConfig
from medprm.encoding.collator import Collator
from medprm.encoding.encoder import Encoder
from medprm.encoding.preview import preview_batch
from medprm.encoding.prm_record import describe_prm
from medprm.encoding.tokens import LabelTokens
from medprm.evaluation.candidates import collect_candidates
from medprm.evaluation.selection import choose_aggregation
from medprm.evaluation.thresholds import choose_threshold
from medprm.model.attention import resolve_attention
from medprm.model.loading import LoadedModel, load_checkpoint, save_checkpoint, save_tokenizer_and_settings
from medprm.model.lora import adapter_state, merge_lora, with_adapters
from medprm.model.tiny import shipped_base
from medprm.model.tuning import check_four_bits, tuned
from medprm.run import (
    STOP_FILE,
    RunStopped,
    check_same_config,
    check_same_data,
    is_first_process,
    num_processes,
    prepare_run_folder,
    process_rank,
    provenance,
    save_config,
    save_run,
    set_seed_and_threads,
    start_log,
)
from medprm.scoring.engine import Share
from medprm.scoring.kept_rows import SharedRows
from medprm.scoring.scorer import StepScorer
from medprm.statistics.step_metrics import auroc, confusion_rows, macro_f1
from medprm.tracking import Tracker, start_tracking, tracker_url
from medprm.training.arguments import start_deepspeed, training_arguments
from medprm.training.card import CARD_FILE, model_card
from medprm.training.checkpoints import Writers, discard_newer, find_resumable, is_sharded, num_writers
from medprm.training.dataset import StepDataset
from medprm.training.mixture import MixedDataset, mixture_json
from medprm.training.stopping import StopOnRequest
from medprm.training.trainer import PRMTrainer
from medprm.training.universal import MendUniversal, ensure_universal, reading_universal

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint"
METRICS_FILE = "metrics.jsonl"
WAYS_OUT = "expected a new folder; resume=true goes on with it, overwrite=true deletes it, run_name=NAME starts another"


def run(config: TrainConfig) -> Path:
    """Train as the settings say; returns the folder of the checkpoint."""
    folder = begin(config)
    data = open_source(config.data, folder.parent)
    splits = with_labels(read_splits(data, config.mix.streaming), config.labelled)
    sets = training_sets(config, data, splits)
    keep_source(folder, config, describe_mix(describe_source(data, splits, config.labelled.path), sets[1:]))
    sets, chosen = selected(sets, config)
    start = resumable(folder, config)
    # Before the model: under ZeRO-3, weights are sharded while they are loaded.
    arguments = make_arguments(config, folder, start)
    loaded = load_base(config)
    encoder = Encoder.from_settings(loaded.tokenizer, config.encoding, loaded.image_tokens_per_tile)
    train_set = training_dataset(sets, encoder, config, loaded)
    validation_set = validation_dataset(splits.get("validation"), encoder, config, data.image_root, loaded)
    if isinstance(train_set, MixedDataset):
        save_run(folder, mix=mixture_json(train_set.mixture))
    save_run(folder, counts={"train": train_set.counts.to_json()} | count_of_validation(validation_set), **chosen)
    label_tokens = LabelTokens.look_up(loaded.tokenizer, encoder.chat, config.labels.texts)
    show_first_batch(folder, train_set, loaded, label_tokens)
    tracker = track(config, folder, ChainedCases([*splits.values(), *(one.cases for one in sets[1:])]))
    stopping = StopOnRequest(folder / STOP_FILE)
    train_rows = packed(train_set, config.packing)
    save_run(folder, rows=row_counts(len(train_rows), config.training.per_device_train_batch_size, num_processes()))
    trainer = PRMTrainer(
        model=tuned(loaded.model, config.tuning),
        args=arguments,
        train_dataset=train_rows,
        # Whole trees: variety matters to gradients only.
        eval_dataset=validation_set and packed(validation_set, replace(config.packing, max_tree_solutions=None)),
        data_collator=make_collator(loaded, label_tokens, config),
        label_tokens=label_tokens,
        step_metrics=progress_metrics,
        tree_attention=config.packing.attention,
        loss=config.training.loss,
        callbacks=[MetricsLog(folder / METRICS_FILE, tracker), stopping, *checkpoint_callbacks(start)],
    )
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    if stopping.is_stopped:
        tracker.finish()
        end_processes()
        raise RunStopped(f"{folder / STOP_FILE} was found at step {trainer.state.global_step}, a checkpoint is saved")
    finished = finish_model(trainer, loaded, config)
    prm = describe_prm(encoder, config.labels) | {"base": config.model.path, "medprm_version": __version__}
    if splits.get("validation") and is_whole(config):
        with trainer.accelerator.autocast():  # as it was trained
            prm |= choices(replace(finished, prm=prm), splits["validation"], data.image_root, config)
    card = model_card(prm, config.data.name, train_set.counts)
    is_sharded = bool(config.deepspeed) and config.tuning.kind == "full"
    checkpoint = save_result(folder / CHECKPOINT, trainer, finished, prm, card, is_sharded)
    if config.tracking.keep_checkpoint:
        files = sorted(one for one in checkpoint.rglob("*") if one.is_file())
        tracker.keep(f"{config.run_name}_checkpoint", "model", {str(one.relative_to(checkpoint)): one for one in files})
    tracker.finish()
    end_processes()
    logger.info("the trained PRM is in %s", checkpoint)
    return checkpoint


def begin(config: TrainConfig) -> Path:
    """The run's folder, log, seeds and threads; what is kept to repeat the run."""
    folder = Path(config.output_dir)
    prepare_run_folder(folder, config.resume, config.overwrite, WAYS_OUT)
    if is_first_process():
        (folder / STOP_FILE).unlink(missing_ok=True)
    start_log(folder)
    transformers_logging.disable_progress_bar()  # of weight files; ours stay
    if config.resume and (folder / "config.yaml").is_file():
        check_same_config(folder, config)
    else:
        save_config(folder, config)
        save_run(folder, **provenance())
    set_seed_and_threads(config.seed, config.num_threads)
    logger.info("run %s in %s", config.run_name, folder)
    return folder


def keep_source(folder: Path, config: TrainConfig, source: dict[str, Any]) -> None:
    """The data in run.json; a run that goes on must find the same data."""
    if config.resume:
        check_same_data(folder, source["hash"])
    save_run(folder, data=source)
    logger.info("data %s from %s: %s", config.data.name, source["path"], json.dumps(source["read"]))


def is_resharded(start: Path | None) -> bool:
    """Whether the checkpoint to go on from was written by another number of processes."""
    return start is not None and num_writers(start, num_processes()) != num_processes()


def checkpoint_callbacks(start: Path | None) -> list[TrainerCallback]:
    """Who writes the checkpoints; what reading DeepSpeed's of another number of processes leaves to mend."""
    has_universal = start is not None and is_sharded(start) and is_resharded(start)
    return [Writers(num_processes()), *([MendUniversal()] if has_universal else [])]


def make_arguments(config: TrainConfig, folder: Path, start: Path | None = None) -> TrainingArguments:
    """TrainingArguments, after checks of what is installed and at hand; `start` is the checkpoint to go on from."""
    if config.tuning.kind == "qlora":
        check_four_bits()
    deepspeed = config.deepspeed
    if deepspeed:
        if start and is_resharded(start):
            ensure_universal(start, is_first_process())
            deepspeed = reading_universal(deepspeed)
        start_deepspeed(config.training.use_cpu)
    return training_arguments(config.training, folder, deepspeed)


def load_base(config: TrainConfig) -> LoadedModel:
    """The weights that training starts from, in single precision."""
    settings = config.model
    source = shipped_base() if settings.path == "tiny" else settings.path
    attention = resolve_attention(
        settings.attn_implementation, is_on_gpu=not config.training.use_cpu, is_half=config.training.bf16
    )
    return load_checkpoint(source, max_tiles=settings.max_tiles, attn_implementation=attention)


def row_counts(num_rows: int, rows_per_process: int, processes: int) -> dict[str, int]:
    """Rows of an epoch, and how many of them accelerate shows twice so that several processes end it together."""
    repeated = -num_rows % (rows_per_process * processes) if processes > 1 else 0
    if repeated:
        logger.info("%d rows for %d processes: the end of each epoch repeats %d of them", num_rows, processes, repeated)
    return {"num_rows": num_rows, "num_repeated_an_epoch": repeated}


def show_first_batch(
    folder: Path, dataset: StepDataset | MixedDataset, loaded: LoadedModel, label_tokens: LabelTokens
) -> None:
    """Two examples as the model reads them, coloured by label, on the terminal and in preview.txt."""
    if not is_first_process():
        return
    collator = Collator(pad_id=int(loaded.tokenizer.pad_token_id), num_labels=len(label_tokens.ids))  # type: ignore
    batch = collator([dataset[index] for index in range(min(2, len(dataset)))])
    print(preview_batch(batch, loaded.tokenizer, label_tokens.texts, use_colour=sys.stderr.isatty()), file=sys.stderr)
    plain = preview_batch(batch, loaded.tokenizer, label_tokens.texts, use_colour=False)
    (folder / "preview.txt").write_text(plain + "\n", encoding="utf-8")
    counts = dataset.counts
    logger.info(
        "%d of %d solutions kept (refused: %s), %d steps (%s), longest text %d tokens, %d documents dropped",
        counts.num_solutions_kept,
        counts.num_solutions_read,
        counts.refused or "none",
        counts.num_steps,
        counts.steps_by_label,
        counts.longest_text_tokens,
        counts.num_dropped_documents,
    )


def track(config: TrainConfig, folder: Path, cases: Sequence[CaseSolutions]) -> Tracker:
    """The tracker of the first process; the others have none. What leaves passes the guard of these cases."""
    gate = Uploads(Guard(config.guard), cases, tracker_url(config.tracking))
    settings = config.tracking if is_first_process() else replace(config.tracking, wandb="disabled")
    return start_tracking(settings, config.run_name, asdict(config), folder, gate)


class Progress(NamedTuple):
    """What is watched while training; the evaluation has intervals, this has not."""

    macro_f1: float
    auroc: float


def progress_metrics(scores: np.ndarray, is_correct: np.ndarray) -> dict[str, float]:
    """Macro F1 at 0.5 and AUROC of the validation steps."""
    counts = confusion_rows(is_correct, scores >= 0.5).sum(axis=0)
    return Progress(float(macro_f1(counts)), auroc(is_correct, scores))._asdict()


class MetricsLog(TrainerCallback):
    """Everything that the Trainer logs, one JSON object a line, and to the tracker."""

    def __init__(self, path: Path, tracker: Tracker) -> None:
        self.path = path
        self.tracker = tracker

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Steps that are done again after an interruption are logged once."""
        if not state.is_world_process_zero:
            return
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        with open(self.path, "a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        self.tracker.log(logs, state.global_step)


def resumable(folder: Path, config: TrainConfig) -> Path | None:
    """The checkpoint to go on from; None at a run's start."""
    if not config.resume:
        return None
    found = find_resumable(folder, num_processes())
    logger.info("going on from %s", found or "the beginning: no complete checkpoint")
    if is_first_process():
        discard_newer(folder, found)
    return found


def finish_model(trainer: PRMTrainer, loaded: LoadedModel, config: TrainConfig) -> LoadedModel:
    """The trained model as a plain one, adapters folded in."""
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    if config.tuning.kind == "full":
        return replace(loaded, model=model)
    if config.tuning.kind == "lora" and not config.deepspeed:
        return replace(loaded, model=merge_lora(model))
    # The weights beside the adapters are sharded, rounded or in four bits: the base is read once more.
    adapters = adapter_state(model)
    if not is_first_process():
        return loaded
    unset_hf_deepspeed_config()  # else transformers shards the fresh model as well, and waits for the other processes
    return replace(loaded, model=merge_lora(with_adapters(load_base(config).model, config.tuning, adapters)))


def is_whole(config: TrainConfig) -> bool:
    """Whether the finished model lies on every process's device, ready to score."""
    return not config.deepspeed and config.tuning.kind != "qlora"


def choices(
    finished: LoadedModel, validation: Sequence[CaseSolutions], root: Path, config: TrainConfig
) -> dict[str, Any]:
    """Threshold and aggregation, chosen on the validation split. The processes share its rows: every one calls it."""
    scorer = StepScorer.from_loaded(
        finished,
        "the trained model",
        config.packing.max_row_tokens,
        tree_attention=config.packing.attention,
        tiles=config.tiles,
    )
    scored = score_split(
        *(scorer, validation, "validation", root),
        kept=SharedRows(),
        share=Share(process_rank(), num_processes()),
        num_workers=config.training.dataloader_num_workers,
    )
    threshold = choose_threshold(scored, config.evaluation)
    aggregation = choose_aggregation(collect_candidates(scored), config.evaluation)
    logger.info("threshold %.3f: %s", threshold.value, threshold.rule)
    logger.info("aggregation %s: %s", aggregation.aggregation, aggregation.rule)
    return {"threshold": threshold.value, "aggregation": aggregation.aggregation}


def save_result(
    folder: Path, trainer: PRMTrainer, finished: LoadedModel, prm: dict[str, Any], card: str, is_sharded: bool
) -> Path:
    """The checkpoint, whole or not at all. Sharded weights are gathered by all processes together."""
    draft = folder.with_name(f".{folder.name}.draft")
    if is_first_process():
        shutil.rmtree(draft, ignore_errors=True)
    if is_sharded:
        trainer.save_model(str(draft))
    if is_first_process():
        if is_sharded:
            save_tokenizer_and_settings(draft, finished, prm)
        else:
            save_checkpoint(draft, finished, prm)
        (draft / CARD_FILE).write_text(card, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    return folder


def end_processes() -> None:
    """All processes end together: one that leaves early can make another fail."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
