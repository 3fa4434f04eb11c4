"""Small folders built to the layout in which each set is distributed; pictures and texts are made up."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from medprm.cases.sets.chest import FINDINGS
from medprm.cases.sets.medical_text import MMLU_SUBJECTS

SLICE_OF_TUMOUR = 2


def picture(value: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(buffer, format=kind)
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def lines(path: Path, *rows: Mapping[str, Any]) -> None:
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write(path, buffer.getvalue())


def parquet(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def embedded(value: int, kind: str = "PNG") -> dict[str, Any]:
    return {"bytes": picture(value, kind), "path": None}


def slake(folder: Path) -> None:
    row = {"question": "Is it normal?", "answer": "No", "q_lang": "en", "answer_type": "CLOSED", "content_type": "Abn"}
    kinds = (("train", 1, "X-Ray", "Lung"), ("validate", 2, "CT", "Abdomen"), ("test", 3, "MRI", "Brain"))
    for word, number, modality, location in kinds:
        own = {"img_id": number, "img_name": f"xmlab{number}/source.jpg", "qid": number, "modality": modality,
               "location": location}  # fmt: skip
        write(folder / f"{word}.json", json.dumps([row | own]))
        write(folder / "imgs" / f"xmlab{number}" / "source.jpg", picture(number, "JPEG"))


def vqa_rad_full(folder: Path) -> None:
    rows = [
        {"qid": f"{number}", "image_name": f"synpic{number}.jpg", "image_organ": organ, "question": "Normal?",
         "answer": answer, "answer_type": "CLOSED", "question_type": "ABN", "phrase_type": "test_freeform"}
        for number, (organ, answer) in enumerate((("CHEST", "Yes"), ("HEAD", "left frontal lobe"), ("ABD", 3)))
    ]  # fmt: skip
    write(folder / "VQA_RAD Dataset Public.json", json.dumps(rows))
    for number in range(3):
        write(folder / "VQA_RAD Image Folder" / f"synpic{number}.jpg", picture(number, "JPEG"))


def pathvqa(folder: Path) -> None:
    for number, word in enumerate(("train", "validation", "test")):
        rows = [
            {"image": embedded(90 * number, "JPEG"), "question": q, "answer": a}
            for q, a in (("Why?", "x"), ("So?", "yes"))
        ]
        parquet(folder / "data" / f"{word}-00000-of-00001.parquet", *rows)


def mimic_cxr(folder: Path) -> None:
    views, splits, labels = [], [], []
    for number, (split, values) in enumerate(
        [("train", {"Edema": "1.0", "Fracture": "-1.0", "Pneumonia": "0.0"}), ("validate", {"No Finding": "1.0"}),
         ("test", {"Edema": "-1.0"}), ("train", {"Support Devices": "1.0", "No Finding": "1.0"})]
    ):  # fmt: skip
        subject, study = 10000030 + number, 50000000 + number
        labels.append({"subject_id": subject, "study_id": study} | {name: values.get(name, "") for name in FINDINGS})
        for view in ("PA", "LATERAL"):
            name = f"{number}-{view}"
            views.append({"dicom_id": name, "subject_id": subject, "study_id": study, "ViewPosition": view})
            splits.append({"dicom_id": name, "study_id": study, "subject_id": subject, "split": split})
            write(folder / f"files/p10/p{subject}/s{study}/{name}.jpg", picture(number, "JPEG"))
        report = (
            "EXAMINATION:  CHEST\n INDICATION:  ___ with\n   fever.\n\n FINDINGS:  Edema.\n\n IMPRESSION:  Edema.\n"
        )
        write(folder / f"files/p10/p{subject}/s{study}.txt", report)
    table(folder / "mimic-cxr-2.0.0-metadata.csv", views)
    table(folder / "mimic-cxr-2.0.0-split.csv", splits)
    table(folder / "mimic-cxr-2.0.0-chexpert.csv", labels)


def chexpert(folder: Path) -> None:
    for word, patient, values in (
        ("train", "patient00001", {"No Finding": "1.0"}),
        ("valid", "patient64541", {"Edema": "1.0"}),
    ):
        rows = []
        for view, side in (("view1_frontal", "Frontal"), ("view2_lateral", "Lateral")):
            path = f"{word}/{patient}/study1/{view}.jpg"
            rows.append(
                {"Path": f"CheXpert-v1.0-small/{path}", "Sex": "Female", "Age": 68, "Frontal/Lateral": side,
                 "AP/PA": "AP" if side == "Frontal" else ""} | {name: values.get(name, "") for name in FINDINGS}
            )  # fmt: skip
            write(folder / path, picture(1, "JPEG"))
        table(folder / f"{word}.csv", rows)


def radimagenet(folder: Path) -> None:
    places = {"train": "CT/lung/nodule", "val": "CT/lung/normal", "test": "MR/knee/acl_tear"}
    for word, place in places.items():
        path = f"radiology_ai/{place}/{word}1.png"
        table(folder / f"RadiologyAI_{word}.csv", [{"filename": path, "label": place.rsplit("/", 1)[1]}])
        write(folder / path, picture(1))


def lits(folder: Path) -> None:
    """Voxels in the order that nibabel's affine says: x to the right, y to the front, z to the head."""
    hounsfield, mask = np.full((6, 5, 4), -1000.0, np.float32), np.zeros((6, 5, 4), np.uint8)
    hounsfield[5, 4, SLICE_OF_TUMOUR] = 240.0  # the patient's right, front
    mask[2:4, 1:3, 1:4] = 1
    mask[2, 1, SLICE_OF_TUMOUR] = 2
    for name, data in (("volume-0", hounsfield), ("segmentation-0", mask), ("volume-1", hounsfield)):
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), folder / f"{name}.nii")


