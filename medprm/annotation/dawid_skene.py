"""Consensus by Dawid and Skene: how often each annotator says what of right and wrong steps, fitted together with them.

In: what every annotator said of every step, as symbols, and the experts' decisions on some steps, taken as the truth
there. Out: P(correct) of every step, and the annotators' confusion tables. The steps that experts see may be chosen by
what the machines said (the disputed ones). Annotators are taken to err independently given the truth; machines that are
blind to the same things do not, so compare with the truth before you trust it.
Source: Dawid and Skene 1979, Applied Statistics 28(1), with one pseudo-count a cell.
Axes: N steps, A annotators, V symbols of one annotator; classes: 0 incorrect, 1 correct.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medprm.annotation.calibration import LEAST_VERDICTS
from medprm.annotation.expert_queue import QueuedStep, StepKey
from medprm.cases.schema import ExpertVerdict
from medprm.cases.verdicts import expert_majority

MISSING = -1
MAX_ROUNDS = 500
LEAST_CHANGE = 1e-6  # of any posterior, where the fit has settled
JUDGE_SYMBOLS = {"incorrect": 0, "neutral": 1, "correct": 2}
SCORE_BORDERS = (0.05, 0.3, 0.5, 0.7, 0.95)  # the Monte Carlo score as one of six symbols


class Fitted(NamedTuple):
    """`chances` (N,) of correct; `share_correct` before anybody spoke; `tables` by annotator (2, V), rows sum to 1."""

    chances: np.ndarray
    share_correct: float
    tables: list[np.ndarray]


def fit(symbols: np.ndarray, num_symbols: Sequence[int], known: np.ndarray) -> Fitted:
    """Expectation maximisation. `symbols` (N, A), MISSING where silent; `known` (N,) 1, 0 or MISSING."""
    assert symbols.shape == (len(known), len(num_symbols)), f"{symbols.shape}, {len(known)} steps"
    said = [np.eye(num + 1)[symbols[:, a]][:, :num] for a, num in enumerate(num_symbols)]  # -1 is the last, cut off
    is_known = known != MISSING
    # From the experts' steps alone at first: which class is which is theirs to say.
    tables, share = _tables(said, np.where(is_known, known, 0.5), is_known.astype(float))
    chances = _chances(said, tables, share, known)
    for _ in range(MAX_ROUNDS):
        tables, share = _tables(said, chances, np.ones(len(known)))
        before, chances = chances, _chances(said, tables, share, known)
        if np.abs(chances - before).max() < LEAST_CHANGE:
            break
    return Fitted(chances, share, tables)


def _tables(said: Sequence[np.ndarray], chances: np.ndarray, weights: np.ndarray) -> tuple[list[np.ndarray], float]:
    classes = np.stack([1 - chances, chances]) * weights  # (2, N)
    counts = [classes @ one + 1.0 for one in said]
    share = (classes[1].sum() + 1) / (classes.sum() + 2)
    return [one / one.sum(axis=1, keepdims=True) for one in counts], float(share)


def _chances(said: Sequence[np.ndarray], tables: Sequence[np.ndarray], share: float, known: np.ndarray) -> np.ndarray:
    log_odds = np.log(share / (1 - share)) + sum(
        one @ np.log(table[1] / table[0]) for one, table in zip(said, tables, strict=True)
    )
    return np.where(known == MISSING, 1 / (1 + np.exp(-log_odds)), known)


def consensus_chances(
    steps: Sequence[QueuedStep], experts: Mapping[StepKey, Sequence[ExpertVerdict]]
) -> np.ndarray | None:
    """P(correct) of every step from judge, Monte Carlo score (at the answer the outcome) and experts.

    None with fewer than LEAST_VERDICTS decisions or all alike: two annotators alone do not say who of them is right.
    """
    decided = {"correct": 1, "incorrect": 0}
    verdicts = [expert_majority(experts.get(step.key, ())) for step in steps]
    known = np.array([decided.get(one, MISSING) for one in verdicts])
    if (known != MISSING).sum() < LEAST_VERDICTS or len(np.unique(known[known != MISSING])) < 2:
        return None
    symbols = np.array([(JUDGE_SYMBOLS.get(one.judge, MISSING), _score_symbol(one), _outcome(one)) for one in steps])
    return fit(symbols, (len(JUDGE_SYMBOLS), len(SCORE_BORDERS) + 1, 2), known).chances


def _score_symbol(step: QueuedStep) -> int:
    num = step.num_correct + step.num_wrong
    return int(np.searchsorted(SCORE_BORDERS, step.num_correct / num)) if num else MISSING


def _outcome(step: QueuedStep) -> int:
    return {"correct": 1, "incorrect": 0}.get(step.outcome, MISSING) if step.is_answer else MISSING
