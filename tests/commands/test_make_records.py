"""The command line: from a public set to a data folder that opens, and one line for mistakes."""

import json
from pathlib import Path

import pytest

from medprm.cases.folder import SPLITS, open_data
from medprm.cases.formats.table import READ_FORMATS
from medprm.cases.sets.table import REFUSED, SETS
from medprm.cases.splits import check_leakage
from medprm.commands.make_records import main
from medprm.images.files import resolve_image


def _mrben(folder: Path, num_questions: int = 12) -> Path:
    row = {
        "Question": "Which?",
        "Options": "A: first\nB: second",
        "Subject": "college_medicine",
        "Ground_Truth_Answer": "B",
        "Ground_Truth_Answer_Modified": "B",
        "Sampled_Model": "model",
        "Model_Solution_Steps": ["Step 1: one", "Step 2: two", "Solution: Choice_B"],
        "Model_Solution_Correctness": "incorrect",
    }
    content = {
        f"q{i}": [
            {**row, "Question_UUID": f"q{i}", "Model_Solution_First_Error_Step": error}
            for error in ("2", "1", "7")[: 2 + (i == 0)]
        ]
        for i in range(num_questions)
    }
    folder.mkdir()
    (folder / "medicine.json").write_text(json.dumps(content))
    return folder


