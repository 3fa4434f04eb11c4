"""The card has the numbers of metrics.json, once, however often it is filled."""

from medprm.evaluation.card import BEGIN, filled_card
from medprm.evaluation.metrics import evaluate_scored
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.table import with_interval


def test_results_are_filled_and_replaced(make_solutions) -> None:
    settings = EvaluationSettings(num_bootstrap=100, max_candidates=[1, 4])
    first, second = (evaluate_scored([], make_solutions(20, 4, seed=seed), settings) for seed in (0, 1))
    card = filled_card("---\ntags: [x]\n---\n# A model\n", first, "phantom", ["Not clinical data."])
    assert card.startswith("---\ntags: [x]\n---\n# A model\n")
    assert with_interval(first["step_metrics"]["auroc"]) in card
    assert with_interval(first["best_of_n"]["oracle"]["4"]) in card
    assert "Not clinical data." in card
    again = filled_card(card, second, "phantom", [])
    assert again.count(BEGIN) == 1
    assert with_interval(second["step_metrics"]["auroc"]) in again
    assert with_interval(first["step_metrics"]["auroc"]) not in again
    assert "case_" not in again, "nothing of a case"
