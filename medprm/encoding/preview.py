"""The first batch as a person reads it: every step's place coloured by its label.

In: a collated batch. Out: text for a terminal. Green + is correct, red - is incorrect, yellow is unknown (masked) or
"=". What is shown is decoded from the ids that the model reads; the coloured mark is the target, which it does not.
"""

import re

import torch
from transformers import PreTrainedTokenizerBase

from medprm.encoding.chat import INTERNVL2_5, ChatFormat
from medprm.encoding.collator import UNKNOWN

GREEN, RED, YELLOW, RESET = "\033[32m", "\033[31m", "\033[33m", "\033[0m"
COLOURS = {"+": GREEN, "-": RED}


def preview_batch(
    batch: dict[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    label_texts: tuple[str, ...],
    num_examples: int = 2,
    use_colour: bool = True,
    chat: ChatFormat = INTERNVL2_5,
) -> str:
    """The first sequences of a batch; runs of image tokens are shown as their number."""
    num_shown = min(num_examples, len(batch["input_ids"]))
    parts = []
    for row in range(num_shown):
        num_tokens = int(batch["attention_mask"][row].sum())
        parts.append(f"--- sequence {row + 1} of {len(batch['input_ids'])}: {num_tokens} tokens")
        parts.append(
            _preview_row({name: batch[name][row] for name in _NEEDED}, tokenizer, label_texts, use_colour, chat)
        )
    return "\n".join(parts)


_NEEDED = ("input_ids", "attention_mask", "label_positions", "labels")


def _preview_row(
    row: dict[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    label_texts: tuple[str, ...],
    use_colour: bool,
    chat: ChatFormat,
) -> str:
    ids = row["input_ids"][: int(row["attention_mask"].sum())].tolist()
    shown, begin = "", 0
    for position, label in zip(row["label_positions"].tolist(), row["labels"].tolist(), strict=True):
        if position == 0:
            continue
        shown += str(tokenizer.decode(ids[begin : position + 1]))
        text = "unknown" if label == UNKNOWN else label_texts[label]
        mark = f"[target {text}]"
        shown += f"{COLOURS.get(text, YELLOW)}{mark}{RESET}" if use_colour else mark
        begin = position + 1
    shown += str(tokenizer.decode(ids[begin:]))
    run = re.compile(f"(?:{re.escape(chat.image_token)})+")
    return run.sub(lambda found: f"{chat.image_token} x {len(found[0]) // len(chat.image_token)}", shown)
