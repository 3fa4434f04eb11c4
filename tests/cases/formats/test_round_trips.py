"""Out and in again: the same questions, steps and labels; what a format cannot say is refused and counted."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medprm.cases.formats.table import WRITTEN_FORMATS, load_format, write_format
from medprm.cases.formats.writing import Writer, WriteSettings, Writing
from medprm.cases.reading import Reading
from medprm.cases.schema import (
    Case,
    CaseSolutions,
    ExpertVerdict,
    GoldStandard,
    Image,
    Label,
    MonteCarlo,
    Solution,
    Sources,
    Step,
)

ROUND_TRIPS = [name for name in WRITTEN_FORMATS if name != "swift"]
WITH_IMAGES = ("visualprm", "visualprm_raw", "visualprocessbench")
ALLOWED: dict[str, tuple[Label, ...]] = {
    "prm800k": ("correct", "neutral", "incorrect"),
    "visualprocessbench": ("correct", "neutral", "incorrect"),
}
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="к#<"), min_size=1, max_size=20
).map(lambda text: f"t{text.strip()}.")


@st.composite
def solutions(draw: st.DrawFn, name: str) -> CaseSolutions:
    labels: list[Label] = draw(
        st.lists(st.sampled_from(ALLOWED.get(name, ("correct", "incorrect"))), min_size=1, max_size=6)
    )
    if name in ("processbench", "prm800k"):
        first = labels.index("incorrect") if "incorrect" in labels else len(labels)
        labels = labels[: first + 1]
        if name == "processbench":
            labels.extend("unknown" for _ in range(draw(st.integers(0, 2)) if "incorrect" in labels else 0))
    opening = "Step {}: {}" if name == "math_shepherd" else "{1}"
    steps = tuple(
        _step(place, opening.format(place + 1, draw(TEXT)), label, draw(st.integers(1, 16)))
        for place, label in enumerate(labels)
    )
    images = draw(st.lists(st.sampled_from(["images/a.png", "images/b.png"]), max_size=2, unique=True))
    case = Case(
        case_id="c",
        modality="text",
        question=draw(TEXT),
        gold_standard=GoldStandard(answer=draw(TEXT)),
        images=tuple(Image(path=path) for path in images) if name in WITH_IMAGES else (),
    )
    is_correct = draw(st.booleans())
    answer = case.gold_standard.answer if case.gold_standard and is_correct else "no such answer"
    return CaseSolutions(case, [Solution(solution_id="s", answer=answer, is_correct=is_correct, solution_steps=steps)])


def _step(place: int, text: str, label: Label, num_right: int) -> Step:
    right = num_right if label == "correct" else 0
    sources = Sources(
        monte_carlo=(MonteCarlo(num_correct=right, num_wrong=16 - right, num_planned=16),),
        expert=() if label == "unknown" else (ExpertVerdict(verdict=label, expert_id="someone"),),
    )
    return Step(step_id=place, content=text, label=label, sources=sources)


def out_and_in(name: str, item: CaseSolutions, folder: Path) -> tuple[Writing, Reading]:
    writing = write_format(name, [item], Writer(system="Judge each step."))
    is_list = name in ("med_prm", "processbench")
    path = folder / ("rows.json" if is_list else "rows.jsonl")
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in writing.rows)
    path.write_text(json.dumps(writing.rows) if is_list else lines, encoding="utf-8")
    return writing, load_format(name, path)


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_steps_and_labels_come_back(name: str, tmp_path: Path) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(solutions(name))
    def check(item: CaseSolutions) -> None:
        writing, reading = out_and_in(name, item, tmp_path)
        assert not writing.refused
        assert not reading.refused
        ((case, (solution,)),) = reading.cases
        (given_one,) = item.solutions
        assert solution.step_texts == given_one.step_texts
        assert case.question == item.case.question
        assert [image.path for image in case.all_images] == [image.path for image in item.case.all_images]
        if name != "med_prm":  # its labels are sources, fused later
            assert solution.labels == given_one.labels
        if name in ("med_prm", "visualprm_raw"):
            assert [counts(step) for step in solution.solution_steps] == [
                counts(step) for step in given_one.solution_steps
            ]

    check()


def counts(step: Step) -> list[tuple[int, int]]:
    assert step.sources is not None
    return [(run.num_correct, run.num_total) for run in step.sources.monte_carlo]


def item_of(labels: list[Label], **fields: Any) -> CaseSolutions:
    steps = tuple(Step(step_id=place, content=f"s{place}", label=label) for place, label in enumerate(labels))
    case = Case(case_id="c", modality="text", question="Q?", gold_standard=GoldStandard(answer="a"), **fields)
    return CaseSolutions(case, [Solution(solution_id="s", is_correct=False, solution_steps=steps)])


@pytest.mark.parametrize("name", ["trl", "math_shepherd", "visualprm", "swift"])
def test_neutral_and_unknown_are_refused_unless_told(name: str) -> None:
    neutral, unknown = item_of(["correct", "neutral"]), item_of(["correct", "incorrect", "unknown"])
    writing = write_format(name, [neutral, unknown], Writer())
    assert not writing.rows
    assert writing.refused == {
        "a neutral step, which the format has no word for": 1,
        "a step without a label, which the format has no word for": 1,
    }
    told = Writer(WriteSettings(unknown="truncate", neutral="incorrect"))
    writing = write_format(name, [neutral, unknown], told)
    assert len(writing.rows) == 2
    assert not writing.refused
    assert writing.changed["neutral steps written as incorrect"] == 1
    assert writing.changed["steps from the first unknown one on, cut"] == 1


def test_processbench_refuses_an_unknown_before_the_error_and_counts_labels_behind_it() -> None:
    items = [item_of(["unknown", "incorrect"]), item_of(["neutral"]), item_of(["incorrect", "correct"])]
    writing = write_format("processbench", items, Writer())
    assert [row["label"] for row in writing.rows] == [0]
    assert writing.refused == {"a step before the first error that is neutral or unknown": 2}
    assert writing.changed == {"labels after the first error, which the format does not hold": 1}


@pytest.mark.parametrize("name", ["trl", "prm800k", "math_shepherd", "processbench", "med_prm"])
def test_images_do_not_vanish_in_a_format_of_text(name: str) -> None:
    writing = write_format(name, [item_of(["correct"], image=Image(path="a.png"))], Writer())
    assert not writing.rows
    assert writing.refused == {"images, which the format cannot hold": 1}


def test_one_image_is_a_list_so_that_no_mark_lands_in_the_system_message() -> None:
    item = item_of(["correct", "incorrect"], image=Image(path="a.png"))
    (row,) = write_format("visualprm", [item], Writer(system="Judge.")).rows
    assert row["image"] == ["a.png"]
    assert [turn["from"] for turn in row["conversations"]] == ["system", "human", "gpt", "human", "gpt"]
    assert row["conversations"][1]["value"] == "### Question:\n<image>\nQ?\n\n### Solution Process:\ns0"
    (row,) = write_format("swift", [item], Writer(system="Judge.")).rows
    assert row["images"] == ["a.png"]
    assert [turn["content"] for turn in row["messages"]][2::2] == ["+", "-"]
