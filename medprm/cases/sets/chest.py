"""Chest radiographs under agreement: MIMIC-CXR(-JPG) and CheXpert, one case a study.

Both label a study with 14 findings by a text labeller: 1 stated, 0 denied, -1 uncertain, blank not mentioned. **The
labels are weak.** The question is whether the study is abnormal; `gold_standard.findings` has what was stated, its
`extra` what was denied or left uncertain. A study for which only uncertain findings speak has no answer: refused.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medprm.cases.reading import Reading
from medprm.cases.rows import Row, read_rows
from medprm.cases.schema import Case, CaseSolutions, ClinicalContext, Image, SplitName
from medprm.cases.sets.nih import ABNORMAL, NORMAL
from medprm.cases.sets.origin import Origin, Unfit
from medprm.cases.sets.questions import question_case

QUESTION = "Does this chest radiograph show a finding?"
OPTIONS = (ABNORMAL, NORMAL)
NO_FINDING, DEVICES = "No Finding", "Support Devices"
FINDINGS = (
    *(NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    DEVICES,
)
STATED, DENIED, UNCERTAIN = 1.0, 0.0, -1.0
MIMIC_SPLITS: dict[str, SplitName] = {"train": "train", "validate": "validation", "test": "test"}
CHEXPERT_SPLITS: dict[str, SplitName] = {"train": "train", "valid": "validation", "test": "test"}
SECTION = re.compile(r"^\s*(INDICATION|HISTORY|CLINICAL HISTORY|FINDINGS|IMPRESSION)\s*:\s*", re.MULTILINE)
NEXT_SECTION = re.compile(r"^\s*[A-Z][A-Z /()]{3,}:", re.MULTILINE)
CHEXPERT_PATH = re.compile(
    r"(?P<root>[^/]+/)?(?P<split>train|valid|test)/(?P<patient>patient\d+)/(?P<study>study\d+)/.*"
)


def read_mimic_cxr(origin: Origin) -> Reading:
    """MIMIC-CXR-JPG (physionet.org), or MIMIC-CXR's DICOM files beside the same tables; reports where they exist."""
    labels = {row.integer("study_id"): row for row in read_rows(_table(origin, "chexpert"))}
    views = {row.text("dicom_id"): row.optional_text("ViewPosition") for row in read_rows(_table(origin, "metadata"))}
    studies: defaultdict[int, list[Row]] = defaultdict(list)
    for row in read_rows(_table(origin, "split")):
        studies[row.integer("study_id")].append(row)
    cases: list[CaseSolutions] = []
    for word, split in MIMIC_SPLITS.items():
        mine = [rows for rows in studies.values() if rows[0].choice("split", tuple(MIMIC_SPLITS)) == word]
        for rows in origin.draw(mine):
            _keep(cases, origin, partial(_mimic_case, origin, rows, labels, views, split))
    return origin.reading(cases)


def _mimic_case(
    origin: Origin, rows: Sequence[Row], labels: Mapping[int, Row], views: Mapping[str, str | None], split: SplitName
) -> Case:
    study, subject = rows[0].integer("study_id"), rows[0].integer("subject_id")
    if study not in labels:
        raise Unfit("no labels for the study")
    folder = f"files/p{str(subject)[:2]}/p{subject}/s{study}"
    suffix = ".jpg" if (origin.folder / folder / f"{rows[0].text('dicom_id')}.jpg").is_file() else ".dcm"
    images = [origin.image(f"{folder}/{row.text('dicom_id')}{suffix}", views.get(row.text("dicom_id"))) for row in rows]
    sections = _report_sections(origin.folder / f"{folder}.txt")
    indication = sections.get("INDICATION") or sections.get("CLINICAL HISTORY") or sections.get("HISTORY")
    reported = {name.casefold(): sections[name] for name in ("FINDINGS", "IMPRESSION") if name in sections}
    return _study_case(
        "MIMIC-CXR",
        "PhysioNet Credentialed Health Data License 1.5.0",
        f"mimic_cxr_s{study}",
        f"mimic_p{subject}",
        labels[study],
        images,
        split,
        ClinicalContext(note=indication) if indication else ClinicalContext(),
        reported,
    )


