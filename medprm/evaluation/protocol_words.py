"""The protocol in words, as metrics.json and the report state it: how every number of this evaluation came about."""

from collections.abc import Sequence

from medprm.evaluation.scored import ScoredSolution
from medprm.evaluation.selection import Choice
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.thresholds import ThresholdChoice
from medprm.statistics.step_metrics import NUM_CALIBRATION_BINS


def protocol_words(
    threshold: ThresholdChoice, choice: Choice, test: Sequence[ScoredSolution], settings: EvaluationSettings
) -> dict[str, str]:
    """One sentence or two for each kind of number."""
    by_case = sum(solution.patient_id is None for solution in test)
    unit = "patient" if not by_case else "case" if by_case == len(test) else "patient (case where none is known)"
    return {
        "threshold": f"A step is predicted correct where its score >= {threshold.value:.6g}: {threshold.rule}.",
        "aggregation": f"Solution score = {choice.aggregation} of step scores: {choice.rule}.",
        "steps": "All judged steps pooled; neutral and unknown steps are left out.",
        "first_error": "ProcessBench: harmonic mean of the share of erroneous solutions whose first error is found "
        "exactly and the share of error-free solutions left alone; solutions with an unknown step before the first "
        "known error are left out.",
        "best_of_n": "Exact expectation over all subsets of N of a case's candidates"
        + (" that hold its first one, decoded greedily" if settings.greedy_first else "")
        + "; tied scores share the pick evenly; a case with fewer than N candidates is left out at that N.",
        "majority": "Exact; answers equal but for case and spaces vote together; tied answers share the win evenly; "
        "unparsed answers never win.",
        "weighted_vote": f"Answer with the highest sum of solution scores, over {settings.num_vote_subsets} random "
        "orders of the candidates per case; sampling_errors has what that leaves of error in each mean.",
        "best_of_all": "Every selector given all candidates that a case has: no case is left out.",
        "comparisons": "The chosen aggregation minus every other selector at one N, paired; two-sided p-values invert "
        "the bootstrap's interval, p_holm is corrected for all of them.",
        "power": "Normal approximation at a level of 5 %; needed and detectable at a power of 80 %.",
        "experts": "The model's verdict at the threshold against each expert's, steps both judged.",
        "gap_closed": "(Best-of-N - pass@1) / (oracle - pass@1), on the same cases.",
        "baselines": "Expected counts of a guesser: all correct, a fair coin, and a coin with the base rate of the "
        "test steps; length: the characters of a step, direction and threshold from validation. Best-of-N: the "
        "solution of fewest and of most characters.",
        "calibration": f"ECE over {NUM_CALIBRATION_BINS} bins of equal width; temperature and isotonic map fitted on "
        "validation.",
        "intervals": f"95 % percentile bootstrap, {settings.num_bootstrap} resamples by {unit} "
        f"(seed {settings.seed}); differences are paired.",
    }
