"""Sets that mark the first wrong step: ProcessBench, MR-GSM8K, ReasonEval.

ProcessBench (Qwen/ProcessBench, arXiv 2412.06559) counts from 0 and has -1 for none. MR-GSM8K (dvlab-research,
arXiv 2312.17080) and MR-Math (GAIR-NLP/ReasonEval, arXiv 2404.05692) count from 1 and have N/A for none; ReasonEval's
perturbed solutions count from 0. Steps after the first error are unknown. (Mr-Ben has a module of its own.)
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from medprm.cases.formats.labels import first_error_labels, first_error_of, from_one_based, ruled_steps
from medprm.cases.formats.mrben import STEP_START, merge_steps
from medprm.cases.formats.reading import Labelled, Unusable, file_of, question_id
from medprm.cases.formats.writing import Writer, without_images
from medprm.cases.rows import Row
from medprm.cases.schema import Case, GoldStandard, Label, Metadata, Solution

PROCESSBENCH_FILES = ("gsm8k.json", "math.json", "olympiadbench.json", "omnimath.json", "data/*.parquet", "*.jsonl")
MR_GSM8K_FILES = ("MR-GSM8K.json", "*.json")
REASONEVAL_FILES = ("mr-math_invalid_errors.json", "mr-math_redundant_errors.json", "perturbation.json")
PROCESSBENCH_SPLITS = ("gsm8k", "math", "olympiadbench", "omnimath")
NO_ERROR = -1
METHOD = "human_first_error"


def read_processbench(row: Row, _left_out: Counter[str]) -> Iterator[Labelled]:
    """`label` is the 0-based first error, -1 for none; `final_answer_correct` speaks of the answer alone."""
    texts, place = row.texts("steps"), row.integer("label")
    labels = first_error_labels(len(texts), None if place == NO_ERROR else place)
    problem = row.text("problem")
    case = _case("ProcessBench", problem, None, "Apache-2.0", _processbench_split(row))
    yield Labelled(
        case,
        Solution(
            solution_id=row.optional_text("id"),
            generator=row.optional_text("generator"),
            is_correct=row.flag("final_answer_correct"),
            solution_steps=ruled_steps(texts, labels, "processbench_first_error", METHOD),
        ),
    )


def _processbench_split(row: Row) -> str | None:
    """The split that the file's name says (gsm8k.json, gsm8k-00000-of-00001.parquet), else the row's id (gsm8k-12)."""
    names = (file_of(row.where).stem.split("-")[0], (row.optional_text("id") or "").split("-")[0])
    return next((name for name in names if name in PROCESSBENCH_SPLITS), None)


def write_processbench(case: Case, solution: Solution, writer: Writer) -> dict[str, Any]:
    """A row with the 0-based first error. Every step before it must be labelled, and all where there is none."""
    first_error = first_error_of(solution)
    before = solution.labels[:first_error]
    if "unknown" in before or "neutral" in before:
        raise Unusable("a step before the first error that is neutral or unknown")
    if solution.is_correct is None:
        raise Unusable("no word on whether the final answer is right, which the format asks for")
    if first_error is not None and "correct" in solution.labels[first_error:]:
        writer.changed["labels after the first error, which the format does not hold"] += 1
    return {
        "id": solution.solution_id or case.case_id,
        "generator": solution.generator or "unknown",
        "problem": writer.statement(without_images(case)),
        "steps": solution.step_texts,
        "final_answer_correct": solution.is_correct,
        "label": NO_ERROR if first_error is None else first_error,
    }


def read_mr_gsm8k(row: Row, _left_out: Counter[str]) -> Iterator[Labelled]:
    """The first error is the number of the text's `Step N`, else of the list; both count from 1."""
    given = row.texts("model_output_steps")
    merged = merge_steps(given) if given and STEP_START.match(given[0]) else []
    texts = [step.text for step in merged] or given
    numbers = [step.number for step in merged] or list(range(1, len(given) + 1))
    first_error = _first_error(row, numbers)
    labels = first_error_labels(len(texts), first_error)
    case = _case("MR-GSM8K", row.text("question"), row.optional_text("ground_truth_answer"), "MIT")
    yield Labelled(
        case,
        Solution(
            solution_id=row.word("uuid"),
            is_correct=_is_correct(row, "model_output_answer_correctness"),
            solution_steps=ruled_steps(
                texts,
                labels,
                "mr_gsm8k_first_error",
                METHOD,
                [{"question_type": row.optional_text("question_type")}] * len(texts),
            ),
        ),
    )


