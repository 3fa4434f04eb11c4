"""TRL's own trainer with our reward, in TRL's environment: MEDPRM_TRL_PYTHON names its python."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_grpo_takes_two_steps(trained: Path) -> None:
    python = os.environ.get("MEDPRM_TRL_PYTHON")
    if not python:
        pytest.skip("MEDPRM_TRL_PYTHON is not set: the python of an environment with trl (benchmarks/trl_grpo.py)")
    command = [python, "benchmarks/trl_grpo.py", "--checkpoint", str(trained / "checkpoint")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["num_steps"] == 2
    assert found["weights_changed"]
    assert all(0 < mean < 1 for mean in found["reward_mean"])
    assert max(found["reward_std"]) > 0, "completions of a group are told apart"
