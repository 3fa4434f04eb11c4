"""VQA-RAD (Lau et al., Sci Data 2018, CC0): clinicians' yes/no questions on chest radiographs, as small trial data.

In: the folder of images and the table of questions (`vqa_rad_chest_pack.json`). Out: one case a question, with two
solutions of one step by rule, one claiming yes and one claiming no; the clinician's answer decides which is right.
Upstream's train and test share images, so `patient_id` is the image and splits go by it.

For trying the way from real pictures to a report, not for claims about models: some 62 images and 400 questions, and
"no" is right three times in five, which a model can learn from the text alone.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.parsing import RecordError, parse_json
from medprm.cases.reading import Reading
from medprm.cases.schema import (
    AnnotationMetadata,
    Case,
    CaseSolutions,
    GoldStandard,
    Image,
    Label,
    Metadata,
    RuleVerdict,
    Solution,
    Sources,
    Step,
)

RULE = "vqa_rad_answer"
ANSWERS = ("yes", "no")
FIELDS = ("image_name", "question", "answer", "answer_type", "question_type")


class Question(NamedTuple):
    """One row of the table."""

    question_id: int
    image_name: str
    text: str
    answer: str
    answer_type: str
    question_type: str

    @property
    def asked_of(self) -> tuple[str, str]:
        """The image and the wording, free of capitals and the question mark: what repeated questions share."""
        return self.image_name, " ".join(self.text.casefold().rstrip(" ?").split())


def read_vqa_rad(folder: str | Path, table: str | Path | None = None) -> list[CaseSolutions]:
    """Cases with two solutions each, in the order of `table` (default: `../splits/vqa_rad_chest_pack.json`).

    Image paths are relative to `folder`, which holds `images/`. What is left out is counted and logged.
    """
    reading = load_vqa_rad(folder, table)
    reading.log("vqa_rad")
    return reading.cases


def load_vqa_rad(folder: str | Path, table: str | Path | None = None) -> Reading:
    """As `read_vqa_rad`, with the counts by reason; every question counts as its two solutions."""
    folder = Path(folder)
    table = Path(table) if table else folder.parent / "splits" / "vqa_rad_chest_pack.json"
    questions = list(_read_questions(table, folder / "images"))
    answers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for question in questions:
        answers[question.asked_of].add(question.answer)
    kept: dict[tuple[str, str], Question] = {}
    refused: Counter[str] = Counter()
    for question in questions:
        if question.answer_type != "CLOSED" or question.answer not in ANSWERS:
            refused["not a yes/no question"] += len(ANSWERS)
        elif len(answers[question.asked_of]) > 1:
            refused["asked twice of one image and answered differently"] += len(ANSWERS)
        elif question.asked_of in kept:
            refused["asked before of the same image"] += len(ANSWERS)
        else:
            kept[question.asked_of] = question
    cases = [_case_with_solutions(question) for question in kept.values()]
    return Reading(cases, len(questions) * len(ANSWERS), dict(refused))


def _read_questions(table: Path, images: Path) -> Iterator[Question]:
    if not table.is_file():
        raise RecordError(f"{table}: no such file; expected VQA-RAD's table of questions, a JSON list of objects")
    try:
        rows = parse_json(table.read_text(encoding="utf-8"), str(table))
    except UnicodeDecodeError as error:
        raise RecordError(f"{table}: not UTF-8; save it as UTF-8") from error
    if not isinstance(rows, list) or not rows:
        raise RecordError(f"{table}: expected a JSON list of questions with {', '.join(FIELDS)}")
    seen: set[int] = set()
    for place, row in enumerate(rows):
        question = _question(row, f"{table} question {place}")
        if question.question_id in seen:
            raise RecordError(
                f"{table} question {place}: qid {question.question_id} stands twice; expected one a question"
            )
        if not (images / question.image_name).is_file():
            raise RecordError(
                f"{images / question.image_name}: no such image; {table.name} names it (question {place})"
            )
        seen.add(question.question_id)
        yield question


def _question(row: Any, where: str) -> Question:
    if not isinstance(row, dict) or type(row.get("qid")) is not int:
        raise RecordError(f"{where}: {json.dumps(row)[:60]}; expected an object with a whole number qid")
    # Some answers are numbers in the source ("how many ribs?").
    texts = {name: str(row.get(name) or "").strip() for name in FIELDS}
    empty = [name for name in FIELDS if not texts[name]]
    if empty:
        raise RecordError(f"{where}: {empty[0]} is empty or absent; expected {', '.join(FIELDS)}")
    if Path(texts["image_name"]).name != texts["image_name"]:
        raise RecordError(f"{where}: image_name {texts['image_name']!r}; expected the name of a file, without folders")
    return Question(
        row["qid"],
        texts["image_name"],
        texts["question"],
        texts["answer"].casefold(),
        texts["answer_type"].upper(),
        texts["question_type"],
    )


def _case_with_solutions(question: Question) -> CaseSolutions:
    case_id = f"vqa_rad_{question.question_id}"
    case = Case(
        case_id=case_id,
        patient_id=f"vqa_rad_{Path(question.image_name).stem}",
        modality="chest_xray",
        metadata=Metadata(
            source="VQA-RAD", licence="CC0 1.0; images from MedPix", extra={"question_type": question.question_type}
        ),
        image=Image(path=f"images/{question.image_name}"),
        question=question.text,
        options=ANSWERS,
        gold_standard=GoldStandard(answer=question.answer),
    )
    return CaseSolutions(case, [_solution(case_id, claim, claim == question.answer) for claim in ANSWERS])


def _solution(case_id: str, claim: str, is_correct: bool) -> Solution:
    label: Label = "correct" if is_correct else "incorrect"
    step = Step(
        step_id=0,
        category="observation",
        content=f"Judging by the image, the answer is: {claim}.",
        label=label,
        annotation_method="rule",
        sources=Sources(rule=(RuleVerdict(verdict=label, rule=RULE),)),
    )
    return Solution(
        solution_id=f"{case_id}_{claim}",
        generator="vqa_rad_claims",
        answer=claim,
        is_correct=is_correct,
        solution_steps=(step,),
        annotation_metadata=AnnotationMetadata(primary_annotator=RULE, total_steps=1),
    )
