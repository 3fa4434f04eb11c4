"""Real radiographs, JPEG and DICOM, from file to report with the shipped base."""

import json
from pathlib import Path

import pytest
from small_run import evaluate_config, train_config

from medprm.cases.folder import open_data
from medprm.cases.jsonl import write_cases
from medprm.cases.schema import Case, CaseSolutions, Image, Solution, Step
from medprm.cases.sets.vqa_rad import read_vqa_rad
from medprm.commands import evaluate, train
from medprm.evaluation.scored import read_scored
from medprm.model.tiny import shipped_base

FILMS = ("dicom_pydicom_data/RG1_J2KI.dcm", "dicom_highdicom/dx_image.dcm")  # JPEG 2000 at 15 bits; 8 bits, raw


def _dicom_case(number: int, path: str) -> CaseSolutions:
    claims = [("The lungs are clear.", "correct"), ("There is a large pneumothorax.", "incorrect")]
    solutions = [
        Solution(
            solution_id=f"dicom{number}-{place}",
            answer=text,
            is_correct=label == "correct",
            solution_steps=(Step(step_id=0, category="observation", content=text, label=label),),  # type: ignore[arg-type]
        )
        for place, (text, label) in enumerate(claims)
    ]
    case = Case(
        case_id=f"dicom{number}",
        patient_id=f"film{number}",
        modality="chest_xray",
        image=Image(path=path),
        question="What does the film show?",
    )
    return CaseSolutions(case, solutions)


@pytest.fixture
def records(real_data: Path, tmp_path: Path) -> Path:
    """Questions on real films; the first part of the patients trains, the DICOM films are in the test split."""
    items = read_vqa_rad(real_data / "vqa_rad")
    films = list(dict.fromkeys(item.case.group_id for item in items))
    parts = {"train": films[:8], "validation": films[8:12], "test": films[12:15]}
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({"image_root": str(real_data)}))
    for split, patients in parts.items():
        chosen = [_below_root(item) for item in items if item.case.group_id in patients]
        if split == "test":
            chosen += [_dicom_case(number, path) for number, path in enumerate(FILMS)]
        write_cases(folder / f"{split}.jsonl", chosen)
    return folder


def _below_root(item: CaseSolutions) -> CaseSolutions:
    image = item.case.image
    assert image is not None
    moved = image.model_copy(update={"path": f"vqa_rad/{image.path}"})
    return CaseSolutions(item.case.model_copy(update={"image": moved}), item.solutions)


def test_real_films_reach_the_report(records: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train.run(train_config(shipped_base(), records, run, training={"max_steps": 3}))
    results = evaluate.run(evaluate_config(records, run))
    test = open_data(records).split("test")
    scored = [one for one in read_scored(results / "scored.jsonl") if one.split == "test"]
    assert len(scored) == sum(len(item.solutions) for item in test)
    assert {f"dicom{number}" for number in range(len(FILMS))} <= {one.case_id for one in scored}
    report = (results / "report.html").read_text()
    assert report.count("data:image/png;base64,") >= 8
    assert "http://" not in report.replace("http://www.w3.org", "")
