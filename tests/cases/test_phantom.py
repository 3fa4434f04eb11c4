"""The exam's limits (CONTRIBUTING.md, "The phantom"): hard to cheat, and the same for everybody."""

import dataclasses
import json
from math import comb
from pathlib import Path

import numpy as np
import pydicom
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from medprm.cases.answers import answers_match, parse_answer
from medprm.cases.jsonl import read_cases
from medprm.cases.phantom.build import build_phantom
from medprm.cases.phantom.draw import PAINTERS, draw_film
from medprm.cases.phantom.records import PhantomCase, draw_cases
from medprm.cases.phantom.settings import PhantomSettings
from medprm.cases.phantom.study import draw_study
from medprm.cases.phantom.world import (
    COMPARTMENT,
    COMPARTMENTS,
    FINDINGS,
    GUIDELINES,
    MECHANISM,
    Located,
    diagnosis_of,
    places_of,
)
from medprm.images.load import load_image

NUM_CANDIDATES = 32
IMAGE_KINDS = ("finding", "view", "second")


@pytest.fixture(scope="module")
def exam() -> list[PhantomCase]:
    return list(draw_cases(np.random.default_rng(1), 260, NUM_CANDIDATES, "test"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "set"
    build_phantom(folder, _small())
    return folder


def _small() -> PhantomSettings:
    return PhantomSettings(
        num_train_patients=6,
        num_validation_patients=3,
        num_test_patients=4,
        num_train_candidates=3,
        num_validation_candidates=3,
        num_test_candidates=4,
    )


def test_default_size_is_large_enough() -> None:
    settings = PhantomSettings()
    assert settings.num_test_patients >= 200
    assert settings.num_test_candidates >= 32


def test_base_rate_and_pass_at_1(exam: list[PhantomCase]) -> None:
    labels = [step.is_correct for drawn in exam for truth in drawn.truths for step in truth.steps]
    answers = [truth.is_correct for drawn in exam for truth in drawn.truths]
    assert 0.60 <= np.mean(labels) <= 0.75
    assert 0.35 <= np.mean(answers) <= 0.55


def test_oracle_is_high_and_majority_closes_little(exam: list[PhantomCase]) -> None:
    num_right = [sum(truth.is_correct for truth in drawn.truths) for drawn in exam]
    oracle = np.mean([1 - comb(NUM_CANDIDATES - k, 8) / comb(NUM_CANDIDATES, 8) for k in num_right])
    pass_at_1 = np.mean(num_right) / NUM_CANDIDATES
    majority = np.mean([_majority_at_8(drawn, seed) for seed, drawn in enumerate(exam)])
    assert oracle >= 0.95
    assert (majority - pass_at_1) / (oracle - pass_at_1) <= 0.40


def _majority_at_8(drawn: PhantomCase, seed: int) -> float:
    rng = np.random.default_rng(seed)
    wins = []
    for _ in range(20):
        answers = [drawn.truths[i].answer for i in rng.choice(NUM_CANDIDATES, 8, replace=False)]
        most = max(answers.count(answer) for answer in answers)
        tied = {answer for answer in answers if answers.count(answer) == most}
        wins.append((drawn.study.answer in tied) / len(tied))
    return float(np.mean(wins))


def test_steps_are_three_to_nine_and_wrong_answers_have_a_wrong_step(exam: list[PhantomCase]) -> None:
    truths = [truth for drawn in exam for truth in drawn.truths]
    assert {3, 7} <= {len(truth.steps) for truth in truths} <= set(range(3, 10))
    for truth in truths:
        assert truth.is_correct or not all(step.is_correct for step in truth.steps)
        assert truth.steps[-1].is_correct == truth.is_correct
    wrong_path = [truth for truth in truths if truth.is_correct and not all(step.is_correct for step in truth.steps)]
    assert 0.05 < len(wrong_path) / len(truths) < 0.25


def test_truth_follows_from_the_study(exam: list[PhantomCase]) -> None:
    """An independent reading of the sentences gives the stored truth."""
    for drawn in exam[:80]:
        study = drawn.study
        for truth in drawn.truths:
            for step in truth.steps:
                if step.kind == "finding":
                    assert step.is_correct == (str(study.main) in step.content)
                elif step.kind == "view":
                    assert step.is_correct == (study.view in step.content)
                elif step.kind == "mechanism":
                    assert step.is_correct == (MECHANISM[study.main.finding] in step.content)
                elif step.kind == "context":
                    assert step.is_correct == (study.clue in step.content)
                elif step.kind == "diagnosis":
                    named = diagnosis_of(study.main.finding, study.cause)
                    assert step.is_correct == step.content.endswith((f" is {named}.", f" suggests {named}."))
                elif step.kind == "guideline":
                    wanted = COMPARTMENT[study.main.finding]
                    passage = next(one.text for one in drawn.case.documents if f"for the {wanted} " in one.text)
                    advised = passage.partition(f"for the {wanted} ")[2]  # read from the passage, not from the tables
                    assert step.is_correct == (
                        step.content == f"The disease is of the {wanted}, and for the {wanted} {advised}"
                    )
                elif step.kind == "second":
                    claims_none = "other" in step.content or "nothing" in step.content
                    assert step.is_correct == (claims_none != study.second_is_present)


def test_kinds_of_image_steps_have_one_base_rate(exam: list[PhantomCase]) -> None:
    """Else the kind of a step alone would tell something about its truth."""
    labels: dict[str, list[bool]] = {kind: [] for kind in IMAGE_KINDS}
    for truth in (truth for drawn in exam for truth in drawn.truths):
        for step in truth.steps:
            if step.kind in labels:
                labels[step.kind].append(step.is_correct)
    rates = [np.mean(values) for values in labels.values()]
    assert max(rates) - min(rates) < 0.05


def test_only_the_passages_name_the_guideline(exam: list[PhantomCase]) -> None:
    """What it puts first has to be looked up there: no question, context or step says which guideline holds."""
    for drawn in exam:
        context = drawn.case.clinical_context.model_dump_json()
        told = [
            drawn.case.question,
            context,
            *drawn.case.options,
            *(t for one in drawn.solutions for t in one.step_texts),
        ]
        assert all(drawn.study.guideline in document.text for document in drawn.case.documents)
        assert not any(name in text for text in told for name in GUIDELINES)


def test_answers_parse_and_match(exam: list[PhantomCase]) -> None:
    for drawn in exam[:100]:
        options = drawn.case.options
        for solution in drawn.solutions:
            parsed = parse_answer(solution.step_texts[-1], options)
            assert parsed is not None
            assert answers_match(parsed, solution.answer, options)
            assert answers_match(parsed, drawn.study.answer, options) == solution.is_correct


def test_identifiers_carry_no_truth(exam: list[PhantomCase]) -> None:
    """Ids, file names, generator, order and number of steps: AUROC at most 0.55 (on the step's own truth)."""
    rows, truth, group = [], [], []
    for number, drawn in enumerate(exam):
        for place, (solution, true) in enumerate(zip(drawn.solutions, drawn.truths, strict=True)):
            texts = f"{drawn.case.case_id} {solution.solution_id} {drawn.case.patient_id} {solution.generator}"
            numbers = [place, len(true.steps), *(ord(letter) for letter in texts[-40:])]
            rows.append(numbers + [solution.generator == name for name in ("policy_a", "policy_b", "policy_c")])
            truth.append(true.is_correct)
            group.append(number)
    assert _control_auroc(np.array(rows, float), truth, group) <= 0.55


@pytest.mark.parametrize("kinds", [("finding",), ("view",), ("second",), IMAGE_KINDS], ids="-".join)
def test_text_alone_does_not_tell_image_steps(exam: list[PhantomCase], kinds: tuple[str, ...]) -> None:
    """All text of the case, the steps so far and the kind of step, without the film: AUROC at most 0.60."""
    texts, truth, group = [], [], []
    for number, drawn in enumerate(exam):
        case = drawn.case
        context = [*case.clinical_context.symptoms, *case.clinical_context.history, *case.options]
        for true in drawn.truths:
            for index, step in enumerate(true.steps):
                if step.kind in kinds:
                    before = " ".join(earlier.content for earlier in true.steps[:index])
                    texts.append(" ".join([case.question, *context, before, f"NOW {step.kind}", step.content]))
                    truth.append(step.is_correct)
                    group.append(number)
    features = TfidfVectorizer(ngram_range=(1, 2), min_df=5).fit_transform(texts)
    assert _control_auroc(features, truth, group) <= 0.60


def _control_auroc(features: np.ndarray, truth: list[bool], group: list[int]) -> float:
    groups, labels = np.array(group), np.array(truth)
    is_train = groups < 0.6 * groups.max()
    control = LogisticRegression(max_iter=500).fit(features[is_train], labels[is_train])
    return float(roc_auc_score(labels[~is_train], control.predict_proba(features[~is_train])[:, 1]))


def test_dicom_tags_carry_no_truth(built: Path) -> None:
    """Every tag that differs between files is an identifier, or drawn independently of the findings."""
    allowed = {
        "SOPInstanceUID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "PatientID",
        "PhotometricInterpretation",
        "PresentationLUTShape",
        "WindowCenter",
        "WindowWidth",
        "PixelData",
    }
    datasets = [pydicom.dcmread(path) for path in sorted((built / "images").glob("*.dcm"))]
    keywords = {element.keyword for dataset in datasets for element in dataset}
    varying = {name for name in keywords if len({str(dataset.get(name)) for dataset in datasets}) > 1}
    assert varying <= allowed


def test_same_settings_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    build_phantom(tmp_path / "again", _small())
    files = sorted(path.relative_to(built) for path in built.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*.*"))
    for file in files:
        assert (built / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_splits_share_no_patient_and_films_decode(built: Path) -> None:
    patients = {}
    for name in ("candidates", "validation", "test"):
        cases = read_cases(built / f"{name}.jsonl")
        patients[name] = {case.patient_id for case, _ in cases}
        for case, _ in cases:
            assert case.image is not None
            image = load_image(built / case.image.path)
            assert image.size == (128, 128)
            corner = np.asarray(image.convert("L"))[2:10, 2:10].mean()
            assert corner < 60, "air outside the body is dark, whatever the photometric interpretation"
    assert not patients["candidates"] & patients["test"]
    assert not patients["validation"] & patients["test"]


def test_guidelines_file_holds_every_passage(built: Path) -> None:
    """The corpus that a judge retrieves from: whole guidelines, also their passages that a case does not show."""
    corpus = {row["document_id"]: row for row in map(json.loads, (built / "guidelines.jsonl").read_text().splitlines())}
    given = set()
    for name in ("candidates", "validation", "test"):
        for case, _ in read_cases(built / f"{name}.jsonl"):
            for document in case.documents:
                assert corpus[document.document_id]["text"] == document.text
                given.add(document.document_id)
    assert {f"{one.rpartition('-')[0]}-{compartment}" for one in given for compartment in COMPARTMENTS} <= set(corpus)


def test_training_candidates_carry_no_label(built: Path) -> None:
    for _, solutions in read_cases(built / "candidates.jsonl"):
        assert all(set(solution.labels) == {"unknown"} for solution in solutions)
    truths = [json.loads(line) for line in (built / "truth.jsonl").read_text().splitlines()]
    known = {solution.solution_id for _, all_of in read_cases(built / "test.jsonl") for solution in all_of}
    assert known <= {truth["solution_id"] for truth in truths}


@pytest.mark.parametrize("finding", [finding for finding in FINDINGS if finding != "cardiomegaly"])
def test_each_finding_is_drawn_on_its_side(finding: str) -> None:
    line = (np.arange(64) + 0.5) / 32 - 1
    x, y = np.meshgrid(line, line)
    for place in places_of(finding):
        drawn = np.abs(PAINTERS[finding](Located(finding, place), np.random.default_rng(5), x, y))
        halves = {"right": drawn[:, :32].sum(), "left": drawn[:, 32:].sum()}
        assert halves[str(place.side)] > 0.97 * sum(halves.values())


def test_cardiomegaly_widens_the_heart() -> None:
    study = dataclasses.replace(draw_study(np.random.default_rng(3)), second=None)
    heart = dataclasses.replace(study, main=Located("cardiomegaly", places_of("cardiomegaly")[0]))
    nodule = dataclasses.replace(study, main=Located("nodule", places_of("nodule")[0]))
    beside = slice(42, 46), slice(18, 24)  # right of a normal heart, within a large one, at 64 pixels
    bright = [
        np.mean([draw_film(one, np.random.default_rng(i), 64)[beside] for i in range(8)]) for one in (heart, nodule)
    ]
    assert bright[0] > bright[1] + 0.05