def test_counts_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _mrben(tmp_path / "mrben_medicine")
    assert main(["mrben", "--from", str(tmp_path), "--to", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "mrben: 25 solutions read, 24 kept, 1 refused" in shown
    assert "refused 1: the first error step is not among the steps" in shown
    data = open_data(tmp_path / "out")
    splits = {name: data.split(name) for name in SPLITS}
    check_leakage(splits)
    assert data.split_origin() == "drawn"
    assert sum(len(item.solutions) for part in splits.values() for item in part) == 24
    counts = json.loads((tmp_path / "out" / "dataset.json").read_text())["counts"]
    assert sum(counts["splits"][name]["incorrect"] for name in SPLITS) == 24
    assert sum(counts["splits"][name]["unknown"] for name in SPLITS) == 12 * (1 + 2)
    assert main(["mrben", "--from", str(source), "--to", str(tmp_path / "again")]) == 0
    assert open_data(tmp_path / "again").content_hash() == data.content_hash()


def test_existing_records_are_kept_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["mrben", "--from", str(_mrben(tmp_path / "set")), "--to", str(tmp_path / "out")]
    assert main(arguments) == 0
    before = open_data(tmp_path / "out").content_hash()
    assert main([*arguments, "--seed", "1"]) == 2
    assert "exists; give another --to, or --overwrite" in capsys.readouterr().err
    assert open_data(tmp_path / "out").content_hash() == before
    assert main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert open_data(tmp_path / "out").content_hash() != before


@pytest.mark.parametrize("source", ["nih", "med_prm", "mrben", "vqa_rad"])
def test_missing_sets_are_one_line_and_exit_code_2(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for origin in (tmp_path, tmp_path / "none"):
        assert main([source, "--from", str(origin), "--to", str(tmp_path / "out")]) == 2
        message = capsys.readouterr().err
        assert message.startswith("make_records: ")
        assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_med_prm_keeps_its_sources_and_gets_labels_by_the_briefs_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solution = {
        "prm_processed_solution": "Step 1: a. ки Step 2: b. ки Step 3: c. ки",
        "answer": "A",
        "prm_soft_label": [1.0, 0.5, 0.75],
        "prm_hard_label": [1, 1, 1],
        "prm_gemini_label": [1, 1],  # counted otherwise: left out
        "prm_llama_label": [1, 1, 1],
        "orm_label": 1,
    }
    questions = [
        {"question_id": i, "question": "Which?", "options": ["x", "y"], "correct_answer": "A",
         "solutions": [solution, {**solution, "prm_processed_solution": " ки"}]}
        for i in range(10)
    ]  # fmt: skip
    source = tmp_path / "med_prm" / "train.json"
    source.parent.mkdir()
    source.write_text(json.dumps(questions))
    assert main(["med_prm", "--from", str(tmp_path), "--to", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "med_prm: 20 solutions read, 10 kept, 10 refused\n  refused 10: no steps" in shown
    assert "left out of 10 solutions: prm_gemini_label, which has another length than the steps" in shown
    data = open_data(tmp_path / "out")
    read = [one for name in SPLITS for item in data.split(name) for one in item.solutions]
    assert len(read) == 10
    for one in read:
        assert one.labels == ["correct", "unknown", "correct"]  # 1 and 0.75 are above 0.7
        for step in one.solution_steps:
            assert step.sources and len(step.sources.judge) == len(step.sources.rule) == 1
            assert step.sources.monte_carlo[0].num_total == 16
    source.with_name("test.json").write_text("[]")
    assert main(["med_prm", "--from", str(tmp_path), "--to", str(tmp_path / "again")]) == 2
    assert (
        "expected one .json file of Med-PRM's training records; found test.json, train.json" in capsys.readouterr().err
    )


def test_unknown_source_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["mimic", "--from", "a", "--to", "b"])
    assert caught.value.code == 2


@pytest.mark.parametrize("source", ["nih", "vqa_rad"])
def test_images_of_real_sets_are_found_from_a_relative_folder(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    (tmp_path / "link").symlink_to(real_data)
    monkeypatch.chdir(tmp_path)
    assert main([source, "--from", "link", "--to", "out"]) == 0
    data = open_data(tmp_path / "out")
    for name in SPLITS:
        for item in data.split(name):
            assert all(resolve_image(data.image_root, image.path).is_file() for image in item.case.all_images)
    assert data.split_origin() == "drawn", "neither has an official split that is used"


def _medqa(folder: Path, num_questions: int = 3) -> Path:
    for word in ("train", "dev", "test"):
        rows = [
            {"question": f"{word} {number}?", "answer": "b", "answer_idx": "B", "meta_info": "step1",
             "options": {"A": "a", "B": "b", "C": "c", "D": "d"}}
            for number in range(num_questions)
        ]  # fmt: skip
        path = folder / "data_clean/questions/US/4_options" / f"phrases_no_exclude_{word}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_questions_without_solutions_keep_the_official_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _medqa(tmp_path / "MedQA")
    assert main(["medqa", "--from", str(tmp_path), "--to", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "medqa: 9 cases read, 9 kept, 0 refused\n  the set has 12,723 as published; this folder has 9" in shown
    data = open_data(tmp_path / "out")
    assert [len(data.split(name, require_steps=False)) for name in SPLITS] == [3, 3, 3]
    about = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (about["zone"], about["licence"], about["counts"]["cases_kept"]) == ("outside", "MIT", 9)
    assert about["split"] == data.split_origin() == "official"
    assert main(["medqa", "--from", str(source), "--to", str(tmp_path / "few"), "--limit", "2"]) == 0
    assert len(open_data(tmp_path / "few").split("test", require_steps=False)) == 2
    assert main(["medqa", "--from", str(source), "--to", str(tmp_path / "own"), "--resplit"]) == 0
    own = open_data(tmp_path / "own")
    assert [len(own.split(name, require_steps=False)) for name in SPLITS] == [5, 2, 2]
    assert {item.case.metadata.split for item in own.split("test", require_steps=False)} == {None}
    assert own.split_origin() == "drawn"


def test_a_test_set_gives_a_test_split_alone(tmp_path: Path) -> None:
    row = {"id": "math-0", "generator": "g", "problem": "Why?", "steps": ["a", "b"], "final_answer_correct": False}
    (tmp_path / "math.json").write_text(json.dumps([row | {"label": 1}]))
    assert main(["processbench", "--from", str(tmp_path / "math.json"), "--to", str(tmp_path / "out")]) == 0
    data = open_data(tmp_path / "out")
    assert [name for name in SPLITS if data.has(name)] == ["test"]
    assert data.split("test")[0].solutions[0].labels == ["correct", "incorrect"]


def test_a_leaking_official_split_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = "filename,label\nradiology_ai/CT/lung/normal/a.png,normal\n"
    for word in ("train", "val", "test"):
        (tmp_path / f"RadiologyAI_{word}.csv").write_text(table)
    picture = tmp_path / "radiology_ai/CT/lung/normal/a.png"
    picture.parent.mkdir(parents=True)
    picture.touch()
    assert main(["radimagenet", "--from", str(tmp_path), "--to", str(tmp_path / "out")]) == 2
    assert "lies in two splits" in (message := capsys.readouterr().err)
    assert "The official split leaks: --resplit leaves it aside" in message
    assert not (tmp_path / "out").exists()


def test_pictures_inside_a_table_are_written_below_the_records(tmp_path: Path) -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    source = tmp_path / "path-vqa" / "data"
    source.mkdir(parents=True)
    for number, word in enumerate(("train", "validation", "test")):
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), (80 * number, 0, 0)).save(buffer, format="PNG")
        row = {"image": {"bytes": buffer.getvalue(), "path": None}, "question": "Where?", "answer": "liver"}
        pq.write_table(pa.Table.from_pylist([row]), source / f"{word}-00000-of-00001.parquet")
    assert main(["pathvqa", "--from", str(tmp_path), "--to", str(tmp_path / "out")]) == 0
    data = open_data(tmp_path / "out")
    for name in SPLITS:
        (item,) = data.split(name, require_steps=False)
        assert resolve_image(data.image_root, item.case.all_images[0].path).is_file()


def test_the_list_names_every_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert {line.split()[0] for line in shown.splitlines()} == {*SETS, *READ_FORMATS, *REFUSED}
    assert main(["radiology_qa", "--from", "x", "--to", "y"]) == 2
