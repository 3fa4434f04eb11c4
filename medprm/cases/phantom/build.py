"""Write the phantom set: films as DICOM, cases with candidate solutions, guideline passages, and the truth apart.

In: PhantomSettings. Out, in one folder: `candidates.jsonl` (training solutions without labels), `validation.jsonl`
and `test.jsonl` (labelled by the truth), `truth.jsonl` (for the simulated annotators and for evaluation only),
`guidelines.jsonl`, `images/*.dcm`. The same settings give the same bytes.
"""

import json
from pathlib import Path

import numpy as np

from medprm.cases.jsonl import write_records
from medprm.cases.phantom.dicom import write_film
from medprm.cases.phantom.draw import draw_film
from medprm.cases.phantom.records import PhantomCase, draw_cases, truth_row, with_truth
from medprm.cases.phantom.settings import PhantomSettings
from medprm.cases.phantom.world import (
    CAUSES,
    CLUES,
    COMPARTMENTS,
    FINDINGS,
    GUIDELINES,
    MECHANISM,
    diagnosis_of,
    passage_text,
)
from medprm.cases.schema import Document, join, to_json

SPLITS = ("train", "validation", "test")
FILE_OF_SPLIT = {"train": "candidates.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}


def build_phantom(folder: Path, settings: PhantomSettings) -> None:
    """Write the whole set into `folder`, which must not hold one yet."""
    (folder / "images").mkdir(parents=True, exist_ok=False)
    truth_lines: list[str] = []
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng([settings.seed, number])
        num_patients = getattr(settings, f"num_{split}_patients")
        num_candidates = getattr(settings, f"num_{split}_candidates")
        records = []
        for drawn in draw_cases(rng, num_patients, num_candidates, split):
            _write_image(folder, drawn, settings, np.random.default_rng(rng.integers(2**63)))
            for solution, truth in zip(drawn.solutions, drawn.truths, strict=True):
                labelled = solution if split == "train" else with_truth(solution, truth)
                records.append(join(drawn.case, labelled))
                truth_lines.append(json.dumps(truth_row(drawn.case, drawn.study, solution, truth)))
        write_records(folder / FILE_OF_SPLIT[split], records)
    (folder / "truth.jsonl").write_text("\n".join(truth_lines) + "\n")
    documents = [json.dumps(to_json(document)) for document in guideline_documents()]
    (folder / "guidelines.jsonl").write_text("\n".join(documents) + "\n")


def guideline_documents() -> list[Document]:
    """Every passage of the phantom's world, ours and made up.

    The tests by guideline; what a sign stands for, what a clue points to, what a finding with a cause suggests.
    """
    tests = [
        Document(
            document_id=f"{name.lower()}-{compartment}",
            source=f"{name} guideline",
            text=passage_text(name, compartment),
        )
        for name in GUIDELINES
        for compartment in COMPARTMENTS
    ]
    signs = [
        Document(
            document_id=f"sign-{finding}", source="sign cards", text=f"The sign of {finding} stands for {meaning}."
        )
        for finding, meaning in MECHANISM.items()
    ]
    return tests + signs + _clue_cards() + _diagnosis_cards()


def _clue_cards() -> list[Document]:
    return [
        Document(
            document_id=f"clue-{clue.replace(' ', '-')}",
            source="clue cards",
            text=f"{clue} points to {cause}.".capitalize(),
        )
        for cause, clues in CLUES.items()
        for clue in clues
    ]


def _diagnosis_cards() -> list[Document]:
    return [
        Document(
            document_id=f"diagnosis-{finding}-{cause.replace(' ', '-')}",
            source="diagnosis cards",
            text=f"{finding} with {cause} suggests {diagnosis_of(finding, cause)}.".capitalize(),
        )
        for finding in FINDINGS
        for cause in CAUSES
    ]


def _write_image(folder: Path, drawn: PhantomCase, settings: PhantomSettings, rng: np.random.Generator) -> None:
    assert drawn.case.image and drawn.case.patient_id, "a phantom case has an image and a patient"
    film = draw_film(drawn.study, rng, settings.image_size)
    write_film(
        folder / drawn.case.image.path, film, patient_id=drawn.case.patient_id, seed_text=drawn.case.case_id, rng=rng
    )
