"""Scoring: all candidates of a case on one tree, against one forward per candidate, a padded batch, one per step.

python benchmarks/scoring.py [--json FILE]
Beside them the tree attended to by a mask instead of gathered keys. Same model, same case, same scores (checked to
1e-5). CPU seconds, one thread.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Found, Side, measure, ratio, run_sizes, show
from workload import Work, make_work

from medprm.encoding.collator import Collator, Example
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.settings import LabelSettings
from medprm.encoding.targets import step_targets
from medprm.encoding.tree import tree_size
from medprm.scoring.scorer import StepScorer
from medprm.scoring.step_scores import label_logits, step_scores

SIZES = {"7 x 8": (7, 8), "13 x 16": (13, 16)}  # tiles x solutions


def examples_of(work: Work) -> list[Example]:
    """Every candidate by itself, with the case's tiles."""
    case, solutions = work.cases[0]
    pixels = PixelLoader(work.root, work.loaded.image_settings).load(case)
    return [
        Example(
            work.encoder.encode(case, one.step_texts, pixels.num_tiles),
            pixels.values,
            step_targets(one, LabelSettings()),
        )
        for one in solutions
    ]


def padded(scorer: StepScorer, examples: list[Example], per_batch: int) -> list[list[float]]:
    """Scores by plain forwards over `per_batch` candidates, image and question computed for each."""
    rows: list[list[float]] = []
    for begin in range(0, len(examples), per_batch):
        batch = Collator(pad_id=0, num_labels=2)(examples[begin : begin + per_batch])
        inputs: dict[str, Any] = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}
        with torch.inference_mode():
            logits = label_logits(scorer.model, inputs, batch["label_positions"], scorer.label_tokens.ids)
        rows += step_scores(logits).tolist()
    return rows


def compare(num_tiles: int, num_candidates: int, num_runs: int) -> Found:
    """One size: a table, ratios, and what was compared."""
    with tempfile.TemporaryDirectory() as folder:
        work = make_work(Path(folder), num_tiles, num_candidates)
        scorer = StepScorer(work.loaded, work.encoder)
        case, solutions = work.cases[0]
        masked = StepScorer(copy.deepcopy(work.loaded), work.encoder, tree_attention="mask")
        examples = examples_of(work)
        lengths = [len(one.encoded.input_ids) for one in examples]
        num_tokens = tree_size([one.encoded for one in examples])
        prefixes = sum(position + 1 for one in examples for position in one.encoded.label_positions)
        padding = len(lengths) * max(lengths) - sum(lengths)
        sides = {
            "tree": Side(lambda: scorer.score(case, solutions, work.root), num_tokens),
            "tree by a mask": Side(lambda: masked.score(case, solutions, work.root), num_tokens),
            "padded batch": Side(lambda: padded(scorer, examples, len(examples)), sum(lengths), padding),
            "forward per candidate": Side(lambda: padded(scorer, examples, 1), sum(lengths)),
            "forward per step": Side(lambda: scorer.score_stepwise(case, solutions, work.root), prefixes),
        }
        found = measure(sides, num_runs)
        scores = {name: np.array(side.run()) for name, side in sides.items()}
        worst = max(float(np.abs(one - scores["tree"]).max()) for one in scores.values())
        assert worst < 1e-5, f"scores differ by {worst}"
    name = f"{num_tiles} tiles x {num_candidates} candidates"
    tables = {f"scoring {name}": show(f"scoring {name}: scores equal to {worst:.1e}", found)}
    ratios = {f"scoring {name}: {side} / tree": ratio(found, side, "tree") for side in list(sides)[1:]}
    ratios[f"scoring {name}: token arithmetic"] = sum(lengths) / num_tokens
    return Found(tables, ratios, {name: {"largest_difference_of_scores": worst}})


if __name__ == "__main__":
    run_sizes(__doc__, compare, SIZES)
