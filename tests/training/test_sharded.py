"""Two processes, plain and under each ZeRO stage: the losses of one process, and the memory that the plan says."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sharded import NUM_STEPS, losses, make_trainer
from small_run import write_base

from medprm.model.architectures import count_parameters
from medprm.training.planning import Counts, owned_bytes

ROOT = Path(__file__).resolve().parents[2]
# In the _text runs some ranks have batches without any image.
MODES = (
    "ddp_text",
    "zero1_text",
    "zero2_text",
    "zero2_bf16",
    "zero3_text",
    "zero3_lora",
    "ddp_tree",
    "zero2_tree",
    "zero3_tree",
)

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sharded")
    write_base(path / "base")
    return path


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    """What each of two ranks has written."""
    pytest.importorskip("deepspeed", reason="deepspeed is an extra: pip install 'medprm[train]'")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "tests", ROOT / "tests" / "training", ROOT))),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("sharded.py")), str(folder), *MODES],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=850, check=False,
    )  # fmt: skip
    files = [folder / f"rank_{rank}.json" for rank in range(2)]
    assert all(file.is_file() for file in files), done.stderr[-3000:]
    return [json.loads(file.read_text()) for file in files]


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, list[float]]:
    """The losses of one process on the same global batches."""
    found = {}
    for mode in ("text", "lora", "tree"):
        trainer = make_trainer(folder, f"alone_{mode}", num_ranks=1)
        trainer.train()
        found[mode] = losses(trainer)
    return found


@pytest.mark.parametrize("mode", [one for one in MODES if not one.endswith("bf16")])
def test_two_processes_give_the_losses_of_one(mode: str, ranks: list[Any], alone: dict[str, list[float]]) -> None:
    expected = alone[mode.partition("_")[2]]
    assert len(expected) == NUM_STEPS and expected[-1] < 0.8 * expected[0]
    # Measured 4e-7 after 20 steps of AdamW at a learning rate of 1e-3.
    assert ranks[0][mode]["losses"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("mode", [one for one in MODES if one.startswith("zero")])
def test_the_plan_says_what_each_rank_owns(mode: str, ranks: list[Any], folder: Path) -> None:
    parameters = count_parameters(make_trainer(folder, mode.replace("zero", "alone"), num_ranks=1).model)
    counts = Counts(*(sum(part[name] for part in parameters.values()) for name in ("total", "trained")))
    planned = owned_bytes(counts, mode[:5], 2, is_bf16=mode.endswith("bf16"))
    for rank in ranks:
        for part in ("weights", "gradients", "optimizer"):
            # Asked for: 10 %; measured: equal, but for a bucket in flight under zero1 (0.7 %) and zero2.
            assert rank[mode][part] == pytest.approx(getattr(planned, part), rel=0.1), part


def test_the_stages_own_different_amounts(ranks: list[Any]) -> None:
    weights, gradients = (
        [ranks[0][f"zero{stage}_text"][part] for stage in (1, 2, 3)] for part in ("weights", "gradients")
    )
    assert weights[0] == weights[1] > 1.9 * weights[2]
    assert gradients[0] > 1.7 * gradients[1]
