"""Memory of the output head: logits of the label tokens at label positions against all logits everywhere.

python benchmarks/memory.py [--json FILE]
4,096 positions, a vocabulary of 92,553 (InternVL2.5-8B's), float32, 6 labels in 300 tokens; forward and backward of
head and loss, each in a process of its own. The hidden size is 64: the weights, which both sides hold, stay small.
"""

from typing import Any

import torch
from measure import arguments, finish, peak_mib
from torch import nn
from torch.nn import functional

from medprm.scoring.step_scores import only_label_rows

VOCABULARY, HIDDEN, POSITIONS = 92_553, 64, 4_096
LABEL_IDS = [488, 482]
LABEL_POSITIONS = torch.arange(0, POSITIONS, 50)  # 6 in 300 tokens


class Head(nn.Module):
    """An output head as the models have it."""

    def __init__(self) -> None:
        super().__init__()
        self.lm_head = nn.Linear(HIDDEN, VOCABULARY, bias=False)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head


def every_logit(head: Head, hidden: torch.Tensor) -> None:
    logits = head.lm_head(hidden)[0, LABEL_POSITIONS]
    functional.cross_entropy(logits, torch.full((len(LABEL_POSITIONS),), LABEL_IDS[0])).backward()


def label_logits_only(head: Head, hidden: torch.Tensor) -> None:
    with only_label_rows(head, LABEL_IDS):
        logits = head.lm_head(hidden[0, LABEL_POSITIONS])
    functional.cross_entropy(logits, torch.zeros(len(LABEL_POSITIONS), dtype=torch.long)).backward()


def main() -> None:
    given = arguments(__doc__)
    head = Head()
    hidden = torch.randn((1, POSITIONS, HIDDEN), requires_grad=True)
    sides: dict[str, Any] = {"every logit": every_logit, "label logits": label_logits_only}
    peaks = {
        name: sorted(peak_mib(lambda side=side: side(head, hidden)) for _ in range(given.runs))[given.runs // 2]
        for name, side in sides.items()
    }
    for name, peak in peaks.items():
        print(f"{name:14} {peak:9.1f} MiB")
    at_16384 = 16_384 * VOCABULARY * 4 * 2 / 2**30
    print(f"arithmetic: logits and their gradient at 16,384 positions take {at_16384:.1f} GiB in float32")
    finish(
        given, {"memory of the head: every logit / label logits": peaks["every logit"] / peaks["label logits"]}, peaks
    )


if __name__ == "__main__":
    main()
