"""The rules of the phantom's small medical world: findings, places, clues, diagnoses, guidelines.

Everything that a step can claim is decided by these tables and by one study, so the truth of a step is known.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

# From most to least urgent: where two findings are present, the more urgent one decides.
FINDINGS = ("pneumothorax", "effusion", "consolidation", "oedema", "atelectasis", "cardiomegaly", "nodule")
SIDES = ("right", "left")  # the patient's; the patient's right is on the left of the picture
VIEWS = ("PA", "AP")

ZONES = {
    "pneumothorax": ("upper",),
    "effusion": ("lower",),
    "consolidation": ("upper", "middle", "lower"),
    "oedema": ("middle",),
    "atelectasis": ("upper", "middle", "lower"),
    "cardiomegaly": (),
    "nodule": ("upper", "middle", "lower"),
}
MECHANISM = {
    "pneumothorax": "air in the pleural space",
    "effusion": "fluid in the pleural space",
    "consolidation": "filled alveoli",
    "oedema": "fluid in the interstitium",
    "atelectasis": "loss of lung volume",
    "cardiomegaly": "an enlarged heart",
    "nodule": "a focal mass",
}
COMPARTMENT = {
    "pneumothorax": "pleura",
    "effusion": "pleura",
    "consolidation": "lung",
    "oedema": "lung",
    "atelectasis": "lung",
    "nodule": "lung",
    "cardiomegaly": "heart",
}
COMPARTMENTS = ("lung", "pleura", "heart")

CAUSES = ("infection", "injury", "tumour", "heart failure")
CLUES = {  # what the clinical context says, by cause
    "infection": ("fever", "chills"),
    "injury": ("a recent fall", "a car accident"),
    "tumour": ("known cancer", "weight loss"),
    "heart failure": ("leg swelling", "orthopnoea"),
}
UNTELLING_SYMPTOMS = ("cough", "dyspnoea", "chest pain", "fatigue", "dizziness", "back pain")

DIAGNOSIS = {  # finding x cause
    "pneumothorax": ("necrotising pneumonia", "traumatic pneumothorax", "tumour rupture", "barotrauma"),
    "effusion": ("empyema", "haemothorax", "malignant effusion", "cardiac effusion"),
    "consolidation": ("pneumonia", "lung contusion", "lepidic carcinoma", "alveolar oedema"),
    "oedema": ("viral pneumonitis", "fat embolism", "lymphangitic spread", "interstitial oedema"),
    "atelectasis": ("mucus plugging", "splinting", "bronchial obstruction", "compressive collapse"),
    "cardiomegaly": ("myocarditis", "haemopericardium", "malignant tamponade", "dilated cardiomyopathy"),
    "nodule": ("septic embolus", "lung haematoma", "metastasis", "fissural pseudotumour"),
}

TESTS = ("CT", "ultrasound", "MRI", "bronchoscopy", "echocardiography", "fluoroscopy", "biopsy", "PET")
GUIDELINES = ("Alder", "Birch", "Cedar", "Elm", "Hazel", "Linden", "Maple", "Rowan", "Spruce", "Willow")


class Place(NamedTuple):
    """Where a finding lies; both are None for a finding of the heart."""

    side: str | None
    zone: str | None

    def __str__(self) -> str:
        return f" in the {self.side} {self.zone} zone" if self.side else ""


NOWHERE = Place(None, None)


class Located(NamedTuple):
    """A finding at a place."""

    finding: str
    place: Place

    def __str__(self) -> str:
        return f"{self.finding}{self.place}"


def diagnosis_of(finding: str, cause: str) -> str:
    return DIAGNOSIS[finding][CAUSES.index(cause)]


def places_of(finding: str) -> list[Place]:
    return [Place(side, zone) for side in SIDES for zone in ZONES[finding]] or [NOWHERE]


def opposite(place: Place) -> Place:
    """The same zone on the other side."""
    assert place.side, "a finding of the heart has no side"
    return place._replace(side=SIDES[1 - SIDES.index(place.side)])


@lru_cache(maxsize=1)
def guideline_tests() -> dict[str, dict[str, str]]:
    """guideline -> compartment -> the test that it puts first.

    The guidelines differ, and only the passages of a case say which one holds: no step and no question names it.
    """
    rng = np.random.default_rng(2026)
    return {
        name: dict(zip(COMPARTMENTS, rng.choice(TESTS, size=len(COMPARTMENTS), replace=False).tolist(), strict=True))
        for name in GUIDELINES
    }


def passage_text(guideline: str, compartment: str) -> str:
    return f"{guideline} guideline: for the {compartment} {guideline_tests()[guideline][compartment]} comes first."
