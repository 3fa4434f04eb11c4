"""Every set of the brief by name: where it comes from, who may have it, what a whole folder holds, how it is read.

`load_set(name, origin)` checks the folder, reads it, and gives cases; `zone` is how far they may go (see the guard).
Sets of step labels are in `medprm.cases.formats.table`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from medprm.cases.parsing import RecordError
from medprm.cases.reading import Reading
from medprm.cases.sets import chest, general, lesions, medical_text, pictures
from medprm.cases.sets.nih import read_nih
from medprm.cases.sets.origin import Origin
from medprm.cases.sets.vqa_rad import load_vqa_rad
from medprm.errors import InputError, check_choice

PUBLIC, SITE = "outside", "site"


@dataclass(frozen=True)
class DataSet:
    """One set as it is distributed."""

    # `metadata.source` of its cases, by which the guard knows them.
    source: str
    # The usual name of its folder.
    folder_name: str
    licence: str
    # Who may have it, and where it is.
    access: str
    # The farthest zone: `outside` for public sets, `site` for those under an agreement or a copyright.
    zone: str
    # Patterns below the folder, one file each at least; alternatives are separated by `|`.
    needs: tuple[str, ...]
    read: Callable[[Origin], Reading]
    # What a whole folder gives: cases (or solutions), as published.
    published: Mapping[str, int] = field(default_factory=dict)
    is_patient_data: bool = False
    # Whether the splits that the reader gives are its own draw, not the publisher's.
    is_split_drawn: bool = False
    # What the reader was tried on.
    tried: str = "fixture"

    @property
    def num_published(self) -> int:
        return sum(self.published.values())


def _read_nih(origin: Origin) -> Reading:
    cases = read_nih(origin.folder, origin.seed)
    return Reading(cases, sum(len(item.solutions) for item in cases), {})


_HF = "public, Hugging Face"
_WEB = "public; the questions were collected from the web"

SETS: dict[str, DataSet] = {
    "nih": DataSet(
        "NIH ChestX-ray14, 64 x 64", "cxr_nih64", "NIH: free with link, citation, acknowledgement", "public",
        PUBLIC, ("images/*.png",), _read_nih, is_split_drawn=True, tried="real set",
    ),
    "vqa_rad": DataSet(
        "VQA-RAD", "vqa_rad", "CC0 1.0; images from MedPix", "public, OSF 89kps", PUBLIC, ("images/*.jpg",),
        lambda origin: load_vqa_rad(origin.folder), tried="real set (chest pack)",
    ),
    "vqa_rad_full": DataSet(
        "VQA-RAD", "vqa_rad_full", "CC0 1.0; images from MedPix", "public, OSF 89kps", PUBLIC,
        ("VQA_RAD Dataset Public.json|trainset.json", "VQA_RAD Image Folder/*.jpg|images/*.jpg"),
        pictures.read_vqa_rad_full, {"all": 2248},
    ),
    "slake": DataSet(
        "SLAKE", "Slake1.0", "CC BY 4.0", "public, med-vqa.com/slake", PUBLIC,
        ("train.json|validate.json|test.json", "imgs/*/source.jpg"), pictures.read_slake,
        {"train": 9835, "validation": 2099, "test": 2094}, tried="real questions of validate.json, no images",
    ),
    "pathvqa": DataSet(
        "PathVQA", "path-vqa", "MIT; pictures from textbooks", f"{_HF} flaviagiammarino/path-vqa", PUBLIC,
        ("data/*.parquet",), pictures.read_pathvqa, {"train": 19654, "validation": 6259, "test": 6719},
    ),
    "mimic_cxr": DataSet(
        "MIMIC-CXR", "mimic-cxr-jpg", "PhysioNet Credentialed Health Data License 1.5.0",
        "credentialed users of PhysioNet who signed the agreement; never to a third party's service", SITE,
        (*(f"mimic-cxr-2.*-{name}.csv*" for name in ("split", "chexpert", "metadata")), "files/p1*/p*/s*/*"),
        chest.read_mimic_cxr, {"studies": 227_827}, is_patient_data=True,
    ),
    "chexpert": DataSet(
        "CheXpert", "CheXpert-v1.0-small", "Stanford University Dataset Research Use Agreement",
        "registered users of Stanford AIMI; no redistribution", SITE,
        ("train.csv", "valid.csv", "train/patient*/study*/*.jpg"), chest.read_chexpert,
        {"train": 187_641, "validation": 200}, is_patient_data=True,
    ),
    "radimagenet": DataSet(
        "RadImageNet", "radimagenet", "research use", "on request, radimagenet.com", SITE,
        ("RadiologyAI_train.csv|*/RadiologyAI_train.csv", "radiology_ai/*/*/*/*.png"), lesions.read_radimagenet,
        {"all": 1_354_886}, is_patient_data=True,
    ),
    "lits": DataSet(
        "LiTS", "LiTS17", "CC BY-NC-SA 4.0", "registered users of codalab 17094, and mirrors", SITE,
        ("**/volume-*.nii*", "**/segmentation-*.nii*"), lesions.read_lits, is_patient_data=True,
    ),
    "pcam": DataSet(
        "PatchCamelyon", "pcam", "CC0 1.0", "public, Zenodo 2546921", PUBLIC,
        ("camelyonpatch_level_2_split_train_x.h5", "camelyonpatch_level_2_split_test_x.h5",
         "camelyonpatch_level_2_split_valid_x.h5", "camelyonpatch_level_2_split_*_y.h5"),
        lesions.read_pcam, {"train": 262_144, "validation": 32_768, "test": 32_768},
    ),
    "derm7pt": DataSet(
        "Derm7pt", "release_v0", "research use", "registered users, derm.cs.sfu.ca", SITE,
        ("meta/meta.csv", *(f"meta/{name}_indexes.csv" for name in ("train", "valid", "test")), "images/*/*.jpg"),
        lesions.read_derm7pt, {"train": 413, "validation": 203, "test": 395}, is_patient_data=True,
    ),
    "ham10000": DataSet(
        "HAM10000", "HAM10000", "CC BY-NC 4.0", "public, Harvard Dataverse DBW86T", PUBLIC,
        ("HAM10000_metadata*", "**/ISIC_*.jpg"), lesions.read_ham10000, {"all": 10_015},
    ),
    "medqa": DataSet(
        "MedQA", "MedQA", "MIT", _WEB, PUBLIC,
        ("data_clean/questions/US/4_options/phrases_no_exclude_train.jsonl",
         "data_clean/questions/US/4_options/phrases_no_exclude_dev.jsonl",
         "data_clean/questions/US/4_options/phrases_no_exclude_test.jsonl"),
        medical_text.read_medqa("data_clean/questions/US/4_options/phrases_no_exclude_{split}.jsonl", 4),
        {"train": 10_178, "validation": 1272, "test": 1273},
    ),
    "medqa5": DataSet(
        "MedQA", "MedQA", "MIT", _WEB, PUBLIC,
        ("data_clean/questions/US/train.jsonl", "data_clean/questions/US/dev.jsonl",
         "data_clean/questions/US/test.jsonl"),
        medical_text.read_medqa("data_clean/questions/US/{split}.jsonl", 5),
        {"train": 10_178, "validation": 1272, "test": 1273},
    ),
    "medmcqa": DataSet(
        "MedMCQA", "medmcqa", "MIT", _WEB, PUBLIC,
        ("train.json|data/train-*.parquet", "dev.json|data/validation-*.parquet", "test.json|data/test-*.parquet"),
        medical_text.read_medmcqa, {"train": 182_822, "validation": 4183, "test": 6150},
    ),
    "pubmedqa": DataSet(
        "PubMedQA", "pubmedqa", "MIT", "public, github.com/pubmedqa/pubmedqa (its data folder)", PUBLIC,
        ("ori_pqal.json|pubmedqa*.json",), medical_text.read_pubmedqa, {"train": 500, "test": 500},
        tried="real set (500 of 1,000)",
    ),
    "mmlu_med": DataSet(
        "MMLU medical", "mmlu", "MIT", "public, github.com/hendrycks/test", PUBLIC,
        tuple(f"data/test/{subject}_test.csv" for subject in medical_text.MMLU_SUBJECTS), medical_text.read_mmlu,
        {"train": 30, "validation": 123, "test": 1089},
    ),
    "ddxplus": DataSet(
        "DDXPlus", "ddxplus", "CC BY 4.0", "public, figshare 20043374 (English release); synthetic patients", PUBLIC,
        ("release_evidences.json", "release_conditions.json", "release_*_patients*"), medical_text.read_ddxplus,
        {"train": 1_025_602, "validation": 132_448, "test": 134_529},
    ),
    "agentclinic_medqa": DataSet(
        "AgentClinic MedQA", "qa_agentclinic_medqa", "MIT", "public, github.com/SamuelSchmidgall/AgentClinic", PUBLIC,
        ("agentclinic_medqa*.jsonl",), medical_text.read_agentclinic_medqa, {"test": 214}, tried="real set",
    ),
    "agentclinic_nejm": DataSet(
        "AgentClinic NEJM", "agentclinic_nejm", "copyright Massachusetts Medical Society",
        "text public in AgentClinic; pictures by subscribers of NEJM", SITE,
        ("agentclinic_nejm*.jsonl", "images/*"), medical_text.read_agentclinic_nejm, {"test": 120},
    ),
    "mmmu": DataSet(
        "MMMU", "MMMU", "Apache-2.0", f"{_HF} MMMU/MMMU", PUBLIC, ("*/*.parquet|*.parquet",),
        general.general(general.mmmu_case, "*/*.parquet", "*.parquet"),
        {"train": 150, "validation": 900, "test": 10_500},
    ),
    "mathvista": DataSet(
        "MathVista", "MathVista", "CC BY-SA 4.0", f"{_HF} AI4Math/MathVista", PUBLIC, ("data/testmini-*.parquet",),
        general.general(general.mathvista_case, "data/testmini-*.parquet"), {"test": 1000},
    ),
    "mathvision": DataSet(
        "MathVision", "MathVision", "MIT", f"{_HF} MathLLMs/MathVision", PUBLIC,
        ("data/test-*.parquet|data/test.jsonl",),
        general.general(general.mathvision_case, "data/test-*.parquet", "data/test.jsonl"), {"test": 3040},
    ),
    "mathverse": DataSet(
        "MathVerse", "MathVerse", "MIT", f"{_HF} AI4Math/MathVerse", PUBLIC, ("testmini.parquet|testmini.json",),
        general.general(general.mathverse_case, "testmini.parquet", "testmini.json"), {"test": 3940},
    ),
    "mathverse_vo": DataSet(
        "MathVerse", "MathVerse", "MIT", f"{_HF} AI4Math/MathVerse", PUBLIC, ("testmini.parquet|testmini.json",),
        general.general(
            general.mathverse_case, "testmini.parquet", "testmini.json",
            only={"problem_version": general.VISION_ONLY},
        ),
        {"test": 788},
    ),
    "dynamath": DataSet(
        "DynaMath", "DynaMath_Sample", "CC BY 4.0", f"{_HF} DynaMath/DynaMath_Sample", PUBLIC,
        ("data/sample_variant*.parquet",), general.general(general.dynamath_case, "data/sample_variant*.parquet"),
        {"test": 5010},
    ),
    "wemath": DataSet(
        "WeMath", "We-Math", "CC BY-NC 4.0", f"{_HF} We-Math/We-Math", PUBLIC,
        ("data/testmini-*.parquet|testmini.json",),
        general.general(general.wemath_case, "data/testmini-*.parquet", "testmini.json"), {"test": 1740},
    ),
    "logicvista": DataSet(
        "LogicVista", "LogicVista", "none stated", "public, github.com/Yijia-Xiao/LogicVista", PUBLIC,
        ("dataset.json", "images/*"), general.general(general.logicvista_case, "dataset.json"), {"test": 448},
    ),
    "mmpr": DataSet(
        "MMPR", "MMPR-v1.1-prompts", "MIT; images under the terms of their own sets", f"{_HF} OpenGVLab/MMPR-v1.1",
        PUBLIC, ("**/*.jsonl",), general.general(general.mmpr_case, "**/*.jsonl"),
    ),
}  # fmt: skip

# Named in the brief, and no set that we could find: refused with the reason.
REFUSED = {
    "radiology_qa": (
        "no set is published under the name RadiologyQA. It can mean RadQA (PhysioNet, credentialed: 3,074 questions "
        "with spans of MIMIC reports as answers, no images, no options), VQA-RAD (radiology questions with images: use "
        "vqa_rad or vqa_rad_full), or RadLIT-9 (retrieval on radiology education). Name the one that is meant; records "
        "of your own go in as data.path=FOLDER"
    )
}


def load_set(name: str, origin: Origin) -> Reading:
    """The cases of a set after a check that its folder is whole. InputError where it is not, or the set is refused."""
    if name in REFUSED:
        raise InputError(f"{name}: {REFUSED[name]}")
    check_choice("set", name, tuple(SETS))
    check_folder(name, origin)
    return SETS[name].read(origin)


def check_folder(name: str, origin: Origin) -> None:
    """RecordError that lists everything that is missing, and who may have the set."""
    chosen = SETS[name]
    missing = [need for need in chosen.needs if not any(next(origin.folder.glob(one), None) for one in need.split("|"))]
    if missing:
        wanted = "; ".join(need.replace("|", " or ") for need in missing)
        raise RecordError(
            f"{origin.folder}: {chosen.source} is not whole here, missing {wanted}. "
            f"Expected its folder {chosen.folder_name}/ unpacked. Access: {chosen.access}"
        )
