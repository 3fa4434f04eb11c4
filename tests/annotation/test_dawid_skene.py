"""Dawid-Skene on simulated annotators of known accuracy."""

import numpy as np
import pytest

from medprm.annotation.dawid_skene import MISSING, consensus_chances, fit
from medprm.annotation.expert_queue import QueuedStep, StepKey
from medprm.cases.schema import ExpertVerdict, Label

# P(symbol | class): rows incorrect, correct. A judge that lets errors pass, a good score, a contrarian.
TABLES = [
    np.array([[0.55, 0.45], [0.15, 0.85]]),
    np.array([[0.6, 0.25, 0.1, 0.05], [0.05, 0.1, 0.25, 0.6]]),
    np.array([[0.2, 0.8], [0.9, 0.1]]),
]
SHARE = 0.65


def simulated(num: int, seed: int, num_annotators: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Truth (N,) and symbols (N, A); a tenth of the symbols is missing."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(num) < SHARE).astype(int)
    columns = [(rng.random((num, 1)) > table[truth].cumsum(axis=1)).sum(axis=1) for table in TABLES[:num_annotators]]
    symbols = np.stack(columns, axis=1)
    symbols[rng.random(symbols.shape) < 0.1] = MISSING
    return truth, symbols


def best_possible(symbols: np.ndarray) -> np.ndarray:
    """P(correct) by the tables that the symbols were drawn from."""
    odds = np.full(len(symbols), np.log(SHARE / (1 - SHARE)))
    for a in range(symbols.shape[1]):
        spoke = symbols[:, a] != MISSING
        odds[spoke] += np.log(TABLES[a][1] / TABLES[a][0])[symbols[spoke, a]]
    return 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("num_annotators", [2, 3])
def test_tables_and_chances_are_found_though_experts_saw_only_disputed_steps(num_annotators: int) -> None:
    truth, symbols = simulated(8000, 0, num_annotators)
    is_disputed = (symbols[:, 0] == 1) != (symbols[:, 1] >= 2)
    known = np.where(is_disputed & (np.arange(8000) % 3 == 0), truth, MISSING)
    assert 0 < (known != MISSING).mean() < 0.2
    found = fit(symbols, [len(one[0]) for one in TABLES[:num_annotators]], known)
    for table, wanted in zip(found.tables, TABLES, strict=False):
        np.testing.assert_allclose(table, wanted, atol=0.06)
    assert found.share_correct == pytest.approx(SHARE, abs=0.04)
    unseen = known == MISSING
    ours = ((found.chances > 0.5) == truth)[unseen].mean()
    best = ((best_possible(symbols) > 0.5) == truth)[unseen].mean()
    assert best - 0.01 < ours < 1 and ours > 0.8
    assert (found.chances[~unseen] == truth[~unseen]).all()


def test_it_beats_the_plain_majority() -> None:
    truth, symbols = simulated(4000, 1)
    known = np.where(np.arange(4000) < 200, truth, MISSING)
    votes = np.stack([symbols[:, 0] == 1, symbols[:, 1] >= 2, symbols[:, 2] == 1]).sum(axis=0) >= 2
    found = fit(symbols, (2, 4, 2), known)
    gain = ((found.chances > 0.5) == truth)[200:].mean() - (votes == truth)[200:].mean()
    assert gain > 0.1, "a contrarian is read the other way round"


def test_steps_of_the_queue() -> None:
    rng = np.random.default_rng(2)
    steps, experts, truth = [], {}, rng.random(600) < 0.6
    for i, is_right in enumerate(truth):
        judge: Label = "correct" if rng.random() < (0.9 if is_right else 0.5) else "incorrect"
        right = int(rng.binomial(16, 0.85 if is_right else 0.15))
        steps.append(
            QueuedStep(
                key=StepKey("c", str(i), 0), group_id="p", category="", judge=judge, has_citation=False,
                num_correct=right, num_wrong=16 - right, outcome="unknown", is_answer=False, label="unknown",
            )
        )  # fmt: skip
        if i < 100:
            said: Label = "correct" if is_right else "incorrect"
            experts[steps[-1].key] = (ExpertVerdict(verdict=said, expert_id="a"),)
    chances = consensus_chances(steps, experts)
    assert chances is not None and ((chances > 0.5) == truth)[100:].mean() > 0.97
    assert consensus_chances(steps, {}) is None, "nobody says which annotator is right"
