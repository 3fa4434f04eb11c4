"""The data card: counts by hand, agreement of sources that are set up to agree, what may go to a hub."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image as PillowImage

from medprm.cases.jsonl import read_cases, write_cases
from medprm.cases.schema import CaseSolutions, from_json
from medprm.commands import describe
from medprm.commands.make_records import make_records
from medprm.errors import InputError
from medprm.evaluation.data_card import describe_cases
from medprm.evaluation.data_card_page import bars, pick_examples
from medprm.evaluation.hub import check_may_leave


def step(place: int, label: str, judge: str, right: int, category: str = "observation") -> dict[str, Any]:
    sources = {"judge": [{"verdict": judge}], "monte_carlo": [{"num_correct": right, "num_wrong": 4 - right}]}
    return {
        "step_id": place,
        "content": f"text <b>{place}</b>",
        "label": label,
        "category": category,
        "sources": sources,
    }


def cases(num: int = 4, **metadata: Any) -> list[CaseSolutions]:
    given = {"source": "made up", "licence": "MIT", "phi_removed": True} | metadata
    found = []
    for number in range(num):
        value = {
            "case_id": f"c{number}",
            "patient_id": f"p{number // 2}",
            "modality": "chest_xray" if number % 2 else "text",
            "metadata": given,
            "question": "What is seen?",
            **({"images": [{"path": f"films/{number}.png"}]} if number % 2 else {}),
        }
        solutions = [
            # Judge and rollouts agree on three of four steps.
            [step(0, "correct", "correct", 4), step(1, "incorrect", "incorrect", 0, "diagnosis")],
            [step(0, "correct", "correct", 3), step(1, "unknown", "correct", 0), {"step_id": 2, "content": "bare"}],
        ]
        records = [
            from_json(value | {"solution_id": f"s{k}", "is_correct": k == 0, "solution_steps": steps})
            for k, steps in enumerate(solutions)
        ]
        found.append(CaseSolutions(records[0].case(), [one.solution() for one in records]))
    return found


def write_set(folder: Path, **metadata: Any) -> Path:
    (folder / "films").mkdir(parents=True)
    for number in (1, 3):
        PillowImage.fromarray(np.full((40, 30), 60 * number, dtype=np.uint8)).save(folder / f"films/{number}.png")
    write_cases(folder / "train.jsonl", cases(2, **metadata))
    write_cases(folder / "test.jsonl", cases(4, **metadata)[2:])
    return folder


def test_counts_are_those_of_the_file() -> None:
    card = describe_cases(cases(), num_bootstrap=50)
    assert card["totals"]["cases"] == 4 and card["totals"]["patients"] == 2
    assert card["totals"]["solutions"] == 8 and card["totals"]["steps"] == 20 and card["totals"]["images"] == 2
    assert card["tables"]["modality"] == {"chest_xray": 2, "text": 2}
    assert card["tables"]["label"] == {"correct": 8, "incorrect": 4, "unknown": 8}
    assert card["tables"]["final_answer"] == {"right": 4, "wrong": 4}
    assert card["tables"]["solution_labels"] == {"correct and incorrect steps": 4, "correct steps only": 4}
    assert card["steps_per_solution"] == {"2": 4, "3": 4}
    assert card["labels_by_category"]["diagnosis"] == {"correct": 0, "incorrect": 4, "neutral": 0, "unknown": 0}
    assert card["coverage"] == {"label": 12, "judge": 16, "monte_carlo_above_0": 16, "monte_carlo_above_half": 16}
    pairs = {(one["first"], one["second"]): one for one in card["agreement"]}
    assert ("monte_carlo_above_0", "monte_carlo_above_half") not in pairs
    of_both = pairs["judge", "monte_carlo_above_half"]
    assert of_both["n"] == 16 and of_both["raw_agreement"]["value"] == pytest.approx(0.75)
    assert of_both["kappa"]["value"] == pytest.approx(0.5)
    assert pairs["label", "judge"]["kappa"]["value"] == 1.0


def test_examples_take_modalities_in_turn_and_show_an_error() -> None:
    picked = pick_examples(cases(), 3)
    assert sorted(item.case.modality for item, _ in picked[:2]) == ["chest_xray", "text"]
    assert all("incorrect" in item.solutions[number].labels for item, number in picked)
    assert len(pick_examples(cases(), 99)) == 4


def test_rows_beyond_the_limit_are_put_together() -> None:
    shown = bars({f"g{number}": 20 - number for number in range(20)})
    assert len(shown) == 12 and shown[-1].name == "9 others"
    assert sum(row.num for row in shown) == sum(range(1, 21))
    assert max(row.width for row in shown) <= 1.0


def test_describe_writes_a_page_that_needs_nothing_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "set")
    page = tmp_path / "card.html"
    assert describe.main([str(folder), "--html", str(page), "--num-bootstrap", "50"]) == 0
    assert "4 cases, 2 patients, 8 solutions, 20 steps" in capsys.readouterr().out
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 2 and "://" not in text and "<script" not in text
    assert "text &lt;b&gt;0&lt;/b&gt;" in text and "text <b>" not in text
    assert "rollouts 0 of 4 right" in text and "The examples show the content of cases" in text
    assert describe.main([str(folder / "train.jsonl"), "--html", str(page), "--examples", "0"]) == 0
    assert "base64" not in page.read_text() and "text &lt;b&gt;" not in page.read_text()


def test_the_hub_folder_is_read_by_datasets_and_by_us(tmp_path: Path) -> None:
    folder, hub = write_set(tmp_path / "set"), tmp_path / "hub"
    assert describe.main([str(folder), "--hub", str(hub), "--num-bootstrap", "50"]) == 0
    _, header, body = (hub / "README.md").read_text().split("---\n", 2)
    given = yaml.safe_load(header)
    assert given["license"] == "mit" and given["size_categories"] == ["n<1K"]
    assert [one["split"] for one in given["configs"][0]["data_files"]] == ["train", "test"]
    assert "made up" in body and not any(secret in body for secret in ("c0", "p1", "What is seen", "text <b>"))
    assert read_cases(hub / "data" / "train-00000-of-00001.parquet") == read_cases(folder / "train.jsonl")
    assert (hub / "films" / "3.png").read_bytes() == (folder / "films" / "3.png").read_bytes()
    import datasets

    loaded = datasets.load_dataset(str(hub), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 4, "test": 4}
    assert describe.main([str(folder), "--hub", str(hub)]) == 2, "a folder that is not empty"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"phi_removed": None}, "test case c0: metadata.phi_removed is None"),
        ({"phi_removed": False}, "metadata.phi_removed is False"),
        ({"licence": None}, "metadata.licence is not given"),
    ],
)
def test_cases_that_may_hold_identifiers_do_not_leave(metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_may_leave({"test": cases(**metadata)})


class Real(NamedTuple):
    """What is known of a real set, and how many pictures six examples of it show."""

    totals: dict[str, int]
    labels: dict[str, int]
    final_answers: dict[str, int]
    num_pictures: int


REAL = {
    "mrben": Real(
        {"cases": 277, "solutions": 827, "steps": 5193, "images": 0, "cases_without_patient_id": 277},
        {"correct": 2768, "incorrect": 570, "unknown": 1855},
        {"wrong": 570, "right": 257},
        0,
    ),
    "nih": Real(
        {"cases": 637, "patients": 185, "solutions": 5096, "steps": 17199, "images": 637},
        {"correct": 11827, "incorrect": 5372},
        {"wrong": 1628, "right": 3468},
        6,
    ),
    "medec": Real(
        {"cases": 574, "solutions": 574, "steps": 7162, "images": 0, "patients": 325},
        {"correct": 6843, "incorrect": 319},
        {"wrong": 319, "right": 255},
        0,
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_are_described(name: str, real_data: Path, tmp_path: Path) -> None:
    make_records(name, real_data, tmp_path / name)
    page, numbers, known = tmp_path / "card.html", tmp_path / "card.json", REAL[name]
    arguments = [str(tmp_path / name), "--html", str(page), "--json", str(numbers), "--num-bootstrap", "20"]
    assert describe.main(arguments) == 0
    card = json.loads(numbers.read_text())
    assert known.totals.items() <= card["totals"].items()
    assert card["tables"]["label"] == known.labels and card["tables"]["final_answer"] == known.final_answers
    assert sum(card["steps_per_solution"].values()) == known.totals["solutions"]
    text = page.read_text()
    assert text.count("data:image/png;base64,") == known.num_pictures and text.count('class="case"') == 6
    assert "<script" not in text and not re.search(r"""(?:src|href)=["']https?:""", text)


def test_long_names_break_at_their_underscores(tmp_path: Path) -> None:
    """Mr-Ben's human_first_error broke before its last letter."""
    page = tmp_path / "card.html"
    assert describe.main([str(write_set(tmp_path / "set")), "--html", str(page), "--num-bootstrap", "20"]) == 0
    assert "chest_<wbr>xray" in page.read_text()
