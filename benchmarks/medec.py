"""MEDEC end to end: split by vignette, a text PRM trained from scratch on one part, scored on another.

python benchmarks/medec.py --from SOURCE --to FOLDER [--seed 0] [--epochs 4]
SOURCE holds MEDEC-MS-ValidationSet-with-GroundTruth-and-ErrorType.csv (CC BY 4.0). The one open file is split here, by
vignette (most are there twice: by note, half of the test notes would be known): its own split is not used. Tokenizer
and weights come from the development part alone: no pretrained weight, no vocabulary of other text. Of all epochs the
one of highest validation AUROC is kept, and the test part is scored once, with that one. The other side: flag every
note, flag none, name the last sentence always, a random sentence.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from tiny_text import text_tokenizer

from medprm.cases.formats.clinical_notes import MEDEC_QUESTION
from medprm.cases.formats.table import load_format
from medprm.cases.jsonl import write_cases
from medprm.cases.schema import CaseSolutions
from medprm.cases.splits import SHARES, check_leakage, split_by_patient
from medprm.images.settings import ImageSettings
from medprm.model.loading import LoadedModel, save_checkpoint

ROOT = Path(__file__).parents[1]
VOCABULARY, WIDTH = 2000, 64
CHOSEN_BY = "eval_auroc"
KEEP_THE_BEST_EPOCH = (
    "training.save_strategy=epoch",
    "+training.trainer_extra.load_best_model_at_end=true",
    f"+training.trainer_extra.metric_for_best_model={CHOSEN_BY}",
)


def split_notes(source: Path, seed: int) -> dict[str, list[CaseSolutions]]:
    """train, validation, test by vignette, whatever split the file says of itself."""
    reading = load_format("medec", source)
    cases = [_without_split(item) for item in reading.cases]
    splits = split_by_patient(cases, SHARES, seed)
    check_leakage(splits)
    return splits


def _without_split(item: CaseSolutions) -> CaseSolutions:
    metadata = item.case.metadata.model_copy(update={"split": None})
    return CaseSolutions(item.case.model_copy(update={"metadata": metadata}), item.solutions)


def write_base(folder: Path, development: list[CaseSolutions], seed: int) -> None:
    """A Llama of two layers with untrained weights, and a tokenizer of the development notes."""
    texts = tuple(text for item in development for one in item.solutions for text in one.step_texts)
    tokenizer = text_tokenizer(None, (*texts, "+ -", MEDEC_QUESTION), VOCABULARY)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=3 * WIDTH,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    save_checkpoint(folder, LoadedModel(LlamaForCausalLM(config), tokenizer, ImageSettings(), 0, None), None)


def run(script: str, *arguments: str) -> None:
    command = [sys.executable, str(ROOT / script), "+experiment=medec", *arguments]
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True, cwd=ROOT)


def validation_by_epoch(run_folder: Path) -> list[dict[str, float]]:
    """The validation numbers after each epoch, as training logged them."""
    rows = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    names = ("epoch", CHOSEN_BY, "eval_loss", "eval_macro_f1")
    return [{name: row[name] for name in names} for row in rows if CHOSEN_BY in row]


def beside_the_place(scored: Path) -> dict[str, float]:
    """Of the test sentences: what their place alone tells, and what the scores tell where it is of no help."""
    rows = [row for row in map(json.loads, scored.read_text(encoding="utf-8").splitlines()) if row["split"] == "test"]
    is_wrong = np.array([label == "incorrect" for row in rows for label in row["labels"]])
    risk = 1 - np.array([score for row in rows for score in row["step_scores"]])
    place = np.concatenate([np.linspace(0, 1, len(row["labels"])) for row in rows])
    is_last = place == 1
    earlier = [row for row in rows if "incorrect" in row["labels"] and row["labels"][-1] != "incorrect"]
    found = sum(row["labels"][int(np.argmin(row["step_scores"]))] == "incorrect" for row in earlier)
    return {
        "auroc_by_place": roc_auc_score(is_wrong, place),
        "auroc_of_sentences_before_the_last": roc_auc_score(is_wrong[~is_last], risk[~is_last]),
        "auroc_of_last_sentences": roc_auc_score(is_wrong[is_last], risk[is_last]),
        "notes_wrong_before_the_last": len(earlier),
        "of_these_lowest_is_the_wrong_one": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, required=True, help="folder of the set")
    parser.add_argument("--to", type=Path, required=True, help="folder for records, base and run")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the training (0)")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the development notes, at most (4)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1: on a shared machine more are slower)")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    folder = given.to.resolve()
    splits = split_notes(given.source, given.seed)
    for name, cases in splits.items():
        write_cases(folder / "records" / f"{name}.jsonl", cases)
        wrong = sum("incorrect" in one.labels for item in cases for one in item.solutions)
        print(f"{name}: {len(cases)} notes, {wrong} with a wrong sentence")
    write_base(folder / "base", splits["train"], given.seed)
    where = [f"data.path={folder / 'records'}", f"output_dir={folder / 'run'}", f"seed={given.seed}", "overwrite=true"]
    where.append(f"num_threads={given.threads}")
    epochs = f"training.num_train_epochs={given.epochs}"
    run("train.py", *where, f"model.path={folder / 'base'}", epochs, *KEEP_THE_BEST_EPOCH)
    by_epoch = validation_by_epoch(folder / "run")
    chosen = max(by_epoch, key=lambda row: row[CHOSEN_BY])["epoch"]
    for row in by_epoch:
        print(f"validation {row}{' *' if row['epoch'] == chosen else ''}", flush=True)
    run("evaluate.py", *where)
    metrics: dict[str, Any] = json.loads((folder / "run" / "evaluation" / "metrics.json").read_text())
    result = {
        "validation_by_epoch": by_epoch,
        "chosen_epoch": chosen,
        "published_protocol": metrics["published_protocol"],
        "step_metrics": {
            name: metrics["step_metrics"][name] for name in ("macro_f1", "auroc", "auprc_incorrect", "mcc")
        },
        "baselines": metrics["baselines"],
        "counts": metrics["counts"],
        "place": beside_the_place(folder / "run" / "evaluation" / "scored.jsonl"),
    }
    print(json.dumps(result["published_protocol"], indent=2))
    print(json.dumps(result["step_metrics"], indent=2))
    print(json.dumps(result["place"], indent=2))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
