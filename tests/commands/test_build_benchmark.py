"""A benchmark from sets: quotas and what is missing, nothing shared between splits, no label in a release."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as PillowImage

from medprm.cases.benchmark.checklist import QUESTIONS
from medprm.cases.benchmark.recipe import read_recipe
from medprm.cases.folder import open_data
from medprm.cases.jsonl import read_cases, write_cases
from medprm.cases.overlay import overlay
from medprm.cases.schema import CaseSolutions, from_json
from medprm.cases.sets.table import SETS
from medprm.cases.splits import check_leakage
from medprm.commands.build_benchmark import RECIPES, main

RECIPE = {
    "name": "small",
    "version": "1.2.0",
    "train": {"chest_xray": {"quota": 6, "sets": ["a", "b"]}, "pathology": {"quota": 3, "sets": ["c"]}},
    "evaluation": {
        "radiology": {
            "quota": 4,
            "modalities": ["chest_xray"],
            "sets": ["a", "b"],
            "specialists": {"profession": "radiologist", "num_a_case": 3},
        }
    },
    "validation_quota": 1,
}
SECRETS = ("incorrect", "gold", "judge said", "is_correct", "hint", "policy_right", "-wrong", "expert")


def case(name: str, patient: str, image: str) -> CaseSolutions:
    value: dict[str, Any] = {
        "case_id": name,
        "patient_id": patient,
        "modality": "chest_xray",
        "metadata": {"licence": "MIT", "phi_removed": True, "irb_approved": True, "extra": {"hint": "gold"}},
        "clinical_context": {"age": 50},
        "images": [{"path": image}],
        "question": "What is seen?",
        "gold_standard": {"answer": "gold"},
        "extra": {"hint": 1},
    }
    records = []
    for number, is_right in enumerate([True, False, True]):
        step = {
            "step_id": 0,
            "content": f"seen {name} {number}",
            "category": "observation",
            "label": "correct" if is_right else "incorrect",
            "sources": {"judge": [{"verdict": "correct", "reason": "judge said"}]},
            "expert_note": "expert",
            "confidence": 0.9,
        }
        solution = {
            "solution_id": f"{name}-{'right' if is_right else 'wrong'}-{number}",
            "generator": "policy_right",
            "answer": "A" if is_right else "B",
            "is_correct": is_right,
            "solution_steps": [step],
        }
        records.append(from_json(value | solution))
    return CaseSolutions(records[0].case(), [one.solution() for one in records])


def make_set(folder: Path, sizes: dict[str, int], offset: int = 0) -> Path:
    """Cases of patients and images of their own; both sets use the same names."""
    number = 0
    for split, num in sizes.items():
        cases = []
        for _ in range(num):
            path = folder / f"{number}.png"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(offset + number).integers(0, 255, (8, 8), dtype=np.uint8)
            PillowImage.fromarray(pixels).save(path)
            cases.append(case(f"case{number}", f"p{number}", path.name))
            number += 1
        write_cases(folder / f"{split}.jsonl", cases)
    return folder


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(RECIPE))
    one = make_set(tmp_path / "a", {"train": 3, "validation": 1, "test": 1})
    other = make_set(tmp_path / "b", {"train": 5, "validation": 1, "test": 2}, offset=100)
    # Two of the training films of b are test films under other names: one of b's own, one of a's.
    shutil.copyfile(other / "6.png", other / "0.png")
    shutil.copyfile(one / "4.png", other / "1.png")
    (one / "dataset.json").write_text('{"split": "official"}')
    sets = ["--set", f"a={one}", "--set", f"b={other}"]
    assert main(["build", str(tmp_path / "small.yaml"), *sets, "--to", str(tmp_path / "built")]) == 0
    return tmp_path / "built"


def answers(built: Path, **changes: Any) -> None:
    given = {name: {"answer": "yes", "by": "A. Person", "date": "2026-11-26"} for name in QUESTIONS} | changes
    (built / "checklist.yaml").write_text(yaml.safe_dump(given))


def release(built: Path, folder: Path, name: str, hidden: str) -> tuple[Path, Path]:
    """The released and the hidden side."""
    answers(built)
    assert main(["release", str(built), "--to", str(folder / name), "--hidden", str(folder / hidden)]) == 0
    return folder / name, folder / hidden


def test_a_build_says_what_is_missing(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads((built / "dataset.json").read_text())
    lines = {(one["split"], one["part"]): one for one in facts["shortfall"]}
    assert lines["test", "radiology"]["by_set"] == {"a": 1, "b": 2} and lines["test", "radiology"]["missing"] == 1
    assert lines["train", "chest_xray"]["by_set"] == {"a": 3, "b": 3} and lines["train", "chest_xray"]["missing"] == 0
    assert lines["train", "pathology"] == {
        "split": "train", "part": "pathology", "quota": 3, "found": 0, "by_set": {}, "sets_not_given": ["c"],
        "missing": 3,
    }  # fmt: skip
    assert lines["validation", "chest_xray"]["found"] == 1
    assert facts["split_of_sets"] == {"a": "official", "b": "not stated"}
    assert facts["left_out_of_training"] == {"b: an image of an evaluation set": 2}
    # 3 cases x 3 solutions x 1 step, three readers, a minute each.
    (cost,) = facts["specialists"]
    assert (cost["num_steps"], cost["is_planned"]) == (9, False)
    assert cost["hours"] == pytest.approx(27 / 60) and cost["dollars"] == pytest.approx(37 * 27 / 60)


def test_a_build_shows_who_drew_the_splits_of_each_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_set(tmp_path / "a", {"test": 1})
    (folder / "dataset.json").write_text('{"split": "drawn"}')
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(RECIPE))
    command = ["build", str(tmp_path / "small.yaml"), "--set", f"a={folder}", "--to"]
    assert main([*command, str(tmp_path / "built")]) == 0
    assert "splits of a: drawn" in capsys.readouterr().out
    (folder / "dataset.json").write_text('{"split": "by hand"}')
    assert main([*command, str(tmp_path / "again")]) == 2
    assert "split 'by hand'; expected official or drawn" in capsys.readouterr().err


def test_a_build_is_a_data_folder_without_leaks_and_the_same_again(built: Path, tmp_path: Path) -> None:
    data = open_data(built)
    splits = {name: data.split(name) for name in ("train", "validation", "test")}
    check_leakage(splits)
    assert len({item.case.case_id for cases in splits.values() for item in cases}) == 10
    for cases in splits.values():
        for item in cases:
            assert (built / item.case.images[0].path).is_file() and item.case.metadata.source in ("a", "b")
    sets = ["--set", f"a={tmp_path / 'a'}", "--set", f"b={tmp_path / 'b'}"]
    assert main(["build", str(tmp_path / "small.yaml"), *sets, "--to", str(tmp_path / "again")]) == 0
    for name in splits:
        assert (tmp_path / "again" / f"{name}.jsonl").read_bytes() == (built / f"{name}.jsonl").read_bytes()


def test_a_release_waits_for_the_checklist(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["release", str(built), "--to", str(tmp_path / "r"), "--hidden", str(tmp_path / "h")]
    assert main(command) == 2
    assert "irb_decision: not answered (and 10 more)" in capsys.readouterr().err
    for changes, message in (
        ({"licences": {"answer": "no", "by": "B", "date": "2026-11-26"}}, "licences: answered no"),
        ({"licences": {"answer": "yes"}}, "licences: answered without name and date"),
        ({"licences": {"answer": "not_applicable", "by": "B", "date": "2026-11-26"}}, "without a note"),
        ({"colour": {"answer": "yes"}}, "colour: no such question"),
    ):
        answers(built, **changes)
        assert main(command) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists() and not (tmp_path / "h").exists()
    assert main([*command, "--draft"]) == 2, "a question that is not asked"
    answers(built, licences={"answer": "no", "by": "B", "date": "2026-11-26"})
    assert main([*command, "--draft"]) == 0
    assert (tmp_path / "r" / "VERSION").read_text() == "1.2.0-draft\n"


def test_records_that_do_not_say_they_are_safe_hold_a_release_back(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(built)
    cases = read_cases(built / "train.jsonl")
    metadata = cases[0].case.metadata.model_copy(update={"phi_removed": None})
    cases[0] = CaseSolutions(cases[0].case.model_copy(update={"metadata": metadata}), cases[0].solutions)
    write_cases(built / "train.jsonl", cases)
    assert main(["release", str(built), "--to", str(tmp_path / "r"), "--hidden", str(tmp_path / "h")]) == 2
    assert "metadata.phi_removed): 1 cases of" in capsys.readouterr().err


def test_a_release_hides_every_label_of_the_test_split(built: Path, tmp_path: Path) -> None:
    answers(built)
    released, hidden = tmp_path / "r", tmp_path / "h"
    assert main(["release", str(built), "--to", str(released), "--hidden", str(hidden)]) == 0
    text = (released / "test.jsonl").read_text()
    assert not [word for word in SECRETS if word in text]
    assert [word for word in SECRETS if word in (hidden / "test.jsonl").read_text()] != []
    assert (released / "train.jsonl").read_bytes() == (built / "train.jsonl").read_bytes()
    open_cases, full = read_cases(released / "test.jsonl"), read_cases(hidden / "test.jsonl")
    assert {item.case.case_id for item in open_cases} == {item.case.case_id for item in full}
    # The hidden labels fit the open solutions by name and by text.
    joined = overlay(open_cases, full, only=True, where="hidden")
    assert joined.num_labelled == 9 and joined.num_left_out == 0
    before = read_cases(built / "test.jsonl")
    for item, original in zip(full, before, strict=True):
        assert [one.labels for one in item.solutions] == [one.labels for one in original.solutions]
    # Candidates are not in an order that tells.
    orders = {tuple(one.answer for one in item.solutions) for item in open_cases}
    assert orders != {("A", "B", "A")}
    for line in (released / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((released / name).read_bytes()).hexdigest() == digest
    assert (hidden / "images" / "a" / "4.png").is_file() and (released / "images" / "a" / "0.png").is_file()
    assert "A. Person" in (released / "CHECKLIST.md").read_text()


def test_a_label_in_an_image_path_is_not_released(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "a", {"train": 1, "test": 2})
    cases = read_cases(folder / "test.jsonl")
    labelled = folder / "CT" / "lung" / "pneumothorax" / "1.PNG"
    labelled.parent.mkdir(parents=True)
    shutil.copyfile(folder / "1.png", labelled)
    image = cases[0].case.images[0].model_copy(update={"path": "CT/lung/pneumothorax/1.PNG"})
    cases[0] = cases[0]._replace(case=cases[0].case.model_copy(update={"images": (image,)}))
    write_cases(folder / "test.jsonl", cases)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(RECIPE))
    assert main(["build", str(tmp_path / "small.yaml"), "--set", f"a={folder}", "--to", str(tmp_path / "built")]) == 0
    released, hidden = release(tmp_path / "built", tmp_path, "r", "h")
    written = [path for path in released.rglob("*") if path.is_file()]
    assert not [path for path in written if "pneumothorax" in str(path) or b"pneumothorax" in path.read_bytes()]
    for item in read_cases(released / "test.jsonl"):
        (image,) = item.case.images
        digest = hashlib.sha256((released / image.path).read_bytes()).hexdigest()
        assert image.path == f"images/{digest[:32]}.png"
    paths = [item.case.images[0].path for item in read_cases(hidden / "test.jsonl")]
    assert "images/a/CT/lung/pneumothorax/1.PNG" in paths and all((hidden / path).is_file() for path in paths)


def test_names_of_solutions_follow_from_the_hidden_secret_alone(built: Path, tmp_path: Path) -> None:
    one, kept = release(built, tmp_path, "r1", "h1")
    other, _ = release(built, tmp_path, "r2", "h2")
    names = [{solution.solution_id for item in read_cases(folder / "test.jsonl") for solution in item.solutions}
             for folder in (one, other)]  # fmt: skip
    assert len(names[0]) == 9 and names[0].isdisjoint(names[1]), "the same data and seed, other names"
    secret = (kept / "SECRET").read_text().strip()
    written = [path.read_bytes() for path in one.rglob("*") if path.is_file()]
    assert len(secret) == 64 and not [content for content in written if secret.encode() in content]
    (tmp_path / "h3").mkdir()
    shutil.copyfile(kept / "SECRET", tmp_path / "h3" / "SECRET")
    again, _ = release(built, tmp_path, "r3", "h3")
    assert (again / "SHA256SUMS").read_bytes() == (one / "SHA256SUMS").read_bytes()


def test_a_secret_of_another_form_is_named(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(built)
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "SECRET").write_text("short")
    assert main(["release", str(built), "--to", str(tmp_path / "r"), "--hidden", str(tmp_path / "h")]) == 2
    assert "SECRET: expected 64 hexadecimal digits" in capsys.readouterr().err and not (tmp_path / "r").exists()


def test_the_hidden_side_may_not_lie_in_the_release(built: Path, tmp_path: Path) -> None:
    answers(built)
    assert main(["release", str(built), "--to", str(tmp_path / "r"), "--hidden", str(tmp_path / "r" / "h")]) == 2


def test_the_recipe_of_the_brief_has_its_quotas() -> None:
    recipe = read_recipe(RECIPES / "medprm_v1.yaml")
    assert {name: one.quota for name, one in recipe.train.items()} == {
        "chest_xray": 20_000,
        "ct_scan": 10_000,
        "pathology": 10_000,
        "clinical_photos": 5_000,
    }
    assert {name: one.quota for name, one in recipe.evaluation.items()} == {
        "radiology": 500,
        "pathology": 300,
        "dermatology": 200,
    }


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_set_of_a_recipe_has_a_reader(path: Path) -> None:
    assert [name for name in read_recipe(path).sets if name not in SETS] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "one"}, "version: String should match"),
        ({"train": {"xray": {"quota": 1, "sets": []}}}, "train.xray"),
        ({"quota": 3}, "quota: Extra inputs are not permitted"),
    ],
)
def test_a_recipe_that_is_wrong_is_named(
    change: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE | change))
    assert main(["build", str(tmp_path / "r.yaml"), "--to", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
