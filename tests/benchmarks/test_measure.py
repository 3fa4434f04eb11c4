"""The table of the benchmarks has both sides: seconds, tokens, padding, peak memory; the head's memory."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import memory
from measure import Side, finish, measure, peak_ratio, show


def test_both_sides_are_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = torch.ones(2**23)  # this process has held more than a side needs
    del kept
    found = measure(
        {
            "ours": Side(lambda: torch.ones(2**22).sum(), num_tokens=100),
            "other": Side(lambda: torch.ones(2**24).sum(), num_tokens=300, num_padding=100),
        },
        num_runs=5,
    )
    rows = show("a title", found)
    printed = capsys.readouterr().out
    assert "median s" in printed and "25.0 %" in printed and "other" in printed
    assert rows["other"]["padding_share"] == 0.25 and rows["ours"]["padding_share"] == 0.0
    assert len(rows["ours"]["seconds"]) == 5
    # 16 and 64 MiB, and some 6 MiB of pages that any run of a fresh process touches.
    assert rows["ours"]["peak_mib"] == pytest.approx(16, abs=12)
    assert rows["other"]["peak_mib"] == pytest.approx(64, abs=12)
    assert rows["other"]["memory_ratio"] > 2
    finish(Namespace(json=tmp_path / "found.json", threads=1), {}, {}, {"a title": rows})
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["tables"]["a title"]["other"]["tokens"] == 300
    assert {"processor", "cores", "memory"} <= written["machine"].keys()


def test_the_head_takes_a_small_part_of_the_memory_where_it_is_frozen() -> None:
    """Trained, both sides hold the gradient of its weight, and the ratio is far smaller."""
    frozen, trained = (
        peak_ratio(
            memory.compare(memory.Size(256, is_trained, vocabulary=40_000, positions=1_024), 1),
            "every logit",
            "label logits",
        )
        for is_trained in (False, True)
    )
    assert frozen >= 8  # measured 16.7, and 5.7 where trained
    assert trained < frozen / 2
