"""Best-of-N: equal to brute force over all subsets, ties and unparsed answers included."""

import math
from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest

from medprm.evaluation import best_of_n

SIZES = [1, 2, 3, 5, 8]


def one_case(seed: int) -> tuple[np.ndarray, list[str | None], np.ndarray]:
    """Eight candidates with tied scores, tied answers, unparsed answers, and answers of mixed correctness."""
    generator = np.random.default_rng(seed)
    scores = np.round(generator.random(8), 1)
    answers = [None if word == "?" else str(word) for word in generator.choice(["A", "B", "C", "?"], 8)]
    return scores, answers, generator.random(8) < 0.4


def every_subset(size: int) -> list[tuple[int, ...]]:
    return list(combinations(range(8), size))


def share_right(picked: list[int], is_correct: np.ndarray) -> float:
    return float(np.mean(is_correct[picked])) if picked else 0.0


@pytest.mark.parametrize("seed", range(6))
def test_top_scorer_equals_brute_force(seed: int) -> None:
    scores, _, truth = one_case(seed)
    for size, found in zip(SIZES, best_of_n.best_of_n(scores, truth, SIZES), strict=True):
        values = []
        for subset in every_subset(size):
            best = max(scores[list(subset)])
            values.append(share_right([i for i in subset if scores[i] == best], truth))
        assert found == pytest.approx(np.mean(values), abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_majority_vote_equals_brute_force(seed: int) -> None:
    _, answers, truth = one_case(seed)
    group_right = {word: share_right([i for i in range(8) if answers[i] == word], truth) for word in set(answers)}
    for size, found in zip(SIZES, best_of_n.majority_vote(answers, truth, SIZES), strict=True):
        values = []
        for subset in every_subset(size):
            counts = Counter(answers[i] for i in subset if answers[i] is not None)
            winners = [word for word, count in counts.items() if count == max(counts.values())]
            values.append(np.mean([group_right[word] for word in winners]) if winners else 0.0)
        assert found == pytest.approx(np.mean(values), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_oracle_and_pass_at_1_equal_brute_force(seed: int) -> None:
    _, _, truth = one_case(seed)
    for size, found in zip(SIZES, best_of_n.oracle(truth, SIZES), strict=True):
        assert found == pytest.approx(np.mean([truth[list(subset)].any() for subset in every_subset(size)]))
    assert best_of_n.oracle(truth, [1])[0] == pytest.approx(best_of_n.pass_at_1(truth))


def test_weighted_vote_equals_brute_force_within_its_stated_error() -> None:
    scores, answers, truth = one_case(3)
    group_right = {word: share_right([i for i in range(8) if answers[i] == word], truth) for word in set(answers)}
    sizes, num_subsets = [1, 3, 8], 4000
    found = best_of_n.weighted_vote(scores, answers, truth, sizes, num_subsets, seed=0)
    for size, value in zip(sizes, found, strict=True):
        golden = []
        for subset in every_subset(size):
            votes: dict[str, float] = {}
            for i in subset:
                if answers[i] is not None:
                    votes[answers[i]] = votes.get(answers[i], 0.0) + scores[i]
            winners = [word for word, vote in votes.items() if vote >= max(votes.values()) - 1e-9]
            golden.append(np.mean([group_right[word] for word in winners]) if winners else 0.0)
        assert value == pytest.approx(np.mean(golden), abs=4 * 0.5 / math.sqrt(num_subsets))
    assert np.array_equal(found, best_of_n.weighted_vote(scores, answers, truth, sizes, num_subsets, seed=0))


def test_picks_sum_to_one_and_equal_scores_are_picked_alike() -> None:
    for size in range(1, 5):
        probabilities = best_of_n.selection_probabilities(np.array([0.5, 0.9, 0.5, 0.1]), size)
        assert probabilities.sum() == pytest.approx(1)
        assert probabilities[0] == probabilities[2]
    assert best_of_n.selection_probabilities(np.full(5, 0.3), 3) == pytest.approx(np.full(5, 0.2))


def test_order_of_candidates_has_no_say() -> None:
    scores, answers, truth = one_case(5)
    for order in list(permutations(range(8)))[::5000]:
        shuffled = [answers[i] for i in order]
        picked = list(order)
        assert best_of_n.best_of_n(scores[picked], truth[picked], SIZES) == pytest.approx(
            best_of_n.best_of_n(scores, truth, SIZES), abs=1e-12
        )
        assert best_of_n.majority_vote(shuffled, truth[picked], SIZES) == pytest.approx(
            best_of_n.majority_vote(answers, truth, SIZES), abs=1e-12
        )


def test_a_perfect_score_reaches_the_oracle_and_a_blind_one_pass_at_1() -> None:
    _, _, truth = one_case(0)
    assert best_of_n.best_of_n(truth, truth, SIZES) == pytest.approx(best_of_n.oracle(truth, SIZES))
    assert best_of_n.best_of_n(np.zeros(8), truth, SIZES) == pytest.approx(np.full(5, truth.mean()))


def test_unparsed_answers_never_win() -> None:
    truth = np.array([True, False, False, False])
    assert best_of_n.majority_vote([None, None, None, None], truth, [1, 4]).tolist() == [0, 0]
    assert best_of_n.majority_vote(["A", None, None, None], truth, [4]).tolist() == [1]


def test_answers_vote_together_but_for_case_and_spaces() -> None:
    truth = np.array([True, True, False])
    assert best_of_n.majority_vote(["Left  effusion", "left effusion ", "B"], truth, [3]).tolist() == [1]
    assert best_of_n.normalise_answer("  ") is None


def test_majority_of_a_large_pool_agrees_with_sampling() -> None:
    generator = np.random.default_rng(0)
    answers = [str(word) for word in generator.choice(list("ABCDE"), 128, p=[0.3, 0.35, 0.2, 0.1, 0.05])]
    truth = np.array([word == "A" for word in answers])
    exact = best_of_n.majority_vote(answers, truth, [32])[0]
    wins = []
    for _ in range(4000):
        counts = Counter(answers[i] for i in generator.choice(128, 32, replace=False))
        winners = [word for word, count in counts.items() if count == max(counts.values())]
        wins.append(("A" in winners) / len(winners))
    assert exact == pytest.approx(np.mean(wins), abs=4 * 0.5 / math.sqrt(4000))
