"""`python -m medprm.commands.pretrain`: make the tiny base that ships with the package, again.

Takes about forty minutes on two free cores. At the end it measures the base as a policy on held-out patients: the share
of solutions whose answer can be read, and their accuracy; tests/model/test_tiny.py holds the limits.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

import numpy as np
import torch

from medprm.model.loading import load_checkpoint, save_checkpoint
from medprm.model.policy import measure_policy
from medprm.model.pretraining import PretrainSettings, new_base, pretrain
from medprm.model.tiny import shipped_base


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=shipped_base(), help="folder to write (default: the package's own)")
    parser.add_argument("--steps", type=int, default=PretrainSettings.num_steps, help="optimiser steps")
    parser.add_argument("--seed", type=int, default=0, help="of weights and lessons")
    parser.add_argument("--from", dest="start", type=Path, help="folder of a base to go on from (default: a new one)")
    parser.add_argument("--learning-rate", type=float, default=PretrainSettings.learning_rate, help="highest")
    share = PretrainSettings.solution_share
    parser.add_argument("--solution-share", type=float, default=share, help="of the batches that are whole solutions")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16, faster where the processor has it")
    parser.add_argument("--held-out", type=int, default=200, help="held-out patients for the measurement")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.manual_seed(given.seed)
    settings = PretrainSettings(
        seed=given.seed,
        num_steps=given.steps,
        learning_rate=given.learning_rate,
        solution_share=given.solution_share,
        bf16=given.bf16,
    )
    loaded = pretrain(load_checkpoint(given.start) if given.start else new_base(settings), settings)
    loaded.model.half()  # half the size on disk; it is trained further in single precision
    save_checkpoint(given.to, loaded, None)
    loaded.model.float()
    measured = measure_policy(loaded, given.held_out, np.random.default_rng([given.seed, 5]))
    (given.to / "pretraining.json").write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
