"""The chance that a step is correct, fitted on steps that experts have decided.

In: steps with the machines' verdicts, and the experts' verdicts on some. Out: a chance for every step. A logistic
regression of few features; with too few verdicts, or all alike, the fixed beliefs of the queue stand.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from medprm.annotation.expert_queue import QueuedStep, StepKey, believed_chance
from medprm.cases.schema import ExpertVerdict
from medprm.cases.verdicts import expert_majority

LEAST_VERDICTS = 40
PENALTY = 1.0  # inverse strength of the ridge


def step_chances(
    steps: Sequence[QueuedStep], experts: Mapping[StepKey, Sequence[ExpertVerdict]]
) -> tuple[list[float], bool]:
    """P(correct) of every step, and whether it was fitted."""
    decided = {"correct": 1, "incorrect": 0}
    known = [
        (place, decided[said])
        for place, one in enumerate(steps)
        if (said := expert_majority(experts.get(one.key, ()))) in decided
    ]
    if len(known) < LEAST_VERDICTS or len({label for _, label in known}) < 2:
        return [believed_chance(one) for one in steps], False
    categories = sorted({one.category for one in steps})
    rows = np.array([_features(one, categories) for one in steps])
    places = [place for place, _ in known]
    model = LogisticRegression(C=PENALTY, max_iter=1000)
    model.fit(rows[places], [label for _, label in known])
    return model.predict_proba(rows)[:, 1].tolist(), True


def _features(step: QueuedStep, categories: Sequence[str]) -> list[float]:
    num = step.num_correct + step.num_wrong
    score_odds = float(np.log((step.num_correct + 0.5) / (step.num_wrong + 0.5))) if num else 0.0
    judge = [float(step.judge == "correct"), float(step.judge == "incorrect")]
    outcome = float(step.outcome == "correct") - float(step.outcome == "incorrect")
    kinds = [float(step.category == name) for name in categories]
    return [
        *(*judge, float(step.has_citation), judge[0] * step.has_citation, judge[1] * step.has_citation),
        *(score_odds, score_odds * judge[0], score_odds * judge[1], float(num > 0)),
        *(outcome, outcome * step.is_answer, float(step.is_answer)),
        *kinds,
        *(kind * score_odds for kind in kinds),
    ]
