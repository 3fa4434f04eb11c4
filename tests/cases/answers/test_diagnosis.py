"""Diagnoses and open answers: synonyms stand for whole names, and a qualifier makes another diagnosis."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprm.cases.answers import answers_match, parse_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is pneumonia.", "pneumonia"),
        ("**Diagnosis:** Pneumonia", "Pneumonia"),
        ("The most likely diagnosis is acute appendicitis.", "acute appendicitis"),
        ("Final diagnosis: **Pulmonary embolism**", "Pulmonary embolism"),
        ("The answer is most likely pneumonia.", "pneumonia"),
        ("The answer is a case of measles.", "measles"),
        ("The answer is C. difficile colitis.", "C. difficile colitis"),
        ("The answer is St. Louis encephalitis. It is rare.", "St. Louis encephalitis"),
        ("Answer: hemophilia A. It is inherited.", "hemophilia A"),
        ("The answer is pneumonia because of the fever.", "pneumonia"),
        ("The answer is pneumonia, as evidenced by the fever.", "pneumonia"),
        ("The answer is anemia due to iron deficiency.", "anemia due to iron deficiency"),
        ("The answer is May-Thurner syndrome.", "May-Thurner syndrome"),
        ("The answer is no pneumonia.", "no pneumonia"),
        ("The answer is carcinoma of unknown primary.", "carcinoma of unknown primary"),
        ("## Diagnosis: COPD", "COPD"),
        (r"\boxed{\text{Pneumonia}}", "Pneumonia"),
        ("<answer>Pneumonia</answer>", "Pneumonia"),
        ("Final answer:\nPneumonia", "Pneumonia"),
        ("Another possible answer is empyema. The answer is pneumonia.", "pneumonia"),
        ("The answer is pneumonia. Another possible answer is empyema.", "pneumonia"),
        ("Not pneumonia", None),
        ("The answer is not pneumonia.", None),
        ("The answer is pneumonia or bronchitis.", None),
        ("The answer is pneumonia vs. bronchitis", None),
        ("The answer is possibly pneumonia.", None),
        ("The answer is either pneumonia or bronchitis.", None),
        ("The answer is unclear.", None),
        ("The answer is unknown at this time.", None),
        ("The answer cannot be given.", None),
        ("The answer is: could be pneumonia", None),
        ("The patient has pneumonia.", None),
        ("The answer is .", None),
        ("", None),
    ],
)
def test_what_is_read(text: str, answer: str | None) -> None:
    assert parse_answer(text, kind="diagnosis") == answer


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("heart attack", "Myocardial infarction"),
        ("MI", "heart attack"),
        ("PE", "pulmonary embolism"),
        ("CHF", "Congestive Heart Failure"),
        ("COPD", "chronic obstructive pulmonary disease"),
        ("UTI", "urinary tract infection"),
        ("Chickenpox", "Varicella"),
        ("pulmonary oedema", "Pulmonary edema"),
        ("leukaemia", "leukemia"),
        ("oesophageal tumour", "esophageal tumor"),
        ("haemorrhoids", "Hemorrhoids"),
        ("Crohn's disease", "Crohn’s disease"),
        ("Crohn disease", "Crohns disease"),
        ("Legg-Calvé-Perthes disease (LCPD)", "Legg-Calve-Perthes disease"),
        ("Benign Paroxysmal Positional Vertigo (BPPV)", "benign paroxysmal positional vertigo"),
        ("COPD (chronic obstructive pulmonary disease)", "COPD"),
        ("Myocardial infarction (heart attack)", "MI"),
        ("Benign prostatic hyperplasia (N40.1)", "BPH"),
        ("type II diabetes mellitus", "Type 2 diabetes"),
        ("factor VIII deficiency", "hemophilia A"),
        ("β-thalassaemia", "beta thalassemia"),
        ("a pneumothorax", "Pneumothorax."),
        ("non-small-cell lung cancer", "NSCLC"),
        ("cardiomegaly", "enlarged heart"),
    ],
)
def test_other_names_of_the_same(answer: str, gold: str) -> None:
    assert answers_match(answer, gold, kind="diagnosis")
    assert answers_match(gold, answer, kind="diagnosis")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("left pneumothorax", "right pneumothorax"),
        ("pneumothorax", "tension pneumothorax"),
        ("acute heart attack", "MI"),
        ("old MI", "MI"),
        ("chronic pancreatitis", "acute pancreatitis"),
        ("hepatitis", "hepatitis A"),
        ("hepatitis A", "hepatitis B"),
        ("hepatitis a infection", "hepatitis infection"),
        ("no pneumonia", "pneumonia"),
        ("rule out MI", "MI"),
        ("family history of PE", "PE"),
        ("non-small cell lung cancer", "small cell lung cancer"),
        ("hemophilia", "hemophilia A"),
        ("STEMI", "NSTEMI"),
        ("type 1 diabetes", "type 2 diabetes"),
        ("stage III melanoma", "stage IV melanoma"),
        ("pneumonia (left)", "pneumonia"),
        ("melanoma in situ", "melanoma"),
        ("Mi casa", "MI"),
        ("all", "acute lymphoblastic leukemia"),
        ("ten", "toxic epidermal necrolysis"),
        ("bppv", "benign paroxysmal positional dizziness"),
        ("hypoglycaemia", "hyperglycaemia"),
        ("pneumonia and effusion", "pneumonia"),
        ("grade 1 astrocytoma", "grade 11 astrocytoma"),
    ],
)
def test_what_only_looks_alike(answer: str, gold: str) -> None:
    assert not answers_match(answer, gold, kind="diagnosis")
    assert not answers_match(gold, answer, kind="diagnosis")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes.", "yes"),
        ("No, there is none", "no"),
        ("The answer is yes.", "yes"),
        ("Answer: left lower lobe pneumonia. It is early.", "left lower lobe pneumonia"),
        ("The answer is on the right shoulder..", "on the right shoulder"),
        ("The answer is left lobe mass 1.5 x 1.8 cm.", "left lobe mass 1.5 x 1.8 cm"),
        ("The answer is Not sure.", "Not sure"),
        ("The answer is T5.", "T5"),
        ("The answer is cyanosis since birth.", "cyanosis since birth"),
        ("The answer is left, since the heart is displaced.", "left"),
        (f"The answer is {'very ' * 250}long.", None),
        (f"{'First of all. ' * 10_000}The answer is left.", "left"),
        ("No pleural effusion is seen", None),
        ("The heart is large", None),
    ],
)
def test_open_answers_need_a_cue(text: str, answer: str | None) -> None:
    assert parse_answer(text) == answer


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("The Lung.", "lung", True),
        ("X-ray", "x ray", True),
        ("heart attack", "myocardial infarction", False),  # synonyms are for diagnoses; open ones have a judge
        ("2.5 mg", "25 mg", False),
        ("≥ 5 cm", "5 cm", False),
        ("≥ 5 cm", ">= 5 cm", True),
        ("7–10", "7-10", True),
        ("+", "-", False),
        (None, "x", False),
        ("x", None, False),
        (None, None, False),
        ("left", "right", False),
    ],
)
def test_texts_match_after_normalising(answer: str | None, gold: str | None, expected: bool) -> None:
    assert answers_match(answer, gold) is expected


WORDS = (
    "left",
    "right",
    "acute",
    "heart attack",
    "MI",
    "of",
    "hepatitis",
    "A",
    "pneumonia",
    "no",
    "Crohn's",
    "type",
    "II",
)
PHRASES = st.lists(st.sampled_from([*WORDS, "the", "-", "/", "(PE)"]), min_size=1, max_size=5).map(" ".join)


@settings(deadline=None)  # a busy machine is no error
@given(PHRASES, PHRASES)
def test_a_match_is_symmetric(one: str, other: str) -> None:
    assert answers_match(one, other, kind="diagnosis") == answers_match(other, one, kind="diagnosis")
    assert answers_match(one, one, kind="diagnosis")


@settings(deadline=None)  # a busy machine is no error
@given(PHRASES, PHRASES)
def test_a_word_more_is_another_diagnosis(name: str, other: str) -> None:
    """Synonyms never reach into a name: with a qualifier in front it keeps every word."""
    for qualifier in ("left", "chronic", "no"):
        assert not answers_match(f"{qualifier} heart attack", "heart attack", kind="diagnosis")
        assert not answers_match(f"{qualifier} {name}", name, kind="diagnosis")
