"""Training on text: trees against TRL 1.13.0's PRMTrainer (the last release that has one), steps labelled a CPU second.

python -m venv trl && trl/bin/pip install torch==2.13.0 && trl/bin/pip install trl==1.13.0
python benchmarks/training_trl.py --trl trl/bin/python [--json FILE]

Both sides: a text model of 4 layers of width 128 with random weights, the same vocabulary, 24 cases of 8 solutions of 5
steps, sequences of the same mean length, optimiser steps of 8 solutions, AdamW, float32, one thread, no gradient
checkpointing; each by its own Trainer, data loading and callbacks within. TRL groups by length and pads; here the
solutions of a case stand on one tree. The text lengths are those of 7 tiles of 64 visual tokens. Runs alternate; each
is a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Measured, finish, peak_rss_mib, ratio, show
from transformers import TrainerCallback
from workload import STEPS_PER_SOLUTION, WORDS, small_model

from medprm.cases.schema import CaseSolutions, from_json
from medprm.encoding.collator import TreeCollator
from medprm.encoding.encoder import Encoder
from medprm.encoding.settings import EncodingSettings, LabelSettings
from medprm.encoding.tokens import LabelTokens
from medprm.images.settings import ImageSettings
from medprm.training.arguments import training_arguments
from medprm.training.dataset import build_dataset
from medprm.training.packing import pack_dataset
from medprm.training.settings import TrainingSettings
from medprm.training.trainer import PRMTrainer

NUM_CASES, NUM_SOLUTIONS, NUM_WARM = 24, 8, 2
PROMPT_WORDS = 240  # about 450 tokens, as 7 tiles
MODEL = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 352,
    "max_position_embeddings": 8192,
}


def make_cases() -> list[CaseSolutions]:
    """Cases with a long question and no image."""
    generator = np.random.default_rng(0)
    cases = []
    for number in range(NUM_CASES):
        question = " ".join(generator.choice(WORDS, PROMPT_WORDS))
        records = [
            from_json(
                {
                    "case_id": f"case_{number}",
                    "modality": "text",
                    "question": question,
                    "solution_id": f"s{index}",
                    "solution_steps": [
                        {
                            "step_id": k,
                            "content": str(generator.choice(WORDS)),
                            "label": ["correct", "incorrect"][k % 2],
                        }
                        for k in range(STEPS_PER_SOLUTION)
                    ],
                }
            )
            for index in range(NUM_SOLUTIONS)
        ]
        cases.append(CaseSolutions(records[0].case(), [one.solution() for one in records]))
    return cases


class Clock(TrainerCallback):
    """CPU seconds at the end of every optimiser step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.process_time())


def our_side() -> None:
    """One pass over all cases by our Trainer; prints a JSON line."""
    torch.set_num_threads(1)
    loaded = small_model()
    encoder = Encoder.from_settings(loaded.tokenizer, EncodingSettings(), loaded.image_tokens_per_tile)
    dataset = build_dataset(make_cases(), encoder, LabelSettings(), Path("."), ImageSettings())
    packed = pack_dataset(dataset, "tree", 1400)  # one case a row: steps of 8 solutions
    assert len(packed) == NUM_CASES, "one case a row"
    settings = TrainingSettings(
        use_cpu=True,
        disable_tqdm=True,
        eval_strategy="no",
        save_strategy="no",
        logging_steps=1000,
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = PRMTrainer(
            model=loaded.model.train(),
            args=training_arguments(settings, Path(folder)),
            train_dataset=packed,
            data_collator=TreeCollator(2, 2),
            label_tokens=LabelTokens.look_up(loaded.tokenizer),
            callbacks=[clock],
        )
        trainer.train()
    num_timed = len(clock.seconds) - NUM_WARM
    lengths = [len(dataset.encode(index).input_ids) for index in range(len(dataset))]
    found = {
        "cpu_seconds": clock.seconds[-1] - clock.seconds[NUM_WARM - 1],
        "steps_labelled": num_timed * NUM_SOLUTIONS * STEPS_PER_SOLUTION,
        "mean_length": float(np.mean(lengths)),
        "tokens": sum(len(one.tree) for index in range(len(packed)) for one in packed[index]),
        "padding": 0,
        "peak_rss_mib": peak_rss_mib(),
    }
    print(json.dumps(found))


def write_inputs(folder: Path, mean_length: float) -> None:
    """The cases as TRL reads them; steps are longer by what our chat template adds, so that lengths agree."""
    loaded = small_model()
    loaded.tokenizer.save_pretrained(folder / "tokenizer")
    generator = np.random.default_rng(1)
    count = lambda text: len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])  # noqa: E731
    cases = make_cases()
    spare = mean_length - count(cases[0].case.question) - STEPS_PER_SOLUTION
    words_per_step = spare / STEPS_PER_SOLUTION / np.mean([count(" " + word) for word in WORDS])
    with open(folder / "data.jsonl", "w", encoding="utf-8") as lines:
        for case, solutions in cases:
            for one in solutions:
                steps = [" ".join(generator.choice(WORDS, max(1, round(words_per_step)))) for _ in one.solution_steps]
                labels = [step.label == "correct" for step in one.solution_steps]
                lines.write(json.dumps({"prompt": case.question, "completions": steps, "labels": labels}) + "\n")
    sizes = {"model": MODEL | {"vocab_size": len(loaded.tokenizer)}, "batch_size": NUM_SOLUTIONS}
    (folder / "sizes.json").write_text(json.dumps(sizes | {"steps_per_solution": STEPS_PER_SOLUTION}))


def run(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(lines[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl", required=True, help="python of an environment with trl==1.13.0")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    own = [sys.executable, __file__, "--own-side"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, run(own)["mean_length"])
        peer = [given.trl, str(Path(__file__).with_name("trl_side.py")), name]
        pairs = []
        for _ in range(given.runs):
            pairs.append((run(peer), run(own)))
            trl, tree = (one["steps_labelled"] / one["cpu_seconds"] for one in pairs[-1])
            print(f"steps labelled a CPU second: TRL {trl:.1f}, tree {tree:.1f}, ratio {tree / trl:.2f}", flush=True)
    print(f"mean length: TRL {pairs[0][0]['mean_length']:.0f}, here {pairs[0][1]['mean_length']:.0f} tokens")
    found = {
        "tree": as_measured([tree for _, tree in pairs]),
        "TRL 1.13.0": as_measured([trl for trl, _ in pairs]),
    }
    tables = {"training on text": show("training on text, peaks are those of the whole process", found)}
    ratios = {"training on text 8 solutions: tree / TRL 1.13.0": ratio(found, "TRL 1.13.0", "tree")}
    finish(given, ratios, {"runs": pairs}, tables)


def as_measured(runs: list[dict[str, float]]) -> Measured:
    """Both sides label as many steps, so that the ratio of seconds is that of steps a second."""
    assert len({one["steps_labelled"] for one in runs}) == 1
    seconds, peaks = [one["cpu_seconds"] for one in runs], [one["peak_rss_mib"] for one in runs]
    return Measured(seconds, peaks, int(runs[0]["tokens"]), int(runs[0]["padding"]))


if __name__ == "__main__":
    our_side() if "--own-side" in sys.argv else main()
