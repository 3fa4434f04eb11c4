"""One label an image: Derm7pt, HAM10000, RadImageNet, PatchCamelyon, LiTS.

The label is the answer to one question per set, with the set's labels as options. PatchCamelyon (HDF5) and LiTS (NIfTI)
keep pictures inside arrays: what is taken is written as PNG.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medprm.cases.parsing import RecordError
from medprm.cases.reading import Reading
from medprm.cases.rows import Row, read_csv_rows, read_rows
from medprm.cases.schema import Case, CaseSolutions, ClinicalContext, Modality, SplitName
from medprm.cases.sets.origin import Origin, Unfit, png_bytes
from medprm.cases.sets.questions import YES_NO, question_case
from medprm.images.arrays import open_image_array, read_numbers
from medprm.images.volumes import Volume, open_volume

HAM_DIAGNOSES = {
    "akiec": "actinic keratosis or Bowen's disease",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
# The five classes of the paper (Kawahara et al., 2019) by the words of the table.
DERM7PT_CLASSES = ("basal cell carcinoma", "nevus", "melanoma", "seborrheic keratosis", "miscellaneous")
DERM7PT_SPLITS: tuple[tuple[str, SplitName], ...] = (("train", "train"), ("valid", "validation"), ("test", "test"))
DIAGNOSIS = "What is the most likely diagnosis of this skin lesion?"
RADIMAGENET_MODALITIES: dict[str, Modality] = {"CT": "ct_scan", "MR": "other", "US": "other"}
# Centre and width in Hounsfield units: wide enough for fat and vessels beside the liver.
LITS_WINDOW = "40/400"
LIVER, TUMOUR = 1, 2


def read_derm7pt(origin: Origin) -> Reading:
    """Derm7pt (derm.cs.sfu.ca): a clinical and a dermoscopic photograph of a lesion, split by published row numbers."""
    rows = list(read_rows(origin.folder / "meta" / "meta.csv"))
    cases: list[CaseSolutions] = []
    for word, split in DERM7PT_SPLITS:
        indexes = [row.integer("indexes") for row in read_rows(origin.folder / "meta" / f"{word}_indexes.csv")]
        outside = [index for index in indexes if not 0 <= index < len(rows)]
        if outside:
            raise RecordError(f"{word}_indexes.csv: {outside[0]}; expected 0 to {len(rows) - 1}, the rows of meta.csv")
        cases += origin.cases([rows[index] for index in indexes], partial(_derm7pt_case, origin, split=split))
    return origin.reading(cases)


def _derm7pt_case(origin: Origin, row: Row, split: SplitName) -> Case:
    number, diagnosis = row.word("case_num"), row.text("diagnosis")
    images = [origin.image(f"images/{row.text(view)}", view) for view in ("clinic", "derm")]
    sex, site = row.optional_text("sex"), row.optional_text("location")
    context: dict[str, Any] = {"sex": sex} if sex else {}
    context |= {"note": f"location: {site}"} if site else {}
    return question_case(
        "Derm7pt",
        "research use after registration",
        f"derm7pt_{number}",
        DIAGNOSIS,
        answer=_derm7pt_class(diagnosis),
        options=DERM7PT_CLASSES,
        modality="clinical_photos",
        images=images,
        patient_id=f"derm7pt_{number}",
        split=split,
        context=ClinicalContext(**context),
        gold_extra={"diagnosis": diagnosis, "seven_point_score": row.optional_text("seven_point_score")},
    )


def _derm7pt_class(diagnosis: str) -> str:
    return next((name for name in DERM7PT_CLASSES[:4] if name in diagnosis), "miscellaneous")


def read_ham10000(origin: Origin) -> Reading:
    """HAM10000 (Tschandl et al., 2018). Several images show one lesion: `patient_id` is the lesion."""
    where = {path.stem: path.relative_to(origin.folder).as_posix() for path in origin.files("**/*.jpg")}
    rows = read_csv_rows(origin.file("HAM10000_metadata.csv", "HAM10000_metadata"))
    return origin.reading(origin.cases(rows, lambda row: _ham_case(origin, row, where)))


def _ham_case(origin: Origin, row: Row, where: dict[str, str]) -> Case:
    name, diagnosis = row.text("image_id"), row.choice("dx", tuple(HAM_DIAGNOSES))
    if name not in where:
        raise Unfit("its image file is missing")
    age, sex = row.optional_text("age"), row.optional_text("sex")
    site = row.optional_text("localization")
    context: dict[str, Any] = {"age": int(float(age))} if age else {}
    context |= {"sex": sex} if sex and sex != "unknown" else {}
    context |= {"note": f"location: {site}"} if site and site != "unknown" else {}
    return question_case(
        "HAM10000",
        "CC BY-NC 4.0",
        f"ham10000_{name}",
        DIAGNOSIS,
        answer=HAM_DIAGNOSES[diagnosis],
        options=tuple(HAM_DIAGNOSES.values()),
        modality="clinical_photos",
        images=[origin.image(where[name])],
        patient_id=row.text("lesion_id"),
        context=ClinicalContext(**context),
        gold_extra={"dx": diagnosis, "confirmed_by": row.optional_text("dx_type")},
    )


def read_radimagenet(origin: Origin) -> Reading:
    """RadImageNet (Mei et al., 2022): path and label by table; options are the labels of the same anatomy."""
    splits: tuple[tuple[str, SplitName], ...] = (("train", "train"), ("val", "validation"), ("test", "test"))
    tables: dict[SplitName, list[Row]] = {
        split: list(read_rows(origin.file(f"RadiologyAI_{word}.csv", f"*/RadiologyAI_{word}.csv")))
        for word, split in splits
    }
    options: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in (row for rows in tables.values() for row in rows):
        options[_place_of(row)].add(row.text("label"))
    cases: list[CaseSolutions] = []
    for split, rows in tables.items():
        cases += origin.cases(rows, partial(_radimagenet_case, origin, options=options, split=split))
    return origin.reading(cases)


def _radimagenet_case(origin: Origin, row: Row, options: dict[tuple[str, str], set[str]], split: SplitName) -> Case:
    modality, anatomy = _place_of(row)
    path = row.text("filename")
    return question_case(
        "RadImageNet",
        "on request, research use",
        f"radimagenet_{Path(path).stem}",
        f"What does this {modality} image of the {anatomy} show?",
        answer=row.text("label"),
        options=sorted(options[modality, anatomy]),
        modality=RADIMAGENET_MODALITIES[modality],
        images=[origin.image(path)],
        split=split,
        extra={"modality": modality, "anatomy": anatomy},
    )


def _place_of(row: Row) -> tuple[str, str]:
    """Modality and anatomy of `radiology_ai/CT/lung/normal/x.png`."""
    parts = Path(row.text("filename")).parts
    if len(parts) < 4 or parts[-4] not in RADIMAGENET_MODALITIES:
        raise row.error("filename", f".../{'|'.join(RADIMAGENET_MODALITIES)}/anatomy/label/name.png")
    return parts[-4], parts[-3]


def read_pcam(origin: Origin) -> Reading:
    """PatchCamelyon (basveeling/pcam): 96 x 96 patches in HDF5; the whole-slide image in the table groups patients."""
    cases: list[CaseSolutions] = []
    for word, split in DERM7PT_SPLITS:
        stem = f"camelyonpatch_level_2_split_{word}"
        table = origin.files(f"{stem}_meta.csv")
        slides = [row.text("wsi") for row in read_rows(table[0])] if table else None
        cases += _pcam_split(origin, stem, slides, split)
    return origin.reading(cases)


def _pcam_split(origin: Origin, stem: str, slides: Sequence[str] | None, split: SplitName) -> Iterator[CaseSolutions]:
    is_tumour = read_numbers(origin.folder / f"{stem}_y.h5", "y")
    with open_image_array(origin.folder / f"{stem}_x.h5", "x") as patches:
        if len(patches) != len(is_tumour) or (slides is not None and len(slides) != len(is_tumour)):
            shown = f"{len(patches)} patches, {len(is_tumour)} labels, {len(slides or ())} rows of {stem}_meta.csv"
            raise RecordError(f"{origin.folder}: {shown}; expected one of each for a patch, or no table")
        for place in origin.draw(range(len(is_tumour))):
            name = f"pcam_{stem.rsplit('_', 1)[-1]}_{place}"
            case = question_case(
                "PatchCamelyon",
                "CC0 1.0",
                name,
                "Does the centre of this lymph node patch hold metastatic tissue?",
                answer=YES_NO[0] if is_tumour[place] else YES_NO[1],
                options=YES_NO,
                modality="pathology",
                images=[origin.written_image(png_bytes(patches.pixels(place)), name)],
                patient_id=slides[place] if slides else None,
                split=split,
            )
            yield CaseSolutions(case, [])


def read_lits(origin: Origin) -> Reading:
    """LiTS (arXiv 1901.04056): of every training volume the slice with most tumour, and one of liver without any.

    The test volumes have no published masks and are refused. Slices count from the feet; unpack .gz first, or every
    slice inflates what lies before it.
    """
    cases: list[CaseSolutions] = []
    volumes = origin.files("**/volume-*.nii", "**/volume-*.nii.gz")
    for volume in origin.draw(volumes):
        try:
            cases += _lits_volume(origin, volume)
        except Unfit as reason:
            origin.refused[str(reason)] += 1
    return origin.reading(cases)


def _lits_volume(origin: Origin, path: Path) -> list[CaseSolutions]:
    number = path.name.removeprefix("volume-").split(".")[0]
    masks = origin.files(f"**/segmentation-{number}.nii", f"**/segmentation-{number}.nii.gz")
    if not masks:
        raise Unfit("a volume without a mask")
    mask, volume = open_volume(masks[0]), open_volume(path)
    shapes = [(one.num_slices, one.height, one.width) for one in (mask, volume)]
    if shapes[0] != shapes[1]:
        raise RecordError(f"{masks[0]}: {shapes[0]}, the volume has {shapes[1]}; expected the same shape")
    areas = [_areas(mask, place) for place in range(mask.num_slices)]
    most_tumour = max(range(len(areas)), key=lambda place: areas[place].tumour)
    most_liver = max(range(len(areas)), key=lambda place: areas[place].liver if not areas[place].tumour else 0)
    taken = {most_tumour: "yes"} if areas[most_tumour].tumour else {}
    if areas[most_liver].liver and not areas[most_liver].tumour:
        taken[most_liver] = "no"
    if not taken:
        raise Unfit("a mask without liver")
    return [CaseSolutions(_lits_case(origin, volume, number, place, answer), []) for place, answer in taken.items()]


class _Areas(NamedTuple):
    """Voxels of one slice: of tumour, and of liver with its tumours."""

    tumour: int
    liver: int


def _areas(mask: Volume, place: int) -> _Areas:
    values = mask.slice(place)
    return _Areas(int((values == TUMOUR).sum()), int((values >= LIVER).sum()))


def _lits_case(origin: Origin, volume: Volume, number: str, place: int, answer: str) -> Case:
    name = f"lits_{number}_{place}"
    picture = np.asarray(volume.picture(place, (LITS_WINDOW,)))
    return question_case(
        "LiTS",
        "CC BY-NC-SA 4.0",
        name,
        "Does this CT slice show a tumour of the liver?",
        answer=answer,
        options=YES_NO,
        modality="ct_scan",
        images=[origin.written_image(png_bytes(picture), name)],
        patient_id=f"lits_{number}",
        extra={"slice": place, "window_hu": LITS_WINDOW},
    )
