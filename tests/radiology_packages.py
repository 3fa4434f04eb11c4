"""Packages with the names, the signatures and the order of results of radgraph 0.1.18, f1chexbert 0.0.2 and RaTEScore
0.6.0, for a python to find on PYTHONPATH. Their score is the share of the answer's words that the reference has, so
that an exchange of the two shows; some words make them fail. Calls are lines of the file `calls` beside them.
"""

from pathlib import Path

import pytest

WORDS = """
import os, sys, time
from pathlib import Path

def precision(answer, reference):
    with open(Path(__file__).parent / "calls", "a") as calls:
        calls.write(answer + " | " + reference + "\\n")
    if "ends" in answer:
        print("out of memory, says the library", file=sys.stderr)
        sys.stderr.flush()
        os._exit(3)
    if "hangs" in answer:
        time.sleep(60)
    if "stumbles" in answer:
        raise KeyError("doc 0")
    if "above" in answer:
        return 1.5
    if "no number" in answer:
        return float("nan")
    words = answer.lower().strip(".").split()
    return sum(word in reference.lower() for word in words) / len(words)
"""
RADGRAPH = """
import os
import number, units  # names that stand beside the script of this project, too
from words import precision

assert number.MINE and units.MINE
print("Using device: cpu")
os.write(1, b"a library in C writes, too\\n")

class F1RadGraph:
    def __init__(self, reward_level, model_type=None, **kwargs):
        assert reward_level in ["simple", "partial", "complete", "all"] and not kwargs
        self.made = (reward_level, model_type)

    def __call__(self, refs, hyps):
        assert self.made == ("partial", "radgraph-xl") and isinstance(refs, list) and len(refs) == len(hyps) == 1
        print("model_type not provided", flush=True)
        entities = [{"entities": {} if "rotated" in one else {"1": {}}} for one in refs]
        return 0.25, [precision(hyps[0], refs[0])], [{"entities": {}}], entities
"""
CHEXBERT = """
from words import precision

class F1CheXbert:
    def __init__(self, refs_filename=None, hyps_filename=None, device=None, **kwargs):
        assert device is None and not kwargs

    def __call__(self, hyps, refs):
        share = precision(hyps[0], refs[0])
        wrong = {"precision": 0.25, "recall": 0.25, "f1-score": 0.25, "support": 9}
        support = 0 if "rotated" in refs[0] else 2
        report = {"macro avg": wrong, "micro avg": wrong | {"f1-score": share, "support": support}}
        return 0.25, [0.25], report, {"micro avg": wrong}
"""
RATESCORE = """
from words import precision

class RaTEScore:
    def __init__(self, bert_model="ner", eval_model="words", batch_size=1, use_gpu=True, visualization_path=None,
                 affinity_matrix="long"):
        assert not use_gpu and affinity_matrix == "long"

    def compute_score(self, candidate_list, reference_list):
        if "rotated" in reference_list[0]:
            return [0.5]
        if len(candidate_list[0]) < 3:
            return []
        share = precision(candidate_list[0], reference_list[0])
        return [1.0000002 if share == 1 else share]
"""
NO_GPU = """
class cuda:
    is_available = staticmethod(lambda: False)
"""
MODULES = {"words": WORDS, "radgraph": RADGRAPH, "f1chexbert": CHEXBERT, "RaTEScore": RATESCORE, "torch": NO_GPU}
MODULES |= {"number": "MINE = True", "units": "MINE = True"}
VERSIONS = {"radgraph": "0.1.18", "f1chexbert": "0.0.2", "RaTEScore": "0.6.0", "torch": "2.0", "transformers": "4.57"}


def write_packages(folder: Path, monkeypatch: pytest.MonkeyPatch, **changed: str) -> None:
    """The packages as modules in a folder, which child processes find first; `changed` ones have another text."""
    for name, text in (MODULES | changed).items():
        (folder / f"{name}.py").write_text(text)
    for name, version in VERSIONS.items():
        metadata = folder / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()
