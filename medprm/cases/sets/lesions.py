"""One label an image: Derm7pt, HAM10000, RadImageNet, PatchCamelyon, LiTS.

The label is the answer to one question per set, with the set's labels as options. PatchCamelyon (HDF5) and LiTS (NIfTI)
keep pictures inside arrays: what is taken is written as PNG.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medprm.cases.parsing import RecordError
from medprm.cases.reading import Reading
from medprm.cases.rows import Row, read_csv_rows, read_rows
from medprm.cases.schema import Case, CaseSolutions, ClinicalContext, Modality, SplitName
from medprm.cases.sets.origin import Origin, Unfit, png_bytes
from medprm.cases.sets.questions import YES_NO, question_case

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
# Liver window in Hounsfield units: centre 40, width 400.
LITS_LEAST_HU, LITS_MOST_HU = -160.0, 240.0
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
        cases += origin.cases([rows[index] for index in indexes], lambda row, s=split: _derm7pt_case(origin, row, s))
    return origin.reading(cases)


def _derm7pt_case(origin: Origin, row: Row, split: SplitName) -> Case:
    number, diagnosis = row.word("case_num"), row.text("diagnosis")
    images = [origin.image(f"images/{row.text(view)}", view) for view in ("clinic", "derm")]
    context = {name: row.optional_text(name) for name in ("sex", "location")}
    note = f"location: {context['location']}" if context["location"] else None
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
        context=ClinicalContext(**{k: v for k, v in (("sex", context["sex"]), ("note", note)) if v}),
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
    tables = {
        split: list(read_rows(origin.file(f"RadiologyAI_{word}.csv", f"*/RadiologyAI_{word}.csv")))
        for word, split in splits
    }
    options: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in (row for rows in tables.values() for row in rows):
        options[_place_of(row)].add(row.text("label"))
    cases: list[CaseSolutions] = []
    for split, rows in tables.items():
        cases += origin.cases(rows, lambda row, split=split: _radimagenet_case(origin, row, options, split))
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
    import h5py  # the `sets` extra; heavy, and only this set needs it

    x, y = (origin.folder / f"{stem}_{name}.h5" for name in "xy")
    with h5py.File(x, "r") as pictures, h5py.File(y, "r") as labels:
        patches: Any = pictures["x"]
        is_tumour = np.asarray(labels["y"]).reshape(-1)
        if patches.shape[1:] != (96, 96, 3) or patches.dtype != np.uint8 or len(patches) != len(is_tumour):
            shown = f"{patches.shape} {patches.dtype}, {len(is_tumour)} labels"
            raise RecordError(f"{x}: {shown}; expected (N, 96, 96, 3) uint8 and N labels")
        if slides is not None and len(slides) != len(is_tumour):
            raise RecordError(f"{stem}_meta.csv: {len(slides)} rows for {len(is_tumour)} patches; expected one each")
        for place in origin.draw(range(len(is_tumour))):
            image = origin.written_image(png_bytes(np.asarray(patches[place])))
            case = question_case(
                "PatchCamelyon",
                "CC0 1.0",
                f"{stem.removeprefix('camelyonpatch_level_2_split_')}_{place}",
                "Does the centre of this lymph node patch hold metastatic tissue?",
                answer=YES_NO[0] if is_tumour[place] else YES_NO[1],
                options=YES_NO,
                modality="pathology",
                images=[image],
                patient_id=slides[place] if slides else None,
                split=split,
            )
            yield CaseSolutions(case, [])


def read_lits(origin: Origin) -> Reading:
    """LiTS (arXiv 1901.04056): of every training volume the slice with most tumour and the liver slice without any.

    The test volumes have no published masks and are refused.
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
    mask, hounsfield = _axial(masks[0]), _axial(path)
    if mask.shape != hounsfield.shape:
        raise RecordError(f"{masks[0]}: {mask.shape}, the volume has {hounsfield.shape}; expected the same shape")
    tumour, liver = (mask == TUMOUR).sum((1, 2)), (mask >= LIVER).sum((1, 2))
    taken = {int(tumour.argmax()): "yes"} if tumour.any() else {}
    without = np.where(tumour == 0, liver, 0)
    taken |= {int(without.argmax()): "no"} if without.any() else {}
    if not taken:
        raise Unfit("a mask without liver")
    return [CaseSolutions(_lits_case(origin, hounsfield[k], number, k, answer), []) for k, answer in taken.items()]


def _lits_case(origin: Origin, hounsfield: np.ndarray, number: str, place: int, answer: str) -> Case:
    share = (hounsfield - LITS_LEAST_HU) / (LITS_MOST_HU - LITS_LEAST_HU)
    picture = np.rint(np.clip(share, 0.0, 1.0) * 255.0).astype(np.uint8)
    return question_case(
        "LiTS",
        "CC BY-NC-SA 4.0",
        f"lits_{number}_{place}",
        "Does this CT slice show a tumour of the liver?",
        answer=answer,
        options=YES_NO,
        modality="ct_scan",
        images=[origin.written_image(png_bytes(picture))],
        patient_id=f"lits_{number}",
        extra={"slice": place, "window_hu": [LITS_LEAST_HU, LITS_MOST_HU]},
    )


def _axial(path: Path) -> np.ndarray:
    """(slices, H, W) float32 from the feet up, as read in radiology: the patient's right at the left, front on top."""
    import nibabel  # the `sets` extra; heavy, and only this set needs it

    image: Any = nibabel.as_closest_canonical(nibabel.load(path))  # axes now point right, front, head
    data = np.asarray(image.dataobj, dtype=np.float32)
    if data.ndim != 3:
        raise RecordError(f"{path}: {data.ndim} axes; expected 3")
    return data[::-1, ::-1].transpose(2, 1, 0)
