"""Questions about medical pictures: VQA-RAD as deposited, SLAKE, PathVQA."""

from functools import partial

from medprm.cases.reading import Reading
from medprm.cases.rows import Row, read_rows
from medprm.cases.schema import Case, CaseSolutions, Modality, SplitName
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
    organ, name, answer = (
        row.choice("image_organ", tuple(VQA_RAD_MODALITIES)),
        row.text("image_name"),
        row.word("answer"),
    )
    return question_case(
        "VQA-RAD",
        "CC0 1.0; images from MedPix",
        f"vqa_rad_{row.word('qid')}",
        row.text("question"),
        answer=answer,
        options=closed_options(answer),
        modality=VQA_RAD_MODALITIES[organ],
        images=[origin.image(f"{folder}/{name}")],
        patient_id=f"vqa_rad_{name.rsplit('.', 1)[0]}",
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
    kind, place, answer = row.text("modality"), row.text("location"), row.word("answer")
    is_chest_film = kind == "X-Ray" and place == "Lung"
    modality: Modality = "chest_xray" if is_chest_film else "ct_scan" if kind == "CT" else "other"
    return question_case(
        "SLAKE",
        "CC BY 4.0",
        f"slake_{row.integer('qid')}",
        row.text("question"),
        answer=answer,
        options=closed_options(answer),
        modality=modality,
        images=[origin.image(f"imgs/{row.text('img_name')}")],
        patient_id=f"slake_{row.integer('img_id')}",
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
    image, answer = origin.embedded(row, "image"), row.word("answer")
    if image is None:
        raise Unfit("no image")
    return question_case(
        "PathVQA",
        "MIT; pictures from textbooks",
        f"pathvqa_{word}_{row.fields['number']}",
        row.text("question"),
        answer=answer,
        options=closed_options(answer),
        modality="pathology",
        images=[image],
        patient_id=f"pathvqa_{image.path.rsplit('/', 1)[-1].split('.')[0]}",
        split=split,
    )
