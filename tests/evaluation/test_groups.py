"""Groups of seeds: means as scikit-learn finds them, differences that a known effect shows and noise hides."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from medprm.errors import InputError
from medprm.evaluation.groups import compare_groups, verdict
from medprm.evaluation.measures import ScoredRun
from medprm.evaluation.scored import ScoredSolution


def rescored(solutions: list[ScoredSolution], signal: float, seed: int) -> list[ScoredSolution]:
    """The same steps scored by another model."""
    generator = np.random.default_rng(seed)
    return [
        replace(
            one,
            step_scores=[
                float(signal * (label == "correct") + (1 - signal) * generator.random()) for label in one.labels
            ],
        )
        for one in solutions
    ]


def runs(solutions: list[ScoredSolution], signal: float, seeds: range) -> list[ScoredRun]:
    return [ScoredRun(f"run_{signal}_{seed}", rescored(solutions, signal, seed), 0.5) for seed in seeds]


def macro_f1(run: ScoredRun) -> float:
    pairs = [
        (label == "correct", score >= run.threshold)
        for one in run.solutions
        for label, score in zip(one.labels, one.step_scores, strict=True)
        if label in ("correct", "incorrect")
    ]
    truth, predicted = zip(*pairs, strict=True)
    return float(f1_score(truth, predicted, average="macro"))


def test_means_and_differences_are_those_of_the_runs(make_solutions) -> None:
    solutions = make_solutions(60)
    groups = {"weak": runs(solutions, 0.2, range(3)), "strong": runs(solutions, 0.5, range(3, 5))}
    first, second = compare_groups(groups, "macro_f1", 300)
    assert first.by_run == pytest.approx([macro_f1(one) for one in groups["weak"]])
    assert first.mean.value == pytest.approx(np.mean(first.by_run)) and first.minus_first is None
    assert second.minus_first is not None
    assert second.minus_first.value == pytest.approx(np.mean(second.by_run) - np.mean(first.by_run))
    assert verdict(second.minus_first) == "better"
    swapped = compare_groups(dict(reversed(groups.items())), "macro_f1", 300)[1].minus_first
    assert swapped is not None and verdict(swapped) == "worse"
    assert (swapped.low, swapped.high) == pytest.approx((-second.minus_first.high, -second.minus_first.low), abs=1e-6)


def test_equal_models_are_a_tie_most_of_the_time(make_solutions) -> None:
    """Each time other patients; 5 % may differ by chance, and seeds add to that."""
    ties = 0
    for trial in range(20):
        solutions = make_solutions(60, seed=trial)
        groups = {"a": runs(solutions, 0.3, range(0, 3)), "b": runs(solutions, 0.3, range(3, 6))}
        difference = compare_groups(groups, "macro_f1", 300)[1].minus_first
        assert difference is not None
        ties += verdict(difference) == "tie"
    assert ties >= 15


def test_other_steps_or_metrics_are_refused(make_solutions) -> None:
    solutions = make_solutions(10)
    groups = {"a": runs(solutions, 0.3, range(1)), "b": runs(make_solutions(11), 0.3, range(1))}
    with pytest.raises(InputError, match=r"run_0.3_0 and run_0.3_0 were not scored on the same steps"):
        compare_groups(groups, "macro_f1", 100)
    with pytest.raises(InputError, match=r"metric 'f1'; expected one of macro_f1"):
        compare_groups({"a": groups["a"]}, "f1", 100)


def test_the_interval_over_seeds_is_the_wider_one_and_p_values_are_corrected(make_solutions) -> None:
    solutions = make_solutions(60)
    groups = {
        "weak": runs(solutions, 0.2, range(3)),
        "equal": runs(solutions, 0.2, range(3, 6)),
        "strong": runs(solutions, 0.5, range(6, 9)),
        "alone": runs(solutions, 0.5, range(9, 10)),
    }
    found = {one.name: one for one in compare_groups(groups, "macro_f1", 300)}
    assert all(found[name].over_seeds.is_defined for name in ("weak", "equal", "strong"))
    assert not found["alone"].over_seeds.is_defined
    beyond = found["strong"].minus_first_over_seeds
    assert beyond is not None and found["strong"].minus_first is not None
    assert beyond.value == found["strong"].minus_first.value
    assert beyond.low > 0
    assert found["alone"].minus_first_over_seeds is not None
    assert not found["alone"].minus_first_over_seeds.is_defined, "other numbers of seeds cannot be paired"
    assert found["weak"].p is None
    smallest = 2 / 301
    assert found["strong"].p == smallest
    assert found["strong"].p_holm == 3 * smallest, "three comparisons"
    assert found["equal"].p_holm is not None and found["equal"].p_holm > 0.05
