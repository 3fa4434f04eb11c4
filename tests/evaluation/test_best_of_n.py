"""Best-of-N: equal to brute force over all subsets, ties, unparsed answers and a greedy first candidate included."""

import math
from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest

from medprm.evaluation import best_of_n, votes
from medprm.evaluation.votes import Answer

SIZES = [1, 2, 3, 5, 8]
EITHER = pytest.mark.parametrize("greedy_first", [False, True])


def one_case(seed: int) -> tuple[np.ndarray, list[Answer], np.ndarray]:
    """Eight candidates with tied scores, tied answers, unparsed answers, and answers of mixed correctness."""
    generator = np.random.default_rng(seed)
    scores = np.round(generator.random(8), 1)
    answers = [None if word == "?" else str(word) for word in generator.choice(["A", "B", "C", "?"], 8)]
    return scores, answers, generator.random(8) < 0.4


def every_subset(size: int, greedy_first: bool) -> list[tuple[int, ...]]:
    return [one for one in combinations(range(8), size) if 0 in one or not greedy_first]


def share_right(picked: list[int], is_correct: np.ndarray) -> float:
    return float(np.mean(is_correct[picked])) if picked else 0.0


@EITHER
@pytest.mark.parametrize("seed", range(12))
def test_top_scorer_equals_brute_force(seed: int, greedy_first: bool) -> None:
    scores, _, truth = one_case(seed)
    for size, found in zip(SIZES, best_of_n.best_of_n(scores, truth, SIZES, greedy_first), strict=True):
        values = []
        for subset in every_subset(size, greedy_first):
            best = max(scores[list(subset)])
            values.append(share_right([i for i in subset if scores[i] == best], truth))
        assert found == pytest.approx(np.mean(values), abs=1e-12)


def golden_vote(subset: tuple[int, ...], weights: np.ndarray, answers: list[Answer], truth: np.ndarray) -> float:
    group_right = {word: share_right([i for i in range(8) if answers[i] == word], truth) for word in set(answers)}
    heard: dict[str, float] = {}
    for i in subset:
        if (answer := answers[i]) is not None:
            heard[answer] = heard.get(answer, 0.0) + weights[i]
    winners = [word for word, vote in heard.items() if vote >= max(heard.values()) - 1e-9]
    return float(np.mean([group_right[word] for word in winners])) if winners else 0.0


@EITHER
@pytest.mark.parametrize("seed", range(12))
def test_majority_vote_equals_brute_force(seed: int, greedy_first: bool) -> None:
    _, answers, truth = one_case(seed)
    for size, found in zip(SIZES, votes.majority_vote(answers, truth, SIZES, greedy_first), strict=True):
        golden = [golden_vote(one, np.ones(8), answers, truth) for one in every_subset(size, greedy_first)]
        assert found == pytest.approx(np.mean(golden), abs=1e-12)


@EITHER
@pytest.mark.parametrize("seed", range(4))
def test_oracle_and_random_pick_equal_brute_force(seed: int, greedy_first: bool) -> None:
    _, _, truth = one_case(seed)
    oracle = best_of_n.oracle(truth, SIZES, greedy_first)
    blind = best_of_n.random_pick(truth, SIZES, greedy_first)
    for size, best, mean in zip(SIZES, oracle, blind, strict=True):
        subsets = [list(one) for one in every_subset(size, greedy_first)]
        assert best == pytest.approx(np.mean([truth[one].any() for one in subsets]), abs=1e-12)
        assert mean == pytest.approx(np.mean([truth[one].mean() for one in subsets]), abs=1e-12)
    assert best_of_n.random_pick(truth, SIZES) == pytest.approx(np.full(5, best_of_n.pass_at_1(truth)))


@EITHER
@pytest.mark.parametrize("seed", [3, 5])
def test_weighted_vote_equals_brute_force_within_its_stated_error(seed: int, greedy_first: bool) -> None:
    scores, answers, truth = one_case(seed)
    sizes = [1, 3, 5, 8]
    found = votes.weighted_vote(scores, answers, truth, sizes, 4000, 0, greedy_first)
    for size, value, error in zip(sizes, *found, strict=True):
        golden = [golden_vote(one, scores, answers, truth) for one in every_subset(size, greedy_first)]
        assert value == pytest.approx(np.mean(golden), abs=max(4 * error, 1e-12))
        assert error <= 0.5 / math.sqrt(4000)
    assert found.standard_error[0] == found.standard_error[-1] == 0, "one subset, or one candidate, is not sampled"
    assert found.standard_error[1] > 0
    again = votes.weighted_vote(scores, answers, truth, sizes, 4000, 0, greedy_first)
    assert np.array_equal(found.mean, again.mean)


@EITHER
def test_picks_sum_to_one_and_equal_scores_are_picked_alike(greedy_first: bool) -> None:
    for size in range(1, 5):
        scores = np.array([0.5, 0.9, 0.5, 0.1, 0.5])
        probabilities = best_of_n.selection_probabilities(scores, size, greedy_first)
        assert probabilities.sum() == pytest.approx(1)
        assert probabilities[2] == pytest.approx(probabilities[4])
    assert best_of_n.selection_probabilities(np.full(5, 0.3), 3) == pytest.approx(np.full(5, 0.2))


def test_order_of_candidates_has_no_say() -> None:
    scores, answers, truth = one_case(5)
    for order in list(permutations(range(8)))[::5000]:
        shuffled = [answers[i] for i in order]
        picked = list(order)
        assert best_of_n.best_of_n(scores[picked], truth[picked], SIZES) == pytest.approx(
            best_of_n.best_of_n(scores, truth, SIZES), abs=1e-12
        )
        assert votes.majority_vote(shuffled, truth[picked], SIZES) == pytest.approx(
            votes.majority_vote(answers, truth, SIZES), abs=1e-12
        )


def test_a_perfect_score_reaches_the_oracle_and_a_blind_one_pass_at_1() -> None:
    _, _, truth = one_case(0)
    num_wrong = int((~truth).sum())
    golden = [1 - math.comb(num_wrong, size) / math.comb(8, size) for size in SIZES]
    assert best_of_n.best_of_n(truth, truth, SIZES) == pytest.approx(golden)
    assert best_of_n.best_of_n(np.zeros(8), truth, SIZES) == pytest.approx(np.full(5, truth.mean()))


def test_unparsed_answers_never_win() -> None:
    truth = np.array([True, False, False, False])
    assert votes.majority_vote([None, None, None, None], truth, [1, 4]).tolist() == [0, 0]
    assert votes.majority_vote(["A", None, None, None], truth, [4]).tolist() == [1]


def test_answers_vote_together_but_for_case_and_spaces() -> None:
    truth = np.array([True, True, False])
    assert votes.majority_vote(["Left  effusion", "left effusion ", "B"], truth, [3]).tolist() == [1]
    assert votes.normalise_answer("  ") is None


def test_majority_of_a_large_pool_agrees_with_sampling() -> None:
    generator = np.random.default_rng(0)
    answers: list[Answer] = [str(word) for word in generator.choice(list("ABCDE"), 128, p=[0.3, 0.35, 0.2, 0.1, 0.05])]
    truth = np.array([word == "A" for word in answers])
    exact = votes.majority_vote(answers, truth, [32])[0]
    wins = []
    for _ in range(4000):
        counts = Counter(answers[i] for i in generator.choice(128, 32, replace=False))
        winners = [word for word, count in counts.items() if count == max(counts.values())]
        wins.append(("A" in winners) / len(winners))
    assert exact == pytest.approx(np.mean(wins), abs=4 * 0.5 / math.sqrt(4000))
