"""Published protocols: hand-computed cases, scikit-learn, definitions that cannot be met, and the reference rows."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from medprm.errors import InputError
from medprm.evaluation.metrics import evaluate_scored
from medprm.evaluation.protocols import PROTOCOLS, ProtocolInput, measure
from medprm.evaluation.published import FIGURES, figures_of
from medprm.evaluation.report import About, write_report
from medprm.evaluation.scored import ScoredError, ScoredSolution
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import draw_resampling
from medprm.evaluation.table import format_table

SETTINGS = EvaluationSettings(num_bootstrap=100, num_vote_subsets=50)
LABELS = {"+": "correct", "-": "incorrect", "=": "neutral", "?": "unknown"}


def solution(number: int, labels: str, scores: Sequence[float], **fields: Any) -> ScoredSolution:
    given = {
        "case_id": f"case_{number}",
        "patient_id": None,
        "group_id": f"case_{number}",
        "split": "test",
        "solution_id": f"case_{number}-{len(labels)}",
        "generator": None,
        "answer": None,
        "is_correct": None,
        "categories": [None] * len(labels),
        "step_texts": ["text"] * len(labels),
    }
    return ScoredSolution(step_scores=list(scores), labels=[LABELS[one] for one in labels], **(given | fields))


def numbers_of(name: str, test: Sequence[ScoredSolution], validation: Sequence[ScoredSolution] = (), **changes: Any):
    resampling = draw_resampling((one.group_id for one in test), 100, 0)
    settings = replace(SETTINGS, **changes)
    return measure(name, ProtocolInput(validation, test, 0.5, "mean", settings, resampling)).numbers


def test_visualprocessbench_pools_steps_and_leaves_neutral_ones_out() -> None:
    test = [
        solution(0, "+-=", [0.9, 0.2, 0.9], source="MMMU"),
        solution(1, "++-", [0.9, 0.1, 0.9], source="WeMath"),
        solution(2, "--+", [0.1, 0.8, 0.7], source="WeMath"),
    ]
    truth, predicted = [1, 0, 1, 1, 0, 0, 0, 1], [1, 0, 1, 0, 1, 0, 1, 1]
    found = numbers_of("visualprocessbench", test)
    assert found["all"]["macro_f1"].value == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert found["WeMath"]["macro_f1"].value == pytest.approx(f1_score(truth[2:], predicted[2:], average="macro"))
    assert found["all"]["macro_f1"].n == 8


def test_processbench_is_the_mean_of_the_splits_harmonic_means() -> None:
    test = [
        solution(0, "+-?", [0.9, 0.2, 0.9], source="math"),  # found
        solution(1, "+-?", [0.2, 0.2, 0.9], source="math"),  # too early
        solution(2, "+++", [0.9, 0.9, 0.9], source="math"),  # left alone
        solution(3, "-??", [0.1, 0.9, 0.9], source="gsm8k"),  # found
        solution(4, "++", [0.9, 0.2], source="gsm8k"),  # false alarm
        solution(5, "++", [0.9, 0.8], source="gsm8k"),  # left alone
    ]
    found = numbers_of("processbench", test)
    math_f1, gsm8k_f1 = 2 * 0.5 * 1 / 1.5, 2 * 1 * 0.5 / 1.5
    assert found["math"]["f1"].value == pytest.approx(math_f1)
    assert found["gsm8k"]["accuracy_on_correct"].value == pytest.approx(0.5)
    assert found["all"]["f1"].value == pytest.approx((math_f1 + gsm8k_f1) / 2)
    pooled = 2 * (2 / 3) * (2 / 3) / (4 / 3)
    assert found["pooled"]["f1"].value == pytest.approx(pooled)


def test_prmbench_score_pooled_by_kind_and_their_mean() -> None:
    test = [
        solution(0, "+-+", [0.9, 0.2, 0.9], error_kinds=[None, "circular", None]),
        solution(1, "+--", [0.9, 0.9, 0.1], error_kinds=[None, "deception", "deception"]),
        solution(2, "+-", [0.1, 0.4], error_kinds=[None, "deception"]),
        solution(3, "++", [0.9, 0.2]),
    ]
    found = numbers_of("prmbench", test)
    truth = [1, 0, 1, 1, 0, 0, 1, 0, 1, 1]
    predicted = [1, 0, 1, 1, 1, 0, 0, 0, 1, 0]
    score = (f1_score(truth, predicted) + f1_score(truth, predicted, pos_label=0)) / 2
    assert found["all"]["prm_score"].value == pytest.approx(score)
    deception = f1_score(truth[3:8], predicted[3:8], average="macro")
    assert found["deception"]["prm_score"].value == pytest.approx(deception)
    assert found["mean_of_kinds"]["prm_score"].value == pytest.approx((1 + deception) / 2)
    assert found["all"]["first_error_accuracy"].value == pytest.approx(1 / 3)


def test_mr_score_by_hand() -> None:
    test = [
        solution(0, "+-?", [0.9, 0.2, 0.9]),  # caught, at its place
        solution(1, "+-?", [0.9, 0.9, 0.1]),  # called wrong, at another place
        solution(2, "-?", [0.8, 0.9]),  # missed
        solution(3, "+++", [0.9, 0.9, 0.9]),
        solution(4, "++", [0.9, 0.3]),  # false alarm
    ]
    found = numbers_of("mr_ben", test)["all"]
    golden = matthews_corrcoef([0, 0, 0, 1, 1], [0, 0, 1, 1, 0])
    assert found["mcc"].value == pytest.approx(golden)
    assert found["acc_step"].value == pytest.approx(1 / 3)
    assert found["mr_score_without_reason"].value == pytest.approx((0.2 * max(0, golden) + 0.3 / 3) / 0.5)
    assert numbers_of("mr_gsm8k", test)["all"]["mcc"] == found["mcc"]


def test_medec_flags_and_names_the_lowest_sentence() -> None:
    validation = [solution(9, "+-+", [0.9, 0.3, 0.8], split="validation"), solution(8, "++", [0.6, 0.7])]
    test = [
        solution(0, "+-+", [0.9, 0.3, 0.8]),  # flagged, named
        solution(1, "+-+", [0.2, 0.4, 0.8]),  # flagged, another named
        solution(2, "-+", [0.9, 0.8]),  # missed
        solution(3, "++", [0.9, 0.8]),  # left alone
        solution(4, "++", [0.1, 0.8]),  # false alarm
    ]
    found = numbers_of("medec", test, validation)["all"]
    assert found["flag_accuracy"].value == pytest.approx(3 / 5)
    assert found["sentence_accuracy"].value == pytest.approx(2 / 5)
    assert found["lowest_is_the_wrong_one"].value == pytest.approx(1 / 3)
    assert found["lowest_by_chance"].value == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)
    assert found["flag_accuracy_of_calling_all"].value == pytest.approx(3 / 5)
    assert found["last_is_the_wrong_one"].value == found["sentence_accuracy_of_naming_the_last"].value == 0
    at_end = numbers_of("medec", [*test, solution(5, "++-", [0.9, 0.9, 0.1])], validation)["all"]
    assert at_end["last_is_the_wrong_one"].value == pytest.approx(1 / 4)
    assert at_end["sentence_accuracy_of_naming_the_last"].value == pytest.approx(1 / 6)
    with pytest.raises(ScoredError, match="at most one"):
        numbers_of("medec", [solution(0, "--", [0.1, 0.2])])


def candidates(number: int, source: str, right: str, scores: Sequence[float], **fields: Any) -> list[ScoredSolution]:
    return [
        solution(number, "+", [score], source=source, is_correct=word == "1", answer=f"{word}", **fields)
        for word, score in zip(right, scores, strict=True)
    ]


def numbered(solutions: Sequence[ScoredSolution]) -> list[ScoredSolution]:
    return [replace(one, solution_id=f"{one.case_id}-{place}") for place, one in enumerate(solutions)]


def test_visualprm_takes_the_worst_case_of_dynamath_and_the_mean_of_its_seven_sets() -> None:
    falling = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    test = []
    sets = ("MMMU", "MathVista", "MathVision", "MathVerse-VO", "WeMath", "LogicVista")
    for number, name in enumerate(sets):
        test += candidates(number, name, "10000000" if number < 3 else "01111111", falling)
    test += candidates(10, "DynaMath", "11110000", falling, variant_of="q1")
    test += candidates(11, "DynaMath", "01111000", falling, variant_of="q1")
    test += candidates(12, "DynaMath", "11110000", falling, variant_of="q2")
    found = numbers_of("visualprm", numbered(test))
    assert found["MMMU"]["best_of_8"].value == 1
    assert found["MMMU"]["pass@1"].value == pytest.approx(1 / 8)
    assert found["DynaMath"]["best_of_8"].value == pytest.approx(1 / 2)
    assert found["DynaMath"]["pass@1"].value == pytest.approx((0.5 * 0.5 + 0.5) / 2)
    assert found["DynaMath"]["pass@1"].n == 2
    assert found["mean of sets"]["best_of_8"].value == pytest.approx((3 * 1 + 3 * 0 + 0.5) / 7)
    without = numbered([one for one in test if one.source != "MMMU"])
    assert "mean of sets" not in numbers_of("visualprm", without)
    with pytest.raises(ScoredError, match="variant_of"):
        numbers_of("visualprm", numbered(candidates(1, "DynaMath", "11110000", falling)))
    with pytest.raises(ScoredError, match="expected one of MMMU"):
        numbers_of("visualprm", numbered(candidates(1, "mmmu", "11110000", falling)))
    with pytest.raises(ScoredError, match="no case has more than 4 candidates of known correctness; expected 8"):
        numbers_of("visualprm", numbered(candidates(1, "MMMU", "1100", falling[:4])))


def test_med_prm_has_its_votes_by_min_and_last() -> None:
    test = numbered(candidates(0, "MedQA-4", "1100", [0.9, 0.2, 0.6, 0.7]))
    found = numbers_of("med_prm", test)["MedQA-4"]
    assert found["best_of_n_min"].value == 1
    assert found["self_consistency"].value == pytest.approx(0.5)
    assert found["weighted_vote_min"].value == found["weighted_vote_last"].value == 0  # 1.1 against 1.3
    assert found["pass@1"].value == 0.5


def measured(name: str, test: Sequence[ScoredSolution]):
    resampling = draw_resampling((one.group_id for one in test), 100, 0)
    return measure(name, ProtocolInput((), test, 0.5, "mean", SETTINGS, resampling))


def test_a_case_with_fewer_candidates_is_left_out_and_counted_and_changes_no_number() -> None:
    scores = [0.9 - k / 100 for k in range(64)]
    enough = [one for n in range(3) for one in candidates(n, "MedQA-4", "1" + "0" * 63, scores)]
    few = candidates(9, "MedQA-4", "0", [0.5])
    alone, more = measured("med_prm", numbered(enough)), measured("med_prm", numbered([*enough, *few]))
    for name in ("best_of_n_min", "self_consistency", "weighted_vote_min", "pass@1"):
        assert more.numbers["MedQA-4"][name].value == alone.numbers["MedQA-4"][name].value
        assert more.numbers["MedQA-4"][name].n == 3
    words = more.words()
    assert (words["num_candidates"], words["left_out"]) == (64, {"MedQA-4": 1})
    assert words["notes"][:2] == [
        "N = 64 candidates a case.",
        "Left out, fewer than 64 candidates known to be right or wrong: MedQA-4 1 of 4.",
    ]
    assert "MedMCQA" in words["notes"][2]


def test_where_most_cases_have_fewer_candidates_n_is_what_half_of_them_have_and_is_said() -> None:
    scores = [0.9 - k / 100 for k in range(64)]
    test = candidates(0, "MedQA-4", "1" + "0" * 63, scores)
    for number in (1, 2):
        test += candidates(number, "MedQA-4", "1000", scores[:4])
    words = measured("med_prm", numbered(test)).words()
    assert (words["num_candidates"], words["left_out"]) == (4, {"MedQA-4": 0})
    assert words["notes"][0] == "N = 4 candidates a case, not 64: most cases have no more."


def test_unparsed_candidates_are_wrong_ones_and_a_case_without_any_known_is_left_out() -> None:
    falling = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    right = [replace(one, answer=None, is_correct=None) if one.is_correct else one for one in
             candidates(0, "MMMU", "11000000", falling)]  # fmt: skip
    unknown = [replace(one, is_correct=None) for one in candidates(1, "MMMU", "10000000", falling)]
    found = measured("visualprm", numbered([*right, *candidates(2, "MMMU", "10000000", falling), *unknown]))
    assert found.numbers["MMMU"]["best_of_8"].value == pytest.approx(1 / 2)
    assert found.words()["left_out"] == {"MMMU": 1}


def test_a_question_of_dynamath_is_left_out_with_all_its_variants() -> None:
    falling = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    test = candidates(1, "DynaMath", "11110000", falling, variant_of="q1")
    test += candidates(2, "DynaMath", "0", [0.5], variant_of="q1")
    test += candidates(3, "DynaMath", "01110000", falling, variant_of="q2")
    found = measured("visualprm", numbered(test))
    assert (found.numbers["DynaMath"]["best_of_8"].value, found.numbers["DynaMath"]["best_of_8"].n) == (0, 1)
    assert found.words()["left_out"] == {"DynaMath": 1}


def test_n_and_what_is_left_out_stand_in_the_table_and_the_report(make_solutions, tmp_path: Path) -> None:
    test = [replace(one, source="MMMU") for one in make_solutions(20, 8)]
    last = test[-1].case_id
    test = [one for one in test if one.case_id != last or one is test[-1]]
    settings = replace(SETTINGS, protocol="visualprm")
    metrics = evaluate_scored(make_solutions(20, 4, 1, "validation"), test, settings)
    write_report(tmp_path / "report.html", metrics, test, About("title"))
    page = (tmp_path / "report.html").read_text()
    for text in ("N = 8 candidates a case.", "MMMU 1 of "):
        assert text in format_table(metrics)
        assert text in page


def test_prm_clinic_selects_notes_by_score() -> None:
    test = numbered(candidates(0, "PRM-Clinic", "100", [0.9, 0.2, 0.3]) + candidates(1, "PRM-Clinic", "01", [0.5, 0.5]))
    found = numbers_of("prm_clinic", test)["all"]
    assert found["note_selection"].value == pytest.approx(0.75)
    assert found["note_selection_by_length"].value == found["note_selection_by_chance"].value
    assert found["note_selection_by_chance"].value == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_prm_clinics_note_score_is_the_product_of_its_steps() -> None:
    gold, other = solution(0, "++", [0.7, 0.7], is_correct=True), solution(0, "+", [0.6], is_correct=False)
    found = numbers_of("prm_clinic", numbered([gold, other]))["all"]
    assert found["note_selection"].value == 0  # 0.49 against 0.6
    assert found["note_selection_by_chosen_aggregation"].value == 1  # the means
    assert found["note_selection_by_length"].value == 1


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_says_what_it_is(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.definition and protocol.source and protocol.deviations and protocol.title


def test_the_protocol_stands_in_metrics_json_with_published_rows(make_solutions) -> None:
    settings = replace(SETTINGS, protocol="visualprocessbench", threshold=0.85)
    metrics = evaluate_scored(make_solutions(20, 4, 1, "validation"), make_solutions(20, 4), settings)
    assert metrics["published_protocol"]["all"]["macro_f1"] == metrics["step_metrics"]["macro_f1"]
    words = metrics["published_protocol_words"]
    assert any(row["model"] == "VisualPRM-8B" and row["value"] == 62.0 for row in words["published"])
    assert all(row["kind"] == "published" for row in words["published"])
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    with pytest.raises(InputError, match="visualprocessbench, processbench"):
        replace(SETTINGS, protocol="vpb")


def test_published_figures_agree_with_each_other() -> None:
    assert len({(one.protocol, one.model, one.metric) for one in FIGURES}) == len(FIGURES)
    rows = {one.metric: one for one in figures_of("visualprm") if one.model == "InternVL2.5-8B"}
    sets = [one for name, one in rows.items() if name != "accuracy, all"]
    # The overall figure is the mean of the seven sets, to the rounding of one decimal.
    assert np.mean([one.value for one in sets]) == pytest.approx(rows["accuracy, all"].value, abs=0.051)
    assert np.mean([one.before for one in sets]) == pytest.approx(rows["accuracy, all"].before, abs=0.051)
    assert {one.kind for one in figures_of("med_prm")} == {"published", "target"}


def test_med_prms_figures_are_those_of_its_readme_and_what_is_second_hand_says_so() -> None:
    rows = {(one.model, one.metric): one for one in figures_of("med_prm")}
    readme = [one.value for one in rows.values() if one.metric == "accuracy, MedQA-4"]
    assert readme == [78.24, 79.18, 79.87, 80.35]
    again = "Llama-3.1-8B with a LoRA of Med-PRM"
    assert rows[again, "accuracy, mean of sets, Best-of-N by min"].value == 72.43
    assert rows["Llama-3.1-8B with Med-PRM", "accuracy, MedMCQA, SC + RM"].value == 66.40
    assert all("second-hand" in one.source for one in rows.values() if one.metric.count(",") > 1)