def read_reasoneval(row: Row, left_out: Counter[str]) -> Iterator[Labelled]:
    """The three files, told apart by their fields: first errors, ratings of redundancy, perturbed steps."""
    if "hypothesis_steps" in row.fields:
        yield _perturbed(row, left_out)
        return
    texts = ["\n".join(map(str, lines)) for lines in row.values("model_output_step_format")]
    labels: list[Label]
    if "rating" in row.fields:
        labels = [_rating(one, row) for one in row.values("rating")]
        rule = "reasoneval_redundancy"
    else:
        first_error = _first_error(row, list(range(1, len(texts) + 1)))
        labels = first_error_labels(len(texts), first_error)
        rule = "reasoneval_first_error"
    truth = row.fields.get("ground_truth_answer")
    correct = "model_output_answer_correctness"
    yield Labelled(
        _case("ReasonEval", row.text("question"), None if truth is None else str(truth), None),
        Solution(
            solution_id=f"{rule}-{row.word('uuid' if 'uuid' in row.fields else 'id')}",
            generator=row.optional_text("generator") or row.optional_text("sampled_model"),
            is_correct=_is_correct(row, correct) if correct in row.fields else None,
            solution_steps=ruled_steps(texts, labels, rule, METHOD),
        ),
    )


def _perturbed(row: Row, _left_out: Counter[str]) -> Labelled:
    """One step changed on purpose. `tags` counts from 0; only changed and repeated steps have one place."""
    texts, kind = row.texts("hypothesis_steps"), row.text("error_type")
    if kind in ("random number", "random operation"):
        labels = first_error_labels(len(texts), row.integer("tags"))
    elif kind == "repeat step":
        repeated = row.integer("tags") + 1
        if not 0 < repeated < len(texts) or texts[repeated] != texts[repeated - 1]:
            raise Unusable("a repeated step that does not repeat the one before")
        labels = first_error_labels(len(texts), repeated)
        labels[repeated] = "neutral"
    else:
        raise Unusable(f"perturbed by {kind!r}, which makes no one step wrong")
    truth = row.fields.get("ground_truth_answer")
    case = _case("ReasonEval", row.text("question"), None if truth is None else str(truth), None)
    solution_id = f"perturbation-{row.word('id')}"
    steps = ruled_steps(texts, labels, f"reasoneval_perturbation: {kind}", "construction")
    return Labelled(case, Solution(solution_id=solution_id, solution_steps=steps))


def _rating(value: Any, row: Row) -> Label:
    """1 correct; 0 right but of no use (redundant): neutral."""
    if value not in (0, 1):
        raise row.error("rating", "a list of 0 and 1")
    return "correct" if value == 1 else "neutral"


def _first_error(row: Row, numbers: Sequence[int | None]) -> int | None:
    """0-based place of the step with the given 1-based number; None where the solution is correct."""
    is_correct = _is_correct(row, "model_output_solution_correctness")
    given = row.word("model_output_solution_first_error_step")
    if is_correct and given == "N/A":
        return None
    if is_correct or not given.isdecimal():
        raise Unusable("correctness and first error step contradict each other")
    if numbers == list(range(1, len(numbers) + 1)):
        return from_one_based(int(given), len(numbers))
    if int(given) not in numbers:
        raise Unusable("a step number that the solution does not have")
    return numbers.index(int(given))


def _is_correct(row: Row, name: str) -> bool:
    return row.choice(name, ("correct", "wrong", "incorrect")) == "correct"


def _case(source: str, question: str, truth: str | None, licence: str | None, part: str | None = None) -> Case:
    """`part`: the split of the set that the question is of; one question in two of them is two cases."""
    prefix = source.casefold().replace("-", "_")
    named: dict[str, Any] = {"extra": {"data_source": part}} if part else {}
    return Case(
        case_id=question_id(prefix, question, truth, *([part] if part else [])),
        modality="text",
        metadata=Metadata(source=source, licence=licence, split="test", **named),
        question=question,
        gold_standard=GoldStandard(answer=truth) if truth else None,
    )
