"""TRL 1.13.0's PRMTrainer on the sequences of benchmarks/training_trl.py; run by it, in TRL's own environment.

python trl_side.py FOLDER   (data.jsonl, tokenizer/ and sizes.json there)
Prints one JSON line: CPU seconds and labelled steps of the timed optimiser steps. One thread.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch
from datasets import load_dataset
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForTokenClassification, TrainerCallback
from trl.experimental.prm import PRMConfig, PRMTrainer

NUM_WARM = 2


class Clock(TrainerCallback):
    """CPU seconds at the end of every optimiser step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_end(self, *_, **__) -> None:
        self.seconds.append(time.process_time())


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    sizes = json.loads((folder / "sizes.json").read_text())
    torch.manual_seed(0)
    model = Qwen2ForTokenClassification(Qwen2Config(**sizes["model"], num_labels=2, tie_word_embeddings=False))
    rows = load_dataset("json", data_files=str(folder / "data.jsonl"), split="train", cache_dir=tempfile.mkdtemp())
    settings = PRMConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=sizes["batch_size"],
        num_train_epochs=1,
        max_length=None,
        gradient_checkpointing=False,
        train_sampling_strategy="group_by_length",
        bf16=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1000,
    )
    clock = Clock()
    trainer = PRMTrainer(model=model, args=settings, processing_class=tokenizer, train_dataset=rows, callbacks=[clock])
    lengths = [len(one["input_ids"]) for one in trainer.train_dataset]
    collate, padding = trainer.data_collator, []

    def counted(examples):
        batch = collate(examples)
        padding.append(int((batch["attention_mask"] == 0).sum()))
        return batch

    trainer.data_collator = counted
    trainer.train()
    num_timed = len(clock.seconds) - NUM_WARM
    print(
        json.dumps(
            {
                "cpu_seconds": clock.seconds[-1] - clock.seconds[NUM_WARM - 1],
                "steps_labelled": num_timed * sizes["batch_size"] * sizes["steps_per_solution"],
                "mean_length": sum(lengths) / len(lengths),
                "tokens": sum(lengths),
                "padding": sum(padding),
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
