"""The data set: what is kept, what is refused and why, and nothing in anybody's place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import IMAGE_SETTINGS, full_record, make_cases, tiny_encoder

from medprm.cases.schema import CaseSolutions
from medprm.encoding.chat import EncodingError
from medprm.encoding.settings import LabelSettings
from medprm.errors import InputError
from medprm.training.dataset import NO_LABEL, NO_STEPS, StepDataset, build_dataset


def build(cases: list[CaseSolutions], root: Path, labels: LabelSettings | None = None, **encoding: Any) -> StepDataset:
    return build_dataset(cases, tiny_encoder(**encoding), labels or LabelSettings(), root, IMAGE_SETTINGS)


def with_steps(case: CaseSolutions, *steps: dict[str, Any]) -> CaseSolutions:
    if not steps:
        return CaseSolutions(case.case, [case.solutions[0].model_copy(update={"solution_steps": ()})])
    numbered = [{"step_id": k, "content": "text", **step} for k, step in enumerate(steps)]
    return CaseSolutions(case.case, [full_record(solution_steps=numbered).solution()])


def test_every_solution_read_is_kept_or_refused_by_reason(tmp_path: Path) -> None:
    good = make_cases(tmp_path, 3)
    cases = [*good, with_steps(good[0]), with_steps(good[0], {"label": "unknown"}), with_steps(good[0], {})]
    counts = build(cases, tmp_path).counts
    assert counts.refused == {NO_STEPS: 1, NO_LABEL: 2}
    assert counts.num_solutions_read == 9
    assert counts.num_solutions_kept == 6
    assert sum(counts.steps_by_label.values()) == counts.num_steps
    assert counts.num_steps == sum(len(one.solution_steps) for case in good for one in case.solutions)


def test_an_example_is_what_the_scorer_would_encode(tmp_path: Path) -> None:
    cases = make_cases(tmp_path, 2)
    dataset = build(cases, tmp_path)
    case, solutions = cases[1]
    example = dataset[2]
    num_tiles = len(example.pixel_values) if example.pixel_values is not None else 0
    assert num_tiles == 3
    assert example.encoded == tiny_encoder().encode(case, solutions[0].step_texts, [num_tiles])
    np.testing.assert_array_equal(example.pixel_values, dataset[2].pixel_values)


def test_history_labels_enter_training_sequences_only_where_asked(tmp_path: Path) -> None:
    case = with_steps(make_cases(tmp_path, 1)[0], {"label": "incorrect"}, {"label": "correct"})
    plus, labels = build([case], tmp_path)[0], build([case], tmp_path, history="labels")[0]
    assert plus.encoded.label_positions == labels.encoded.label_positions
    assert plus.encoded.input_ids != labels.encoded.input_ids


def test_a_missing_image_is_told_before_training(tmp_path: Path) -> None:
    cases = make_cases(tmp_path, 2)
    (tmp_path / "1.png").unlink()
    with pytest.raises(InputError, match=r"case case_1: no image file .*1\.png"):
        build(cases, tmp_path)


def test_text_over_the_budget_is_told_before_training(tmp_path: Path) -> None:
    with pytest.raises(EncodingError, match="max_text_tokens=60"):
        build(make_cases(tmp_path, 1), tmp_path, max_text_tokens=60, max_document_tokens=0)


def test_dropped_documents_are_counted(tmp_path: Path) -> None:
    dataset = build(make_cases(tmp_path, 2), tmp_path, max_document_tokens=1)
    assert dataset.counts.num_dropped_documents == 4


def test_no_usable_solution_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none kept .*labels\.kind=value"):
        build(make_cases(tmp_path, 1), tmp_path, LabelSettings(kind="value"))