def read_chexpert(origin: Origin) -> Reading:
    """CheXpert-v1.0 or -small (Stanford AIMI): `train.csv` and `valid.csv`, and `test.csv` where it is there."""
    cases: list[CaseSolutions] = []
    for word, split in CHEXPERT_SPLITS.items():
        file = origin.folder / f"{word}.csv"
        if word == "test" and not file.is_file():
            continue
        studies: defaultdict[str, list[Row]] = defaultdict(list)
        for row in read_rows(file):
            studies[row.text("Path").rsplit("/", 1)[0]].append(row)
        for rows in origin.draw(studies.values()):
            _keep(cases, origin, partial(_chexpert_case, origin, rows, split))
    return origin.reading(cases)


def _chexpert_case(origin: Origin, rows: Sequence[Row], split: SplitName) -> Case:
    found = CHEXPERT_PATH.fullmatch(rows[0].text("Path"))
    if found is None:
        raise rows[0].error("Path", "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg")
    images = []
    for row in rows:
        # The table's paths open with the name of the archive, which is this folder.
        path = row.text("Path").removeprefix(found["root"] or "")
        view = row.optional_text("AP/PA") or row.optional_text("Frontal/Lateral")
        images.append(origin.image(path, view))
    age, sex = rows[0].optional_text("Age"), rows[0].optional_text("Sex")
    person: dict[str, Any] = {"age": int(float(age))} if age else {}
    person |= {"sex": sex} if sex and sex != "Unknown" else {}
    name = f"chexpert_{found['split']}_{found['patient']}"
    return _study_case(
        "CheXpert",
        "Stanford University Dataset Research Use Agreement",
        f"{name}_{found['study']}",
        name,
        rows[0],
        images,
        split,
        ClinicalContext(**person),
        {},
    )


def _study_case(
    source: str,
    licence: str,
    case_id: str,
    patient_id: str,
    labels: Row,
    images: Sequence[Image],
    split: SplitName,
    context: ClinicalContext,
    reported: dict[str, Any],
) -> Case:
    values = {name: _value(labels, name) for name in FINDINGS}
    stated = [name for name in FINDINGS if values[name] == STATED and name != NO_FINDING]
    is_abnormal = any(name != DEVICES for name in stated)
    if is_abnormal and values[NO_FINDING] == STATED:
        raise Unfit("a finding and no finding are stated of one study")
    if not is_abnormal and values[NO_FINDING] != STATED:
        raise Unfit("no finding is stated, and neither is that there is none")
    gold = {
        name: [one for one in FINDINGS if values[one] == value]
        for name, value in (("denied", DENIED), ("uncertain", UNCERTAIN))
    }
    return question_case(
        source,
        licence,
        case_id,
        QUESTION,
        answer=ABNORMAL if is_abnormal else NORMAL,
        options=OPTIONS,
        modality="chest_xray",
        images=images,
        patient_id=patient_id,
        split=split,
        context=context,
        findings=stated,
        gold_extra={**gold, **reported},
        extra={"labels": "weak: by a text labeller"},
    )


def _value(row: Row, name: str) -> float | None:
    given = row.optional_text(name)
    if given is None:
        return None
    if given not in ("1.0", "0.0", "-1.0", "1", "0", "-1"):
        raise row.error(name, "1.0, 0.0, -1.0 or nothing")
    return float(given)


def _keep(cases: list[CaseSolutions], origin: Origin, make: Callable[[], Case]) -> None:
    try:
        cases.append(CaseSolutions(make(), []))
    except Unfit as reason:
        origin.refused[str(reason)] += 1


def _table(origin: Origin, name: str) -> Path:
    return origin.file(f"mimic-cxr-2.*-{name}.csv", f"mimic-cxr-2.*-{name}.csv.gz")


def _report_sections(path: Path) -> dict[str, str]:
    """The sections of a free-text report by name; {} where there is no report."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    return dict(_sections(text))


def _sections(text: str) -> Iterator[tuple[str, str]]:
    for found in SECTION.finditer(text):
        following = NEXT_SECTION.search(text, found.end())
        body = " ".join(text[found.end() : following.start() if following else len(text)].split())
        if body:
            yield found.group(1), body
