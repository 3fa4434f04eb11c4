"""Memory of the output head: logits of the label tokens at label positions against all logits everywhere.

python benchmarks/memory.py [--json FILE]
4,096 positions, a vocabulary of 92,553 (InternVL2.5-8B's), float32, 6 labels in 300 tokens; forward and backward of
head and loss, each run in a process of its own. At hidden size 64, and once at 4,096 (InternVL2.5-8B's; what is taken
does not vary, and a run is minutes) with the head frozen, as under LoRA, and trained: then both sides hold the dense
gradient of its weight, as large as the weight. Up to 6 GiB of memory.
"""

from typing import NamedTuple

import torch
from measure import Measured, Side, arguments, finish, measure, peak_ratio, show
from torch import nn
from torch.nn import functional

from medprm.scoring.step_scores import only_label_rows

VOCABULARY, POSITIONS = 92_553, 4_096
LABEL_IDS = [488, 482]


class Size(NamedTuple):
    """A head and what is asked of it."""

    hidden: int
    is_trained: bool
    vocabulary: int = VOCABULARY
    positions: int = POSITIONS

    @property
    def name(self) -> str:
        return f"hidden size {self.hidden:,}, head {'trained' if self.is_trained else 'frozen'}"


SIZES = (Size(64, True), Size(4_096, False), Size(4_096, True))


class Head(nn.Module):
    """An output head as the models have it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.lm_head = nn.Linear(size.hidden, size.vocabulary, bias=False, device="meta").to_empty(device="cpu")
        self.lm_head.weight.requires_grad_(size.is_trained).detach().fill_(0.01)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head


def every_logit(head: Head, hidden: torch.Tensor, positions: torch.Tensor) -> None:
    logits = head.lm_head(hidden)[0, positions]
    functional.cross_entropy(logits, torch.full((len(positions),), LABEL_IDS[0])).backward()


def label_logits_only(head: Head, hidden: torch.Tensor, positions: torch.Tensor) -> None:
    with only_label_rows(head, LABEL_IDS):
        logits = head.lm_head(hidden[0, positions])
    functional.cross_entropy(logits, torch.zeros(len(positions), dtype=torch.long)).backward()


def compare(size: Size, num_runs: int) -> dict[str, Measured]:
    """Peaks of both sides in turn; each runs once in its process."""
    head = Head(size)
    hidden = torch.randn((1, size.positions, size.hidden), requires_grad=True)
    positions = torch.arange(0, size.positions, 50)  # 6 in 300 tokens
    sides = {
        "label logits": Side(lambda: label_logits_only(head, hidden, positions), size.positions),
        "every logit": Side(lambda: every_logit(head, hidden, positions), size.positions),
    }
    return measure(sides, 0, num_peaks=num_runs)


def main() -> None:
    given = arguments(__doc__)
    tables, ratios = {}, {}
    for size in SIZES:
        found = compare(size, given.runs if size.hidden == 64 else 1)
        tables[size.name] = show(f"memory of the head, {size.name}", found)
        ratios[f"memory of the head, {size.name}: every / label"] = peak_ratio(found, "every logit", "label logits")
    at_16384 = 16_384 * VOCABULARY * 4 * 2 / 2**30
    print(f"arithmetic: logits and their gradient at 16,384 positions take {at_16384:.1f} GiB in float32")
    finish(given, ratios, {}, tables)


if __name__ == "__main__":
    main()
