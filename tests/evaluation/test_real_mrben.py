"""Mr-Ben medicine: what picking blindly and a perfect picker reach among its two or three solutions a question."""

from pathlib import Path

from medprm.cases.formats.mrben import load_mrben
from medprm.evaluation.candidates import collect_candidates
from medprm.evaluation.metrics import evaluate_scored
from medprm.evaluation.scored import ScoredSolution, scored_solutions
from medprm.evaluation.settings import EvaluationSettings


def scored_by_first_error(real_data: Path) -> list[ScoredSolution]:
    """Every step 1 but those that people marked as wrong, 0: as good as the marks are."""
    cases = load_mrben(real_data / "mrben_medicine").cases
    return [
        one
        for item in cases
        for one in scored_solutions(
            item, [[0.0 if label == "incorrect" else 1.0 for label in s.labels] for s in item.solutions], "test"
        )
    ]


def test_random_and_oracle_are_the_published_counts(real_data: Path) -> None:
    solutions = scored_by_first_error(real_data)
    metrics = evaluate_scored([], solutions, EvaluationSettings(num_bootstrap=200, max_candidates=[1, 2, 3]))
    best = metrics["best_of_all"]
    assert round(100 * best["random"]["value"], 1) == 31.0
    assert round(100 * best["oracle"]["value"], 1) == 57.0
    assert best["random"]["n"] == 277
    assert metrics["counts"]["cases_with_fewer_candidates_than"] == {"1": 0, "2": 0, "3": 4}
    # Solutions without a wrong step are those with the right answer, but for a few: the marks pick nearly perfectly.
    assert best["oracle"]["value"] - best["min"]["value"] < 0.02
    assert len(collect_candidates(solutions).cases) == 277
