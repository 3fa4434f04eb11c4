"""The consensus rule: from the raw verdicts of a step to its fused label.

judge + and Monte Carlo score > 0.7 -> correct; judge - and score < 0.3 -> incorrect; all else is disputed and goes
to the expert, whose verdict wins. A disputed step without an expert's verdict is unknown, never incorrect.
"""

from typing import NamedTuple

from medprm.annotation.settings import ConsensusSettings
from medprm.cases.schema import Label, Sources, Step
from medprm.cases.verdicts import majority, share_correct

SIGN = {"correct": "+", "incorrect": "-", "neutral": "="}
EXPERT_CONFIDENCE = 0.95  # as the brief's example gives an expert's verdict


class Fused(NamedTuple):
    """A label, how sure we are of it (None: there is no label), and the way it came about."""

    label: Label
    confidence: float | None
    method: str


def fuse(sources: Sources, settings: ConsensusSettings) -> Fused:
    """The fused label of one step."""
    expert = majority([verdict.verdict for verdict in sources.expert])
    if expert != "unknown":
        return Fused(expert, EXPERT_CONFIDENCE, "expert_verified")
    judge, score = judge_verdict(sources), share_correct(sources.monte_carlo)
    if judge == "correct" and score is not None and score > settings.mc_correct_above:
        return Fused("correct", (1.0 + score) / 2, "rag_mc_consensus")
    if judge == "incorrect" and score is not None and score < settings.mc_incorrect_below:
        return Fused("incorrect", (2.0 - score) / 2, "rag_mc_consensus")
    return Fused("unknown", None, "unresolved")


def judge_verdict(sources: Sources) -> Label:
    return majority([verdict.verdict for verdict in sources.judge])


def label_step(step: Step, sources: Sources, settings: ConsensusSettings) -> Step:
    """The step with its sources and everything that is derived from them."""
    fused = fuse(sources, settings)
    derived = {
        "label": fused.label,
        "confidence": fused.confidence,
        "annotation_method": fused.method,
        "rag_label": SIGN.get(judge_verdict(sources)),
        "mc_score": share_correct(sources.monte_carlo),
        "sources": sources,
    }
    return step.model_copy(update={name: value for name, value in derived.items() if value is not None})
