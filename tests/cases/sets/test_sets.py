"""Every set of the table from a folder of its published layout: answers, splits, groups, images, refusals."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from set_folders import BUILDERS, SLICE_OF_TUMOUR

from medprm.cases.formats.table import FORMATS
from medprm.cases.parsing import RecordError
from medprm.cases.reading import Reading
from medprm.cases.rows import Row, read_rows
from medprm.cases.schema import Case
from medprm.cases.sets.origin import Origin, Unfit
from medprm.cases.sets.pictures import slake_case
from medprm.cases.sets.table import REFUSED, SETS, load_set
from medprm.cases.splits import check_leakage
from medprm.errors import InputError
from medprm.images.files import resolve_image
from medprm.images.load import load_image

CONF = Path(__file__).parents[3] / "conf" / "data"
REAL = ("nih", "vqa_rad")
# answers in order, splits, num of images, modalities
EXPECTED: dict[str, tuple[Sequence[str | None], Mapping[str | None, int], int, set[str]]] = {
    "slake": (["No"] * 3, {"train": 1, "validation": 1, "test": 1}, 3, {"chest_xray", "ct_scan", "other"}),
    "vqa_rad_full": (["Yes", "left frontal lobe", "3"], {None: 3}, 3, {"chest_xray", "ct_scan", "other"}),
    "pathvqa": (["x", "yes"] * 3, {"train": 2, "validation": 2, "test": 2}, 6, {"pathology"}),
    "mimic_cxr": (["abnormal", "no finding", "no finding"], {"train": 2, "validation": 1}, 6, {"chest_xray"}),
    "chexpert": (["no finding", "abnormal"], {"train": 1, "validation": 1}, 4, {"chest_xray"}),
    "radimagenet": (
        ["nodule", "normal", "acl_tear"],
        {"train": 1, "validation": 1, "test": 1},
        3,
        {"ct_scan", "other"},
    ),
    "lits": (["yes", "no"], {None: 2}, 2, {"ct_scan"}),
    "pcam": (["no", "yes"] * 6, {"train": 4, "validation": 4, "test": 4}, 12, {"pathology"}),
    "derm7pt": (
        ["melanoma", "nevus", "miscellaneous"],
        {"train": 1, "validation": 1, "test": 1},
        6,
        {"clinical_photos"},
    ),
    "ham10000": (["melanoma"] * 2 + ["melanocytic nevus"], {None: 3}, 3, {"clinical_photos"}),
    "medqa": (["o2"] * 3, {"train": 1, "validation": 1, "test": 1}, 0, {"text"}),
    "medqa5": (["o2"] * 3, {"train": 1, "validation": 1, "test": 1}, 0, {"text"}),
    "medmcqa": (["a", "d", None], {"train": 1, "validation": 1, "test": 1}, 0, {"text"}),
    "pubmedqa": (["yes", "maybe"], {"train": 1, "test": 1}, 0, {"text"}),
    "mmlu_med": (["4"] * 6, {"test": 6}, 0, {"text"}),
    "ddxplus": (["URTI"] * 3, {"train": 1, "validation": 1, "test": 1}, 0, {"text"}),
    "agentclinic_medqa": (["Myasthenia gravis"], {"test": 1}, 0, {"text"}),
    "agentclinic_nejm": (["b"], {"test": 1}, 1, {"other"}),
    "mmmu": (["one", None, "two"], {"train": 1, "test": 1, "validation": 1}, 6, {"other"}),
    "mathvista": (["5"], {"test": 1}, 1, {"other"}),
    "mathvision": (["B"], {"test": 1}, 1, {"other"}),
    "mathverse": (["B", "B"], {"test": 2}, 2, {"other"}),
    "mathverse_vo": (["B"], {"test": 1}, 1, {"other"}),
    "dynamath": (["6.28", "6.28"], {"test": 2}, 2, {"other"}),
    "wemath": (["2"], {"test": 1}, 1, {"other"}),
    "logicvista": (["A"], {"test": 1}, 1, {"other"}),
    "mmpr": (["x", "y"], {None: 2}, 1, {"other", "text"}),
}


def built(name: str, folder: Path, seed: int = 0, limit: int | None = None) -> tuple[Origin, Reading]:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    BUILDERS[name](source)
    origin = Origin(source, folder / "out", seed, limit)
    return origin, load_set(name, origin)


def cases_of(name: str, folder: Path) -> list[Case]:
    return [item.case for item in built(name, folder)[1].cases]


def test_every_set_is_tried_here_or_on_real_data() -> None:
    assert set(SETS) == set(BUILDERS) | set(REAL)
    assert set(EXPECTED) == set(BUILDERS)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_folder_of_the_published_layout(name: str, tmp_path: Path) -> None:
    answers, splits, num_images, modalities = EXPECTED[name]
    origin, reading = built(name, tmp_path)
    cases = [item.case for item in reading.cases]
    assert [case.gold_standard.answer if case.gold_standard else None for case in cases] == answers
    assert Counter(case.metadata.split for case in cases) == splits
    assert {case.modality for case in cases} == modalities
    assert {case.metadata.source for case in cases} == {SETS[name].source}
    assert len({case.case_id for case in cases}) == len(cases)
    root = origin.target if origin.has_written else origin.folder
    images = [image for case in cases for image in case.all_images]
    assert len(images) == num_images
    for image in images:
        assert load_image(resolve_image(root, image.path)).mode == "RGB"
    for case, answer in zip(cases, answers, strict=True):
        assert not case.options or answer is None or answer.casefold() in [one.casefold() for one in case.options]
    check_leakage({split: [one for one in reading.cases if one.case.metadata.split == split] for split in
                   ("train", "validation", "test")})  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_a_folder_that_is_not_whole_is_one_error_that_says_who_may_have_the_set(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        load_set(name, Origin(tmp_path, tmp_path / "out"))
    message = str(caught.value)
    assert "is not whole here, missing" in message
    assert SETS[name].access in message
    assert SETS[name].needs[-1].replace("|", " or ") in message


@pytest.mark.parametrize("name", SETS)
def test_data_configs_declare_the_zone_of_the_table(name: str) -> None:
    value = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    chosen = SETS[name]
    assert value["data"] == {"name": name}
    assert value["guard"]["sources"] == {
        chosen.source: {"zone": chosen.zone, "is_patient_data": chosen.is_patient_data}
    }
    assert (CONF / f"{name}.yaml").read_text().startswith("# @package _global_\n")


def test_sets_under_an_agreement_stay_on_the_site() -> None:
    gated = {name for name, one in SETS.items() if one.zone != "outside"}
    assert gated == {"mimic_cxr", "chexpert", "radimagenet", "lits", "derm7pt", "agentclinic_nejm"}
    assert all(SETS[name].is_patient_data for name in gated - {"agentclinic_nejm"})


def test_the_docs_name_every_set_and_format() -> None:
    text = (CONF.parents[1] / "docs" / "data_sets.md").read_text()
    for name in (*SETS, *REFUSED, *FORMATS):
        assert f"`{name}`" in text
    for name, one in SETS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert all(part in line for part in (one.licence, one.access, f"| {one.zone} |", one.tried))
        assert all(f"{count:,}" in line for count in one.published.values())


def test_radiology_qa_is_refused_with_what_it_can_mean(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"radiology_qa: no set is published.*RadQA.*VQA-RAD"):
        load_set("radiology_qa", Origin(tmp_path, tmp_path))
    assert set(REFUSED) == {"radiology_qa"}


def test_mimic_keeps_stated_denied_and_uncertain_apart(tmp_path: Path) -> None:
    _, reading = built("mimic_cxr", tmp_path)
    first = reading.cases[0].case
    assert first.gold_standard is not None
    assert first.gold_standard.findings == ("Edema",)
    assert first.gold_standard.extra == {
        "denied": ["Pneumonia"], "uncertain": ["Fracture"], "findings": "Edema.", "impression": "Edema.",
    }  # fmt: skip
    assert first.patient_id == "mimic_p10000030"
    assert first.clinical_context.note == "___ with fever."
    assert [image.view for image in first.all_images] == ["PA", "LATERAL"]
    assert reading.refused == {"no finding is stated, and neither is that there is none": 1}
    devices = reading.cases[1].case.gold_standard
    assert devices is not None
    assert (devices.answer, devices.findings) == ("no finding", ("Support Devices",))


def test_ham10000_goes_by_lesion_and_counts_missing_pictures(tmp_path: Path) -> None:
    _, reading = built("ham10000", tmp_path)
    assert [item.case.patient_id for item in reading.cases] == ["HAM_0", "HAM_0", "HAM_1"]
    assert (reading.num_read, reading.refused) == (4, {"its image file is missing": 1})
    assert reading.cases[2].case.clinical_context.age is None


def test_medmcqa_counts_from_1_in_json_and_from_0_in_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = tmp_path / "source"
    BUILDERS["medmcqa"](source)
    row = {"id": "p", "question": "?", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": 1}
    for word in ("train", "validation", "test"):
        (source / "data").mkdir(exist_ok=True)
        pq.write_table(
            pa.Table.from_pylist([row | {"cop": -1 if word == "test" else 1}]), source / "data" / f"{word}-0.parquet"
        )
    for name in ("train.json", "dev.json", "test.json"):
        (source / name).unlink()
    gold = [item.case.gold_standard for item in load_set("medmcqa", Origin(source, tmp_path)).cases]
    assert [one.answer if one else None for one in gold] == ["b", "b", None]
    (source / "train.json").write_text(json.dumps(row | {"cop": 0}))
    with pytest.raises(RecordError, match=r"train.json.*: cop is 0; expected 1 to 4"):
        load_set("medmcqa", Origin(source, tmp_path))


def test_lits_slices_are_windowed_and_lie_as_a_radiologist_sees_them(tmp_path: Path) -> None:
    origin, reading = built("lits", tmp_path)
    tumour, healthy = (item.case for item in reading.cases)
    assert (tumour.metadata.extra or {})["slice"] == SLICE_OF_TUMOUR
    assert (healthy.metadata.extra or {})["slice"] != SLICE_OF_TUMOUR
    assert tumour.patient_id == healthy.patient_id == "lits_0"
    pixels = np.asarray(load_image(origin.target / tumour.all_images[0].path))
    # 240 HU at the patient's right and front is white at the left and top; air is black.
    assert pixels.shape == (5, 6, 3)
    assert (pixels[0, 0] == 255).all()
    assert pixels.sum() == 3 * 255
    assert reading.refused == {"a volume without a mask": 1}


def test_a_limit_is_drawn_by_the_seed_within_each_split(tmp_path: Path) -> None:
    drawn = {
        seed: [item.case.case_id for item in built("pcam", tmp_path, limit=2, seed=seed)[1].cases] for seed in range(4)
    }
    assert all(len(ids) == 6 for ids in drawn.values())
    assert len({tuple(ids) for ids in drawn.values()}) > 1
    again = [item.case.case_id for item in built("pcam", tmp_path, limit=2, seed=0)[1].cases]
    assert again == drawn[0]
    assert cases_of("pcam", tmp_path)[0].patient_id == "train_0"


def test_ddxplus_evidences_are_questions_with_answers(tmp_path: Path) -> None:
    case = cases_of("ddxplus", tmp_path)[0]
    assert case.clinical_context.history == ("Do you cough? yes", "Where? chest")
    assert case.options == ("Pneumonia", "URTI")


def test_pictures_in_other_codings_are_written_as_png_and_counted(tmp_path: Path) -> None:
    _, reading = built("mathvista", tmp_path)
    assert reading.cases[0].case.all_images[0].path.endswith(".png")
    assert reading.left_out == {"the coding of images other than PNG and JPEG, written as PNG": 1}


def test_derm7pts_management_does_not_reach_the_model(tmp_path: Path) -> None:
    case = cases_of("derm7pt", tmp_path)[0]
    assert case.clinical_context.note == "location: back"
    assert "excision" not in case.model_dump_json()


def test_paths_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    BUILDERS["radimagenet"](tmp_path)
    (tmp_path / "RadiologyAI_val.csv").write_text("filename,label\n../../x/CT/lung/normal/a.png,normal\n")
    with pytest.raises(RecordError, match=r"path '../../x/CT/lung/normal/a.png'; expected a path relative"):
        load_set("radimagenet", Origin(tmp_path, tmp_path))


def test_real_agentclinic_has_the_published_count(real_data: Path) -> None:
    reading = load_set("agentclinic_medqa", Origin(real_data / "qa_agentclinic_medqa", real_data))
    assert (reading.num_read, reading.num_kept) == (214, 214)
    fifth = reading.cases[5].case
    assert fifth.gold_standard is not None
    assert fifth.gold_standard.answer == "Pes anserine bursitis"
    assert (fifth.clinical_context.age, fifth.clinical_context.sex) == (23, "female")
    assert "bursitis" not in (fifth.clinical_context.note or "")
    # The shorter file's cases are all in the extended one.
    shorter = [row.row("OSCE_Examination").text("Correct_Diagnosis").strip() for row in
               read_rows(real_data / "qa_agentclinic_medqa" / "agentclinic_medqa.jsonl")]  # fmt: skip
    answers = Counter(item.case.gold_standard.answer or "" for item in reading.cases if item.case.gold_standard)
    assert len(shorter) == 107
    assert not Counter(shorter) - answers


def test_real_pubmedqa_has_the_published_count(real_data: Path) -> None:
    reading = SETS["pubmedqa"].read(Origin(real_data / "splits", real_data))
    assert (reading.num_read, reading.num_kept) == (500, 500)
    raw = json.loads((real_data / "splits" / "pubmedqa_pack.json").read_text())
    expected = Counter(row["final_decision"] for row in raw.values())
    assert Counter(one.case.gold_standard.answer for one in reading.cases if one.case.gold_standard) == expected


def test_real_slake_questions(real_data: Path, tmp_path: Path) -> None:
    """The questions are there and the pictures are not: refused for that reason, and read with stand-ins."""
    origin = Origin(real_data / "vqa_slake", tmp_path)
    rows = list(read_rows(origin.folder / "validate.json"))
    assert len(rows) == SETS["slake"].published["validation"]
    with pytest.raises(Unfit, match="its image file is missing"):
        slake_case(origin, rows[0], "validation")
    for name in {row.text("img_name") for row in rows}:
        (tmp_path / "imgs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "imgs" / name).touch()
    cases = [slake_case(Origin(tmp_path, tmp_path), Row(row.where, row.fields), "validation") for row in rows]
    assert Counter((case.metadata.extra or {})["language"] for case in cases) == {"en": 1053, "zh": 1046}
    assert Counter(case.modality for case in cases) == {"chest_xray": 666, "ct_scan": 955, "other": 478}
    assert len({case.patient_id for case in cases}) == 174
