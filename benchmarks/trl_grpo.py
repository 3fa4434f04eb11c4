"""TRL's GRPO trainer takes optimiser steps with `medprm.serving.reward` as its reward function, on a CPU.

python -m venv trl && trl/bin/pip install torch==2.13.0
trl/bin/pip install -c constraints.txt 'trl==1.16.*' -e '.[serve]'
trl/bin/python benchmarks/trl_grpo.py (--checkpoint FOLDER | --service URL) [--steps 2]

The policy is a text model of two layers with random weights and the vocabulary of the shipped base; prompts are of
text cases made here. Prints one JSON line: TRL's version, the rewards of each step as TRL logged them, whether weights
changed.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch
import trl
from datasets import Dataset
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from medprm.model.tiny import shipped_base
from medprm.serving.reward import PrmReward

NUM_GENERATIONS = 4
OPTIONS = ("CT", "MRI", "ultrasound", "bronchoscopy")


def make_rows(num_cases: int) -> list[dict[str, Any]]:
    """Prompts, and beside each the case that it is about, as JSON."""
    rows = []
    for number in range(num_cases):
        question = f"What comes first for the lung, number {number}?"
        case = {"case_id": f"c{number}", "modality": "text", "question": question, "options": list(OPTIONS)}
        rows.append({"prompt": f"{question} One step a line.", "case": json.dumps(case)})
    return rows


def make_policy(tokenizer: Any) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=128,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    backend = parser.add_mutually_exclusive_group(required=True)
    backend.add_argument("--checkpoint", type=Path, help="a trained PRM, loaded here")
    backend.add_argument("--service", help="address of `python -m medprm.serving`")
    parser.add_argument("--steps", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(shipped_base())
    if tokenizer.eos_token is None:
        tokenizer.eos_token = tokenizer.pad_token
    policy = make_policy(tokenizer)
    before = [one.detach().clone() for one in policy.parameters()]
    if given.service:
        reward = PrmReward.from_service(given.service)
    else:
        reward = PrmReward.from_checkpoint(given.checkpoint)
    settings = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=NUM_GENERATIONS,
        num_generations=NUM_GENERATIONS,
        max_completion_length=24,
        max_steps=given.steps,
        learning_rate=1e-3,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        seed=0,
    )
    trainer = GRPOTrainer(
        model=policy,
        reward_funcs=reward,
        args=settings,
        train_dataset=Dataset.from_list(make_rows(4)),
        processing_class=tokenizer,
    )
    trainer.train()
    logged = [one for one in trainer.state.log_history if "rewards/medprm/mean" in one]
    has_changed = any(not torch.equal(one, other) for one, other in zip(before, policy.parameters(), strict=True))
    print(
        json.dumps(
            {
                "trl": trl.__version__,
                "num_steps": trainer.state.global_step,
                "reward_mean": [one["rewards/medprm/mean"] for one in logged],
                "reward_std": [one["rewards/medprm/std"] for one in logged],
                "weights_changed": has_changed,
                "unscored": dict(reward.num_unscored),
            }
        )
    )


if __name__ == "__main__":
    main()
