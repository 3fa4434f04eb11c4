"""Scoring: all candidates of a case on one tree, against one forward per candidate, a padded batch, one per step.

python benchmarks/scoring.py [--json FILE]
Same model, same case, same scores (checked to 1e-5). CPU seconds, one thread.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import alternate, arguments, finish, ratio
from workload import Work, make_work

from medprm.encoding.collator import Collator, Example
from medprm.encoding.settings import LabelSettings
from medprm.encoding.targets import step_targets
from medprm.scoring.scorer import StepScorer
from medprm.scoring.step_scores import label_logits, step_scores

SIZES = ((7, 8), (13, 16))


def examples_of(work: Work, scorer: StepScorer) -> list[Example]:
    """Every candidate by itself, with the case's tiles."""
    case, solutions = work.cases[0]
    pixels = scorer._pixels(work.root).load(case)
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
        batch = Collator(scorer.pad_id, 2)(examples[begin : begin + per_batch])
        inputs: dict[str, Any] = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}
        with torch.inference_mode():
            logits = label_logits(scorer.model, inputs, batch["label_positions"], scorer.label_tokens.ids)
        rows += step_scores(logits).tolist()
    return rows


def main() -> None:
    given = arguments(__doc__)
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {}
    for num_tiles, num_candidates in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            work = make_work(Path(folder), num_tiles, num_candidates)
            scorer = StepScorer(work.loaded, work.encoder)
            case, solutions = work.cases[0]
            examples = examples_of(work, scorer)
            sides = {
                "tree": lambda: scorer.score(case, solutions, work.root),
                "padded batch": lambda: padded(scorer, examples, len(examples)),
                "forward per candidate": lambda: padded(scorer, examples, 1),
                "forward per step": lambda: scorer.score_stepwise(case, solutions, work.root),
            }
            scores = {name: np.array(side()) for name, side in sides.items()}
            worst = max(float(np.abs(one - scores["tree"]).max()) for one in scores.values())
            assert worst < 1e-5, f"scores differ by {worst}"
            seconds = alternate(sides, given.runs)
            lengths = [len(one.encoded.input_ids) for one in examples]
            (piece,) = scorer._pieces(case, solutions, work.root)
        name = f"{num_tiles} tiles x {num_candidates} candidates"
        arithmetic = sum(lengths) / len(piece.tree)
        print(f"{name}: {len(piece.tree)} tokens instead of {sum(lengths)}, scores equal to {worst:.1e}")
        for side in list(sides)[1:]:
            ratios[f"scoring {name}: {side} / tree"] = ratio(seconds, side, "tree")
        ratios[f"scoring {name}: token arithmetic"] = arithmetic
        figures[name] = {"seconds": seconds, "tokens_tree": len(piece.tree), "tokens_alone": lengths, "worst": worst}
    finish(given, ratios, figures)


if __name__ == "__main__":
    main()
