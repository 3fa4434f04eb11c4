"""Every real step-labelled file: counts as its folder's README states them, label histogram, places of named rows."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from medprm.cases.formats.table import load_format
from medprm.cases.reading import Reading
from medprm.cases.splits import SHARES, split_by_patient

EXPECTED = {
    # folder: cases, solutions read, kept, labels
    "mrben": ("mrben_medicine", 277, 828, 827, {"correct": 2768, "incorrect": 570, "unknown": 1855}),
    "medec": ("prm_medec", 574, 574, 574, {"correct": 6843, "incorrect": 319}),
    "prm_clinic": ("prm_clinic", 1272, 1272, 1272, {"correct": 14141}),
}


@cache
def read_once(name: str, folder: Path) -> Reading:
    return load_format(name, folder)


def labels_of(reading: Reading) -> Counter[str]:
    return Counter(label for item in reading.cases for solution in item.solutions for label in solution.labels)


@pytest.mark.parametrize("name", EXPECTED)
def test_counts_and_label_histogram(name: str, real_data: Path) -> None:
    folder, num_cases, num_read, num_kept, histogram = EXPECTED[name]
    reading = read_once(name, real_data / folder)
    assert (len(reading.cases), reading.num_read, reading.num_kept) == (num_cases, num_read, num_kept)
    assert labels_of(reading) == histogram
    # One source a step, and the label is what it says.
    for item in reading.cases:
        for step in (step for solution in item.solutions for step in solution.solution_steps):
            assert step.sources is not None
            verdicts = [one.verdict for one in step.sources.rule]
            assert verdicts == ([] if step.label == "unknown" else [step.label])


@pytest.mark.parametrize(
    ("solution_id", "place", "opening", "at_naive_place"),
    [
        # question, solution: where reading the number as a place in the list finds another text.
        ("f8c730cd-e878-4d92-b1a5-c873b75cb58d_2", 1, "Step 2: Evaluate the candidate", "The patient is a 27-year-old"),
        ("b90c6ab5-7ff8-4792-8b6c-273f5304deb5_2", 3, "Step 4: Analyzing Choice_D", "- The activity of phosphofructo"),
        ("bc9de7e3-5140-4c5d-bc85-907a6f2e6415_1", 3, "Step 4: Sexual activity", "The patient's change in"),
        ("3211d90f-9e8e-47ad-85a6-98f1d155cf86_2", 1, "Step 2: Analyze the suitability", "Cystic fibrosis is an"),
    ],
)
def test_mrbens_numbers_are_those_of_the_text(
    solution_id: str, place: int, opening: str, at_naive_place: str, real_data: Path
) -> None:
    reading = read_once("mrben", real_data / "mrben_medicine")
    solutions = {one.solution_id: one for item in reading.cases for one in item.solutions}
    solution = solutions[f"mrben_{solution_id}"]
    assert solution.labels.index("incorrect") == place
    assert solution.solution_steps[place].content.startswith(opening)
    assert set(solution.labels[place + 1 :]) <= {"unknown"}
    question_id, number = solution_id.rsplit("_", 1)
    raw = json.loads((real_data / "mrben_medicine" / "medicine.json").read_text())[question_id][int(number)]
    naive = raw["Model_Solution_Steps"][int(raw["Model_Solution_First_Error_Step"]) - 1]
    assert naive.lstrip().startswith(at_naive_place)
    assert solution.is_correct is False


def test_mrbens_correctness_is_no_comparison_with_the_uncorrected_answer(real_data: Path) -> None:
    raw = json.loads((real_data / "mrben_medicine" / "medicine.json").read_text())
    rows = [row for rows in raw.values() for row in rows]
    assert sum(row["Ground_Truth_Answer"].strip() != row["Ground_Truth_Answer_Modified"].strip() for row in rows) == 123
    reading = read_once("mrben", real_data / "mrben_medicine")
    assert Counter(one.is_correct for item in reading.cases for one in item.solutions) == {False: 570, True: 257}


@pytest.mark.parametrize(
    ("note", "num_sentences", "place", "sentence"),
    [
        ("ms-val-0", 10, 5, "Culture tests indicate Neisseria gonorrhoeae."),
        # Lines without a number stand before these: a count of lines would be off.
        ("ms-val-2", 25, 24, "Pathology confirms Streptococcus pneumoniae is the causal organism."),
        ("ms-val-30", 29, 28, "Patient was diagnosed with HELLP syndrome."),
        ("ms-val-65", 26, None, ""),
    ],
)
def test_medecs_sentence_ids_count_from_0(
    note: str, num_sentences: int, place: int | None, sentence: str, real_data: Path
) -> None:
    reading = read_once("medec", real_data / "prm_medec")
    (solution,) = next(item.solutions for item in reading.cases if item.case.case_id == f"medec_{note}")
    assert len(solution.labels) == num_sentences
    wrong = [step for step in solution.solution_steps if step.label == "incorrect"]
    assert [(step.step_id, step.content) for step in wrong] == ([] if place is None else [(place, sentence)])
    assert solution.is_correct is (place is None)


def test_medecs_versions_of_a_vignette_stay_together(real_data: Path) -> None:
    reading = read_once("medec", real_data / "prm_medec")
    sizes = Counter(item.case.patient_id for item in reading.cases)
    assert Counter(sizes.values()) == {2: 249, 1: 76}
    splits = split_by_patient(reading.cases, SHARES, 0)
    known = {text for item in splits["train"] for one in item.solutions for text in one.step_texts}
    repeated = [
        sum(text in known for text in one.step_texts) / len(one.step_texts)
        for item in splits["test"]
        for one in item.solutions
    ]
    assert max(repeated) < 0.7, "by note, half of the test notes have most of their sentences in training"


def test_prm_clinics_steps_keep_their_problem(real_data: Path) -> None:
    reading = read_once("prm_clinic", real_data / "prm_clinic")
    (solution,) = next(item.solutions for item in reading.cases if item.case.case_id == "prm_clinic_Dialogue_G_0")
    first, second = solution.solution_steps[:2]
    assert first.content.startswith("Allergic Rhinitis\nAssessment: The patient presents")
    assert second.content.startswith("The symptoms have been present for two weeks")
    scores = ("problem_score", "problem_completeness_score", "note_completeness_score")
    assert first.extra == {"problem": "Allergic Rhinitis"} | dict.fromkeys(scores, "+")
    assert solution.is_correct
