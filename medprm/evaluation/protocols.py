"""Published protocols by name: definition, source, where ours deviates, and the numbers.

In: scored solutions of validation and test, the threshold and the aggregation chosen on validation. Out: estimates with
intervals by patient (or question), in the protocol's own terms. `source` of a solution names the set or split it is
from. A protocol that needs something the solutions lack raises ScoredError.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medprm.evaluation import protocol_best_of_n as choosing
from medprm.evaluation import protocol_steps as judging
from medprm.evaluation.protocol_input import ProtocolInput
from medprm.evaluation.protocol_sets import SETS, SetCases, set_cases
from medprm.evaluation.published import figures_of
from medprm.evaluation.settings import PROTOCOLS as NAMES
from medprm.statistics.bootstrap import Estimate

__all__ = ["PROTOCOLS", "Measured", "Protocol", "ProtocolInput", "measure"]

Numbers = Mapping[str, Mapping[str, Estimate]]
"""By part (all, or a set's name), by number."""

MR_SCORE = (
    "MR-Score = 0.2 max(0, MCC) + 0.3 ACC_step + 0.5 ACC_reason: MCC of the verdict on whole solutions, exact first "
    "error of the wrong ones, and whether the stated reason is right."
)
NO_REASON = (
    "A PRM states no reason: ACC_reason is not measured, and mr_score_without_reason = (0.2 MCC + 0.3 ACC_step) / 0.5."
)


@dataclass(frozen=True)
class Protocol:
    """`headline` names the number (part, name) that papers print."""

    title: str
    definition: str
    source: str
    measure: Callable[[ProtocolInput], Numbers]
    headline: tuple[str, str]
    deviations: tuple[str, ...] = ()


THRESHOLD = (
    "The threshold is chosen on validation (evaluation.threshold sets one); publications often do not say theirs."
)

FEWER = (
    "Cases with fewer than N candidates known to be right or wrong are left out of all numbers and counted; sets "
    "without a case are named, and the mean of sets is then missing."
)

PROTOCOLS: dict[str, Protocol] = {
    "visualprocessbench": Protocol(
        "VisualProcessBench",
        "F1 of correct and of incorrect steps, averaged, over all steps pooled; neutral steps are left out. Also by "
        "source.",
        "VisualPRM, arXiv 2503.10291, section 4",
        judging.visualprocessbench,
        ("all", "macro_f1"),
        (
            THRESHOLD,
            "The paper's threshold is not published; evaluation.threshold=0.85 is what others report of the official "
            "code (second-hand).",
            "Overall is read as all steps pooled: the caption says micro average over sources, and only pooling gives "
            "its 62.0 from the figures by source.",
        ),
    ),
    "processbench": Protocol(
        "ProcessBench",
        "Harmonic mean of the accuracy of the first error on erroneous solutions (its exact place) and on error-free "
        "ones (none named), by split; then the mean over splits.",
        "arXiv 2412.06559",
        judging.processbench,
        ("all", "f1"),
        (THRESHOLD, "Steps after the first error have no label and are not judged."),
    ),
    "prmbench": Protocol(
        "PRMBench",
        "PRMScore = (F1 + F1_negative) / 2 over steps, F1 with correct steps as the positives; by kind of error.",
        "arXiv 2501.03124",
        judging.prmbench,
        ("all", "prm_score"),
        (
            THRESHOLD,
            "The weights of one half are the paper's; its toolkit prints the two F1 alone.",
            "all pools the steps; mean_of_kinds is the mean over kinds of error.",
        ),
    ),
    "mr_ben": Protocol(
        "Mr-Ben",
        MR_SCORE,
        "arXiv 2406.13975",
        judging.mr_score,
        ("all", "mr_score_without_reason"),
        (THRESHOLD, NO_REASON),
    ),
    "mr_gsm8k": Protocol(
        "MR-GSM8K",
        MR_SCORE,
        "arXiv 2312.17080",
        judging.mr_score,
        ("all", "mr_score_without_reason"),
        (THRESHOLD, NO_REASON),
    ),
    "medec": Protocol(
        "MEDEC",
        "Flag accuracy: whether a note holds an error. Sentence accuracy: over all notes, whether the named sentence "
        "is the wrong one (none named, where there is none).",
        "arXiv 2412.19260",
        judging.medec,
        ("all", "sentence_accuracy"),
        (
            "A note is flagged where its lowest sentence score is below a threshold chosen on validation for flag "
            "accuracy; the sentence named is the one of that score.",
            "Corrections are not measured: a PRM writes none.",
        ),
    ),
    "prm_clinic": Protocol(
        "PRM-Clinic",
        "Share of dialogues whose gold note has the highest score among all its notes, the score being the product of "
        "the note's step scores; and step metrics. Also by task (A_Validate, A_Verify, Dialogue_G).",
        "hanyin88/prm-clinic, src/eval",
        choosing.note_selection,
        ("all", "note_selection"),
        (
            THRESHOLD,
            "Theirs multiplies the scores of problems and of completeness, too, which ours does not give; ties share "
            "the pick evenly.",
            "Notes whose steps were all taken away cannot be scored: the reader refuses and counts them.",
        ),
    ),
    "med_prm": Protocol(
        "Med-PRM's seven sets",
        "Accuracy by set of Best-of-N by the least step score, of self-consistency, and of the score-weighted vote "
        "(SC + RM, by least and by last score), at N = 64; then the mean over the seven sets.",
        "arXiv 2506.11474; hyper-parameters of its repository",
        choosing.med_prm,
        ("mean of sets", "weighted_vote_min"),
        (
            "Exact expectations instead of one draw; ties share the pick evenly (theirs go to the first).",
            "Unparsed answers are wrong and never win a vote (theirs count None as an answer).",
            "Where fewer than half of the cases have 64 candidates, N is the number that half of them have.",
            FEWER,
        ),
    ),
    "visualprm": Protocol(
        "VisualPRM's seven sets",
        "Accuracy by set of the candidate of the highest mean step score of 8; DynaMath by its worst case (all "
        "variants of a question right); then the mean over the seven sets.",
        "arXiv 2503.10291, section 5; VLMEvalKit",
        choosing.visualprm,
        ("mean of sets", "best_of_8"),
        (
            "Exact expectation over subsets; evaluation.greedy_first=true keeps the greedy candidate in each, as "
            "VLMEvalKit does. Ties share the pick evenly (theirs go to the earlier candidate).",
            "DynaMath's worst case multiplies the variants' expectations: each draws its own candidates.",
            "MathVerse is to be given in its vision-only form; WeMath by plain accuracy, not its strict score.",
            "Unparsed answers are wrong.",
            FEWER,
        ),
    ),
}
assert set(PROTOCOLS) == set(NAMES), "every protocol of the settings is defined"


@dataclass(frozen=True)
class Measured:
    """The numbers of a protocol, and what a reader must know of them."""

    name: str
    numbers: Numbers
    set_cases: SetCases | None = None

    def words(self) -> dict[str, Any]:
        """Plain JSON: title, definition, source, deviations, published reference rows, N and what was left out."""
        protocol, cases = PROTOCOLS[self.name], self.set_cases
        return {
            "name": self.name,
            "title": protocol.title,
            "definition": protocol.definition,
            "source": protocol.source,
            "deviations": list(protocol.deviations),
            "headline": list(protocol.headline),
            **({} if cases is None else _counts(cases)),
            "notes": [] if cases is None else cases.notes(),
            "published": [one.as_json() for one in figures_of(self.name)],
        }


def _counts(cases: SetCases) -> dict[str, Any]:
    return {
        "num_candidates": cases.num_candidates,
        "left_out": {name: num for name, (num, _) in cases.left_out.items()},
        "other_sources": cases.other_sources,
        "absent_sets": cases.absent,
    }


def measure(name: str, given: ProtocolInput) -> Measured:
    """The numbers of the test solutions by the protocol called `name`."""
    cases = set_cases(name, given.test) if name in SETS else None
    return Measured(name, PROTOCOLS[name].measure(given), cases)
