"""Published rows in, index bases converted once, labels kept apart; what does not fit is counted or one clear error."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published import (
    MR_GSM8K,
    PRM800K_PHASE_1,
    PRMBENCH,
    PROCESSBENCH,
    REASONEVAL_INVALID,
    REASONEVAL_PERTURBED,
    REASONEVAL_REDUNDANT,
    ROWS,
    TRL,
    VISUALPRM,
    VISUALPRM_RAW,
    VISUALPROCESSBENCH,
)

from medprm.cases.formats.table import FORMATS, READ_FORMATS, load_format
from medprm.cases.parsing import RecordError
from medprm.cases.reading import Reading
from medprm.cases.schema import Solution
from medprm.errors import InputError


def read(folder: Path, name: str, *rows: dict[str, Any], file: str = "rows.jsonl") -> Reading:
    path = folder / file
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return load_format(name, path)


def one_solution(folder: Path, name: str, row: dict[str, Any]) -> Solution:
    reading = read(folder, name, row)
    assert reading.num_read == reading.num_kept == 1, reading.refused
    return reading.cases[0].solutions[0]


LABELS = {
    "prm800k": ["neutral", "incorrect", "unknown", "unknown"],
    "math_shepherd": ["correct", "incorrect"],
    "trl": ["correct", "incorrect"],
    "visualprm_raw": ["correct", "incorrect", "unknown"],
    "visualprm": ["correct", "incorrect"],
    "visualprocessbench": ["correct", "neutral", "incorrect"],
    "processbench": ["correct", "incorrect", "unknown"],
    "mr_gsm8k": ["correct", "incorrect", "unknown"],
    "reasoneval": ["correct", "incorrect", "unknown"],
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_a_published_row(name: str, tmp_path: Path) -> None:
    solution = one_solution(tmp_path, name, ROWS[name])
    assert solution.labels == LABELS[name]
    for step in solution.solution_steps:
        sources = step.sources.model_dump() if step.sources else {}
        assert sum(len(given) for given in sources.values()) == (step.label != "unknown"), "one source a labelled step"


def test_every_format_with_a_reader_has_a_published_row_or_real_data() -> None:
    assert set(READ_FORMATS) == set(ROWS) | {"med_prm", "mrben", "medec", "prm_clinic"}


@pytest.mark.parametrize(("label", "place"), [(0, 0), (1, 1), (2, 2), (-1, None)])
def test_processbench_counts_from_0(label: int, place: int | None, tmp_path: Path) -> None:
    labels = one_solution(tmp_path, "processbench", {**PROCESSBENCH, "label": label}).labels
    assert ("incorrect" in labels) is (place is not None)
    if place is not None:
        assert labels.index("incorrect") == place


@pytest.mark.parametrize("number", [1, 2, 3])
def test_mr_gsm8k_and_reasoneval_count_from_1(number: int, tmp_path: Path) -> None:
    change = {"model_output_solution_first_error_step": number}
    assert one_solution(tmp_path, "mr_gsm8k", MR_GSM8K | change).labels.index("incorrect") == number - 1
    assert one_solution(tmp_path, "reasoneval", REASONEVAL_INVALID | change).labels.index("incorrect") == number - 1


def test_mr_gsm8ks_number_is_that_of_the_text(tmp_path: Path) -> None:
    change = {"model_output_steps": ["Step 1: a", "- more", "Step 2: b"], "model_output_solution_first_error_step": "2"}
    solution = one_solution(tmp_path, "mr_gsm8k", MR_GSM8K | change)
    assert solution.step_texts == ["Step 1: a\n- more", "Step 2: b"]
    assert solution.labels == ["correct", "incorrect"]
    assert solution.is_correct is True, "the answer was right though a step is wrong"


def test_prmbench_counts_from_1_and_later_steps_are_judged(tmp_path: Path) -> None:
    reading = read(tmp_path, "prmbench", PRMBENCH)
    (_, (changed, original)) = reading.cases[0]
    assert changed.labels == ["correct", "correct", "incorrect", "correct"]
    assert changed.solution_steps[2].content == "b again"
    assert changed.solution_steps[2].extra == {"classification": "redundency"}
    assert original.labels == ["correct"] * 3
    reading = read(tmp_path, "prmbench", PRMBENCH | {"error_steps": [0]})
    assert reading.refused == {"a step number that the solution does not have": 1}


def test_reasoneval_redundant_is_neutral_and_perturbed_counts_from_0(tmp_path: Path) -> None:
    assert one_solution(tmp_path, "reasoneval", REASONEVAL_REDUNDANT).labels == ["correct", "neutral", "correct"]
    perturbed = one_solution(tmp_path, "reasoneval", REASONEVAL_PERTURBED)
    assert perturbed.labels == ["correct", "correct", "incorrect", "unknown"]
    assert perturbed.solution_steps[2].content == "x"
    repeated = {"error_type": "repeat step", "tags": 1, "hypothesis_steps": ["a", "b", "b", "c"]}
    assert one_solution(tmp_path, "reasoneval", REASONEVAL_PERTURBED | repeated).labels == [
        "correct", "correct", "neutral", "unknown",
    ]  # fmt: skip
    swapped = REASONEVAL_PERTURBED | {"error_type": "swap steps", "tags": [1, 2]}
    assert list(read(tmp_path, "reasoneval", swapped).refused) == [
        "perturbed by 'swap steps', which makes no one step wrong"
    ]


def test_prm800k_follows_the_chosen_and_the_human_completions(tmp_path: Path) -> None:
    reading = read(tmp_path, "prm800k", PRM800K_PHASE_1, file="phase1_train.jsonl")
    case, (solution,) = reading.cases[0]
    assert solution.step_texts == ["good", "mine", "The answer is 7."]
    assert solution.labels == ["correct", "unknown", "correct"]
    assert reading.left_out == {"completions of a step beside its trajectory": 2}
    assert case.metadata.split == "train"
    sources = solution.solution_steps[0].sources
    assert sources is not None
    assert sources.expert[0].expert_id == "340d89bc"


def test_a_step_without_rollouts_is_unknown_and_not_wrong(tmp_path: Path) -> None:
    reading = read(tmp_path, "visualprm_raw", VISUALPRM_RAW)
    case, (solution,) = reading.cases[0]
    assert solution.labels[2] == "unknown"
    assert case.question == "How many cells?"
    assert reading.left_out == {"steps without a rollout: unknown, not wrong": 1}
    broken = json.loads(json.dumps(VISUALPRM_RAW))
    broken["steps_with_score"][0]["score"] = 0.5
    with pytest.raises(RecordError, match=r"rows.jsonl:1 steps_with_score 0: score is 0.5; expected num_mc_correct of"):
        read(tmp_path, "visualprm_raw", broken)


def test_solutions_of_one_question_are_one_case(tmp_path: Path) -> None:
    reading = read(tmp_path, "trl", TRL, TRL | {"labels": [True, True]}, TRL | {"prompt": "Another?"})
    assert [len(item.solutions) for item in reading.cases] == [2, 1]
    assert len({one.solution_id for item in reading.cases for one in item.solutions}) == 3


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("trl", {"labels": [True]}, "another number of labels than of steps"),
        ("trl", {"completions": ["a", " "]}, "a blank step"),
        ("processbench", {"label": 3}, "a first error outside the steps"),
        ("processbench", {"label": -2}, "a first error outside the steps"),
        ("mr_gsm8k", {"model_output_solution_first_error_step": "N/A"}, "correctness and first error step contradict"),
        ("math_shepherd", {"label": "another text +"}, "input and label are not the same text"),
        ("visualprm", {"conversations": VISUALPRM["conversations"][:2]}, "turns that are not human and gpt in turn"),
        ("prm800k", {"label": {"steps": [], "finish_reason": "give_up"}}, "labelling ended with give_up"),
    ],
)
def test_unusable_rows_are_counted(name: str, change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    reading = read(tmp_path, name, ROWS[name] | change, ROWS[name])
    assert (reading.num_read, reading.num_kept) == (2, 1)
    ((found, count),) = reading.refused.items()
    assert found.startswith(reason)
    assert count == 1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("trl", {"labels": [1, 0]}, "rows.jsonl:1: labels is .1, 0.; expected a list of true and false"),
        ("trl", {"prompt": " "}, "rows.jsonl:1: prompt is .*; expected a text that is not blank"),
        ("processbench", {"label": "1.5"}, "label is .*; expected a whole number"),
        ("processbench", {"steps": "a"}, "steps is .*; expected a list"),
        (
            "visualprocessbench",
            {"image": ["../../etc/passwd"]},
            "rows.jsonl:1: image has a path .*; expected a path relative",
        ),
        ("visualprocessbench", {"image": ["/etc/passwd"]}, "expected a path relative to the data root"),
        (
            "visualprocessbench",
            {"response": {"steps": ["a"], "process_correctness": [2]}},
            "process_correctness is .*; expected a list of 1, 0 and -1",
        ),
    ],
)
def test_another_form_is_one_clear_error(name: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=message):
        read(tmp_path, name, ROWS[name] | change)


def test_files_are_found_by_pattern_and_read_by_ending(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no file that fits"):
        load_format("processbench", tmp_path)
    (tmp_path / "gsm8k.json").write_text(json.dumps([PROCESSBENCH]))
    (tmp_path / "math.json").write_text(json.dumps([PROCESSBENCH | {"id": "math-0", "problem": "Why?"}]))
    assert load_format("processbench", tmp_path).num_kept == 2
    pq.write_table(pa.Table.from_pylist([TRL]), tmp_path / "train-00000-of-00001.parquet")
    assert load_format("trl", tmp_path / "train-00000-of-00001.parquet").cases[0].case.metadata.split == "train"
    with pytest.raises(InputError, match="format is 'csv'; expected one of prm800k"):
        load_format("csv", tmp_path)


def test_images_stand_before_the_question(tmp_path: Path) -> None:
    row = VISUALPROCESSBENCH | {"question": "<image 1> Look at <image 2> and say."}
    reading = read(tmp_path, "visualprocessbench", row)
    case = reading.cases[0].case
    assert [image.path for image in case.all_images] == ["images/MMMU/a.png", "images/MMMU/b.png"]
    assert case.question == "Look at [image 2] and say."
    assert sum(reading.left_out.values()) == 1


def test_the_table_says_which_base_a_set_counts_from() -> None:
    bases = {name: one.index_base for name, one in FORMATS.items() if one.index_base is not None}
    assert bases == {"processbench": 0, "medec": 0, "prmbench": 1, "mr_gsm8k": 1, "mrben": 1, "reasoneval": 1}
