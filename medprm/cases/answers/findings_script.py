"""The metrics of radiology as a process of its own: `python PATH METRIC`, started by findings_process.py.

It imports nothing of this project, so that it runs in an environment with a metric's package alone, from Python 3.8 on.
In, as lines of JSON: {"answer", "reference"}. Out likewise: {"versions"} once the weights are there and a pair was
scored; for each pair {"score"}, or {"unscored"} with the reason; {"error"} where the metric itself fails, and it ends.
Standard output is for these lines alone: what the packages print goes to standard error.
A pair that a package stumbles over (RaTEScore: "No.") is told from a package that cannot score at all by a trial pair.
Sources: RadGraph F1 (Delbrouck et al. 2022, 2024), CheXbert (Smit et al. 2020), RaTEScore (Zhao et al. 2024).
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module, metadata
from typing import Callable  # noqa: UP035  (the one of collections.abc takes no types before Python 3.9)

Score = Callable[[str, str], float]  # answer, reference -> in [0, 1]; ValueError where the two have none

TRIAL = ("Small left pleural effusion.", "There is a small pleural effusion on the left.")
RATESCORE_WITHOUT_ENTITIES = 0.5


def radgraph() -> Score:
    """RG_ER of RadGraph-XL: entities with their labels, and whether they have relations."""
    metric = import_module("radgraph").F1RadGraph(reward_level="partial", model_type="radgraph-xl")

    def score(answer: str, reference: str) -> float:
        _, scores, _, in_references = metric(refs=[reference], hyps=[answer])
        if not in_references[0]["entities"]:
            raise ValueError("RadGraph finds no entity in the reference")
        return scores[0]

    return score


def chexbert() -> Score:
    """F1 of the pair over CheXbert's fourteen conditions, unsure ones counted as present.

    Its own score of a pair, whether five of them all agree, is 0 or 1: no threshold would matter.
    """
    metric = import_module("f1chexbert").F1CheXbert()

    def score(answer: str, reference: str) -> float:
        _, _, of_fourteen, _ = metric(hyps=[answer], refs=[reference])
        if not of_fourteen["micro avg"]["support"]:
            raise ValueError("CheXbert finds none of its conditions in the reference")
        return of_fourteen["micro avg"]["f1-score"]

    return score


def ratescore() -> Score:
    """RaTEScore with the weights for long reports, which are its own default."""
    has_gpu = import_module("torch").cuda.is_available()
    metric = import_module("RaTEScore").RaTEScore(use_gpu=has_gpu)

    def score(answer: str, reference: str) -> float:
        scores = metric.compute_score([answer], [reference])
        if scores in ([], [RATESCORE_WITHOUT_ENTITIES]):
            raise ValueError("RaTEScore finds no entity in the answer or in the reference")
        return scores[0]

    return score


METRICS = {"radgraph": radgraph, "chexbert": chexbert, "ratescore": ratescore}
PACKAGES = {"radgraph": "radgraph", "chexbert": "f1chexbert", "ratescore": "RaTEScore"}


def main(name: str) -> int:
    """Answer until standard input ends; the exit code."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ.setdefault("LOGURU_LEVEL", "WARNING")  # medspacy would write each word of each text to standard error
    # Python puts this file's folder first: its modules must not stand in for what the packages import.
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != own]

    def reply(said: dict[str, object]) -> None:
        lines.write(json.dumps(said) + "\n")
        lines.flush()

    try:
        score = METRICS[name]()
        score(*TRIAL)
        reply({"versions": versions(PACKAGES[name])})
        for line in sys.stdin:
            pair = json.loads(line)
            reply(scored(score, pair["answer"], pair["reference"]))
    except Exception as error:  # whatever a package raises is for the other side to tell
        reply({"error": described(error)})
        return 1
    return 0


def scored(score: Score, answer: str, reference: str) -> dict[str, object]:
    """The score, or why the pair has none. Raises what the trial raises where it is not the pair's fault."""
    try:
        return {"score": float(score(answer, reference))}
    except Exception as error:  # packages raise anything at texts they did not expect
        score(*TRIAL)
        return {"unscored": described(error)}


def described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def versions(package: str) -> dict[str, str]:
    """What decides the scores; a package without metadata is left out."""
    found = {}
    for name in (package, "torch", "transformers"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
