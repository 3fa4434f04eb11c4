"""Questions about medical pictures: VQA-RAD as deposited, SLAKE, PathVQA."""

from functools import partial
from typing import Any

from medprm.cases.reading import Reading
from medprm.cases.rows import Row, read_rows
from medprm.cases.schema import Case, CaseSolutions, Image, Modality, SplitName
from medprm.cases.sets.origin import Origin, Unfit
from medprm.cases.sets.questions import closed_options, question_case

VQA_RAD_MODALITIES: dict[str, Modality] = {"CHEST": "chest_xray", "ABD": "ct_scan", "HEAD": "other"}
SLAKE_SPLITS: tuple[tuple[str, SplitName], ...] = (("train", "train"), ("validate", "validation"), ("test", "test"))
SPLITS: tuple[tuple[str, SplitName], ...] = (("train", "train"), ("validation", "validation"), ("test", "test"))


def read_vqa_rad_full(origin: Origin) -> Reading:
    """VQA-RAD as deposited at OSF. Its test questions share images with the others: no official split, by image."""
    file = origin.file("VQA_RAD Dataset Public.json", "trainset.json")
    folder = next((name for name in ("VQA_RAD Image Folder", "images") if (origin.folder / name).is_dir()), "images")
    return origin.reading(origin.cases(read_rows(file), lambda row: _vqa_rad_case(origin, row, folder)))


def _vqa_rad_case(origin: Origin, row: Row, folder: str) -> Case:
    organ, name = row.choice("image_organ", tuple(VQA_RAD_MODALITIES)), row.text("image_name")
    return _picture_case(
        "VQA-RAD",
        "CC0 1.0; images from MedPix",
        f"vqa_rad_{row.word('qid')}",
        row,
        origin.image(f"{folder}/{name}"),
        patient_id=f"vqa_rad_{name.rsplit('.', 1)[0]}",
        modality=VQA_RAD_MODALITIES[organ],
        extra={
            "organ": organ,
            "answer_type": row.text("answer_type").strip(),
            "question_type": row.text("question_type"),
        },
    )


def read_slake(origin: Origin) -> Reading:
    """SLAKE (med-vqa.com/slake): English and Chinese questions (`extra.language`); splits are by image."""
    cases: list[CaseSolutions] = []
    for word, split in SLAKE_SPLITS:
        for file in origin.files(f"{word}.json"):
            cases += origin.cases(read_rows(file), partial(slake_case, origin, split=split))
    return origin.reading(cases)


def slake_case(origin: Origin, row: Row, split: SplitName) -> Case:
    """One question of SLAKE with its image."""
    kind, place = row.text("modality"), row.text("location")
    is_chest_film = kind == "X-Ray" and place == "Lung"
    return _picture_case(
        "SLAKE",
        "CC BY 4.0",
        f"slake_{row.integer('qid')}",
        row,
        origin.image(f"imgs/{row.text('img_name')}"),
        patient_id=f"slake_{row.integer('img_id')}",
        modality="chest_xray" if is_chest_film else "ct_scan" if kind == "CT" else "other",
        split=split,
        extra={
            "modality": kind,
            "location": place,
            "language": row.choice("q_lang", ("en", "zh")),
            "answer_type": row.text("answer_type"),
            "content_type": row.text("content_type"),
        },
    )


def read_pathvqa(origin: Origin) -> Reading:
    """PathVQA as Hugging Face has it; the picture's content is its id, and the group of its questions."""
    cases: list[CaseSolutions] = []
    for word, split in SPLITS:
        number = 0
        for file in origin.files(f"data/{word}-*.parquet"):
            rows = [Row(row.where, {**row.fields, "number": number + k}) for k, row in enumerate(read_rows(file))]
            number += len(rows)
            cases += origin.cases(rows, partial(_pathvqa_case, origin, word=word, split=split))
    return origin.reading(cases)


def _pathvqa_case(origin: Origin, row: Row, word: str, split: SplitName) -> Case:
    image = origin.embedded(row, "image")
    if image is None:
        raise Unfit("no image")
    return _picture_case(
        "PathVQA",
        "MIT; pictures from textbooks",
        f"pathvqa_{word}_{row.fields['number']}",
        row,
        image,
        patient_id=f"pathvqa_{image.path.rsplit('/', 1)[-1].split('.')[0]}",
        modality="pathology",
        split=split,
    )


def _picture_case(source: str, licence: str, case_id: str, row: Row, image: Image, **known: Any) -> Case:
    """The row's question about one picture; `known` is what else `question_case` is told."""
    answer = row.word("answer")
    options = closed_options(answer)
    question = row.text("question")
    return question_case(source, licence, case_id, question, answer=answer, options=options, images=[image], **known)