def pcam(folder: Path) -> None:
    for word in ("train", "valid", "test"):
        stem = f"camelyonpatch_level_2_split_{word}"
        with h5py.File(folder / f"{stem}_x.h5", "w") as file:
            file["x"] = np.arange(4 * 96 * 96 * 3, dtype=np.uint8).reshape(4, 96, 96, 3) + np.uint8(len(word))
        with h5py.File(folder / f"{stem}_y.h5", "w") as file:
            file["y"] = np.array([0, 1, 0, 1], np.uint8).reshape(4, 1, 1, 1)
        rows = [
            {"coord_y": 0, "coord_x": 0, "tumor_patch": 0, "center_tumor_patch": 0, "wsi": f"{word}_{k // 2}"}
            for k in range(4)
        ]
        table(folder / f"{stem}_meta.csv", rows)


def derm7pt(folder: Path) -> None:
    diagnoses = ("melanoma (in situ)", "clark nevus", "lentigo")
    rows = [
        {"case_num": number + 1, "diagnosis": diagnosis, "seven_point_score": 3, "sex": "female", "location": "back",
         "clinic": f"NEL/c{number}.jpg", "derm": f"NEL/d{number}.jpg", "management": "excision"}
        for number, diagnosis in enumerate(diagnoses)
    ]  # fmt: skip
    table(folder / "meta" / "meta.csv", rows)
    for number, word in enumerate(("train", "valid", "test")):
        table(folder / "meta" / f"{word}_indexes.csv", [{"indexes": number}])
        for view in "cd":
            write(folder / "images" / "NEL" / f"{view}{number}.jpg", picture(number, "JPEG"))


def ham10000(folder: Path) -> None:
    rows = [
        {"lesion_id": f"HAM_{number // 2}", "image_id": f"ISIC_{number}", "dx": dx, "dx_type": "histo", "age": age,
         "sex": "male", "localization": "scalp"}
        for number, (dx, age) in enumerate((("mel", "60.0"), ("mel", "60.0"), ("nv", ""), ("bkl", "45.0")))
    ]  # fmt: skip
    table(folder / "HAM10000_metadata.csv", rows)
    for number in range(3):  # the fourth picture is missing
        write(folder / f"HAM10000_images_part_{number % 2 + 1}" / f"ISIC_{number}.jpg", picture(number, "JPEG"))


