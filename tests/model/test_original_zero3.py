"""Two processes under ZeRO-3 load the original layout: each holds its share, and gathered they are the checkpoint's."""

import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
from original import write_original_checkpoint

PROGRAM = """
import sys
import deepspeed
import deepspeed.ops
import torch
from transformers.integrations import HfDeepSpeedConfig
from medprm.model.loading import load_checkpoint

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else it is compiled first
deepspeed.init_distributed(dist_backend="gloo")
expected = load_checkpoint(sys.argv[1]).model.state_dict()
stage = {"stage": 3, "stage3_param_persistence_threshold": 0}
held = HfDeepSpeedConfig({"train_micro_batch_size_per_gpu": 1, "train_batch_size": 2, "zero_optimization": stage})
model = load_checkpoint(sys.argv[1]).model
shares = [weight.ds_tensor.numel() / weight.ds_numel for weight in model.parameters() if weight.ds_numel > 100]
assert shares and max(shares) < 0.6, max(shares)
with deepspeed.zero.GatheredParameters(list(model.parameters())):
    for name, weight in model.named_parameters():
        assert torch.equal(weight, expected[name]), name
torch.distributed.barrier()
print("every weight is right", flush=True)
torch.distributed.destroy_process_group()
"""


@pytest.mark.distributed
@pytest.mark.skipif(util.find_spec("deepspeed") is None, reason="needs deepspeed: pip install 'medprm[train]'")
@pytest.mark.parametrize("family", ["internlm2", "qwen2"])
def test_zero3(family: str, tmp_path: Path) -> None:
    write_original_checkpoint(tmp_path, family, "300m")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    tools = str(Path(sys.executable).parent)  # deepspeed looks for ninja
    done = subprocess.run(
        [sys.executable, *launch, str(program), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout.count("every weight is right") == 2, done.stderr[-3000:]
