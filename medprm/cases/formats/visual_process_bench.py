"""VisualProcessBench (OpenGVLab, arXiv 2503.10291, MIT): people's labels of every step, 1, 0 (neutral) or -1.

All steps are judged, also behind an error. Neutral steps stay neutral; the benchmark leaves them out of its metric.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from medprm.cases.answers import parse_answer
from medprm.cases.formats.images import case_images, image_fields, without_marks
from medprm.cases.formats.labels import RATING_OF, RATINGS, ruled_steps
from medprm.cases.formats.reading import Labelled, question_id
from medprm.cases.formats.writing import THREE, Writer, gold_answer
from medprm.cases.rows import Row
from medprm.cases.schema import Case, GoldStandard, Label, Metadata, Solution

FILES = ("test.jsonl", "*.jsonl")
SOURCE, LICENCE = "VisualProcessBench", "MIT; images under the terms of MMMU, MathVision, MathVerse, DynaMath, WeMath"
RULE = "visualprocessbench_process_correctness"


def read_row(row: Row, left_out: Counter[str]) -> Iterator[Labelled]:
    """The one solution of a row. Of sources whose name has spaces or capitals, the name is kept as it is."""
    response = row.row("response")
    labels: list[Label] = []
    for rating in response.values("process_correctness"):
        if type(rating) is not int or rating not in RATINGS:
            raise response.error("process_correctness", "a list of 1, 0 and -1")
        labels.append(RATINGS[rating])
    images = image_fields(row)
    question, truth = without_marks(row.text("question"), left_out), row.word("answer")
    data_source = row.text("data_source")
    case = Case(
        case_id=question_id("visualprocessbench", question, truth, data_source, [image.path for image in images]),
        modality="other" if images else "text",
        metadata=Metadata(source=SOURCE, licence=LICENCE, split="test", extra={"data_source": data_source}),
        question=question,
        gold_standard=GoldStandard(answer=truth),
        **case_images(images),
    )
    steps = ruled_steps(response.texts("steps"), labels, RULE, "human_rating")
    solution = Solution(
        generator=row.optional_text("policy_model"), answer=parse_answer(steps[-1].content), solution_steps=steps
    )
    yield Labelled(case, solution)


def write_row(case: Case, solution: Solution, writer: Writer) -> dict[str, Any]:
    """The row of one solution; unknown steps have no word here."""
    texts, labels = writer.judged(solution, THREE)
    return {
        "image": [image.path for image in case.all_images],
        "question": writer.statement(case),
        "answer": gold_answer(case),
        "response": {"steps": texts, "process_correctness": [RATING_OF[label] for label in labels]},
        "policy_model": solution.generator,
        "data_source": (case.metadata.extra or {}).get("data_source") or case.metadata.source or "unknown",
    }