def medqa(folder: Path) -> None:
    for name, letters in (("4_options/phrases_no_exclude_{}", "ABCD"), ("{}", "ABCDE")):
        for word in ("train", "dev", "test"):
            row = {"question": f"{word}?", "answer": "o2", "options": {x: f"o{k}" for k, x in enumerate(letters)},
                   "meta_info": "step1", "answer_idx": "C", "metamap_phrases": []}  # fmt: skip
            lines(folder / "data_clean/questions/US" / f"{name.format(word)}.jsonl", row)


def medmcqa(folder: Path) -> None:
    row = {"question": "?", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "choice_type": "single",
           "subject_name": "Anatomy"}  # fmt: skip
    lines(folder / "train.json", row | {"id": "t", "cop": 1})
    lines(folder / "dev.json", row | {"id": "d", "cop": 4})
    lines(folder / "test.json", row | {"id": "x"})


def pubmedqa(folder: Path) -> None:
    row = {"QUESTION": "Does it?", "CONTEXTS": ["One.", "Two."], "LONG_ANSWER": "It does.", "final_decision": "yes"}
    write(folder / "ori_pqal.json", json.dumps({"1": row, "2": row | {"final_decision": "maybe"}}))
    write(folder / "test_ground_truth.json", json.dumps({"2": "maybe"}))


def mmlu_med(folder: Path) -> None:
    for subject in MMLU_SUBJECTS:
        write(folder / "data" / "test" / f"{subject}_test.csv", '"Which, then?",1,2,3,4,D\n')


def ddxplus(folder: Path) -> None:
    evidences = {
        "E_1": {"name": "E_1", "question_en": "Do you cough?", "data_type": "B", "value_meaning": {}},
        "E_2": {"name": "E_2", "question_en": "Where?", "data_type": "M", "value_meaning": {"V_3": {"en": "chest"}}},
    }
    write(folder / "release_evidences.json", json.dumps(evidences))
    names = ("Pneumonia", "URTI")
    write(folder / "release_conditions.json", json.dumps({name: {"condition_name": name} for name in names}))
    row = {"AGE": 18, "SEX": "M", "PATHOLOGY": "URTI", "EVIDENCES": "['E_1', 'E_2_@_V_3']", "INITIAL_EVIDENCE": "E_1",
           "DIFFERENTIAL_DIAGNOSIS": "[['URTI', 0.9]]"}  # fmt: skip
    for word in ("train", "validate", "test"):
        table(folder / f"release_{word}_patients.csv", [row])


def agentclinic_medqa(folder: Path) -> None:
    osce = {"Objective_for_Doctor": "Diagnose.", "Patient_Actor": {"Demographics": "35-year-old female"},
            "Physical_Examination_Findings": {"Vital_Signs": {"Temperature": "36.6"}}, "Test_Results": {},
            "Correct_Diagnosis": "Myasthenia gravis"}  # fmt: skip
    lines(folder / "agentclinic_medqa_extended.jsonl", {"OSCE_Examination": osce})


def agentclinic_nejm(folder: Path) -> None:
    row = {"question": "What is it?", "image_url": "https://example.org/a.jpg?x=1", "patient_info": "A man.",
           "physical_exams": "Fever.", "answers": [{"text": "a", "correct": False}, {"text": "b", "correct": True}],
           "type": "static"}  # fmt: skip
    lines(folder / "agentclinic_nejm_extended.jsonl", row)
    write(folder / "images" / "a.jpg", picture(1, "JPEG"))


