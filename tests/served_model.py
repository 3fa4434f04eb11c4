"""A tiny Llama that answers as a judge and as a solver, behind `transformers serve` on this machine.

It is taught two answers by heart, one for each kind of request, so that what comes back over the wire can be checked.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tiny_text import text_model

from medprm.clients.chat import Message

TEMPLATE = (
    "{{ bos_token }}{% for one in messages %}<|start_header_id|>{{ one.role }}<|end_header_id|>\n\n"
    "{{ one.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
END = "<|eot_id|>"


def teach(folder: Path, lessons: Sequence[tuple[Sequence[Message], str]], max_steps: int = 400) -> None:
    """A checkpoint in `folder` that answers each of these conversations with the text beside it."""
    loaded = text_model()
    tokenizer, model = loaded.tokenizer, loaded.model.train()
    tokenizer.chat_template = TEMPLATE
    examples = []
    for messages, answer in lessons:
        turns = [{"role": one.role, "content": one.text} for one in messages]
        prompt = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        said = tokenizer(answer + END, add_special_tokens=False)["input_ids"]
        examples.append((torch.tensor([asked + said]), torch.tensor([[-100] * len(asked) + said])))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    worst = float("inf")
    for step in range(max_steps):
        ids, labels = examples[step % len(examples)]
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        worst = max(worst, loss.item()) if step % len(examples) else loss.item()
        if step % len(examples) == len(examples) - 1 and worst < 0.01:
            break
    assert worst < 0.05, f"the lessons were not learnt: loss {worst}"
    model.eval()
    settings = model.generation_config
    settings.eos_token_id = tokenizer.convert_tokens_to_ids(END)
    settings.pad_token_id = tokenizer.pad_token_id or settings.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def served(folder: Path, timeout_seconds: float = 120.0) -> Iterator[str]:
    """The base URL of `transformers serve` with the checkpoint, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = folder / "serve.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], env=environment, stdout=output, stderr=output
        )
        try:
            end = time.monotonic() + timeout_seconds
            while not _answers(f"http://127.0.0.1:{port}/health"):
                assert process.poll() is None and time.monotonic() < end, log.read_text()[-2000:]
                time.sleep(0.3)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