def mmmu(folder: Path) -> None:
    base: dict[str, Any] = {"question": "See <image 1> and <image 2>?", "options": "['one', 'two']", "subfield": "x"}
    for number, (word, answer) in enumerate((("dev", "A"), ("validation", "B"), ("test", "?"))):
        base |= {"image_1": embedded(10 * number), "image_2": embedded(10 * number + 1)}
        row = base | {"id": f"{word}_Clinical_Medicine_1", "answer": answer}
        parquet(folder / "Clinical_Medicine" / f"{word}-00000-of-00001.parquet", row)


def mathvista(folder: Path) -> None:
    row = {"pid": "1", "question": "How many?", "image": "images/1.jpg", "decoded_image": embedded(3, "GIF"),
           "choices": ["4", "5"], "answer": "5", "answer_type": "integer", "unit": None}  # fmt: skip
    parquet(folder / "data" / "testmini-00000-of-00001.parquet", row)


def mathvision(folder: Path) -> None:
    row = {"id": "7", "question": "<image1>Which?", "options": ["A", "B"], "image": "images/7.jpg", "answer": "B",
           "level": 1, "subject": "algebra"}  # fmt: skip
    lines(folder / "data" / "test.jsonl", row)
    write(folder / "images" / "7.jpg", picture(7, "JPEG"))


def mathverse(folder: Path) -> None:
    row = {"problem_index": "1", "question": "", "image": "images/1.png", "answer": "B", "question_type": "free-form"}
    versions = [row | {"sample_index": "1", "problem_version": "Text Dominant", "question": "How far?"},
                row | {"sample_index": "2", "problem_version": "Vision Only"}]  # fmt: skip
    write(folder / "testmini.json", json.dumps(versions))
    write(folder / "images" / "1.png", picture(1))


def dynamath(folder: Path) -> None:
    row = {"id": "1", "question": "The period?", "image": "images/1.png", "decoded_image": embedded(1),
           "ground_truth": "6.28", "answer_type": "float", "subject": "algebra"}  # fmt: skip
    for number in (1, 2):
        parquet(folder / "data" / f"sample_variant{number}-00000-of-00001.parquet", row)


def wemath(folder: Path) -> None:
    row = {"ID": "3steps_1", "split": "testmini", "knowledge concept": "Area", "question": "The area?", "answer": "B",
           "option": "A. 1; B. 2;C. None", "image_path": "image/1.png", "key": "3steps_multi"}  # fmt: skip
    write(folder / "testmini.json", json.dumps([row]))
    write(folder / "image" / "1.png", picture(1))


def logicvista(folder: Path) -> None:
    row = {"imagename": "v1.png", "question": "Which comes next?", "answer": "A", "skill": ["inductive"]}
    write(folder / "dataset.json", json.dumps({"1": row}))
    write(folder / "images" / "v1.png", picture(1))


def mmpr(folder: Path) -> None:
    rows = [
        {"image": "images/a.png", "question": "<image>\nWhat?", "answer": "x"},
        {"question": "Text?", "answer": "y"},
    ]
    lines(folder / "annotations" / "ai2d.jsonl", *rows)
    write(folder / "images" / "a.png", picture(1))


BUILDERS: dict[str, Callable[[Path], None]] = {
    "slake": slake, "vqa_rad_full": vqa_rad_full, "pathvqa": pathvqa, "mimic_cxr": mimic_cxr, "chexpert": chexpert,
    "radimagenet": radimagenet, "lits": lits, "pcam": pcam, "derm7pt": derm7pt, "ham10000": ham10000, "medqa": medqa,
    "medqa5": medqa, "medmcqa": medmcqa, "pubmedqa": pubmedqa, "mmlu_med": mmlu_med, "ddxplus": ddxplus,
    "agentclinic_medqa": agentclinic_medqa, "agentclinic_nejm": agentclinic_nejm, "mmmu": mmmu, "mathvista": mathvista,
    "mathvision": mathvision, "mathverse": mathverse, "mathverse_vo": mathverse, "dynamath": dynamath,
    "wemath": wemath, "logicvista": logicvista, "mmpr": mmpr,
}  # fmt: skip
