"""Med-PRM's records (arXiv 2506.11474), training and test: questions with solutions, of training with four label kinds.

In: its JSON, a list of questions. Out: text cases with their solutions, every source kept and none fused:
`prm_soft_label` is k of 16 rollouts, kept as counts; `prm_hard_label` a rule; `prm_gemini_label` and `prm_llama_label`
judges; `orm_label` the outcome, at the last step. Steps end with the step token. A list of labels of another length
than the steps (a judge that counted sentences) is left out and counted; the solution and its other sources stay.
The test file has no labels, options glued into the question, and the answer under `ground truth`; its sets get the
names that the paper calls them by.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medprm.cases.answers import answers_match
from medprm.cases.formats.reading import Unusable
from medprm.cases.formats.writing import Writer, Writing, gold_answer, without_images
from medprm.cases.parsing import RecordError, parse_json
from medprm.cases.reading import Reading
from medprm.cases.schema import (
    Case,
    CaseSolutions,
    Document,
    GoldStandard,
    JudgeVerdict,
    Label,
    Metadata,
    MonteCarlo,
    RuleVerdict,
    Solution,
    Sources,
    Step,
)

STEP_TOKEN = " ки"
NUM_ROLLOUTS = 16
JUDGES = {"prm_gemini_label": "gemini-2.0-flash", "prm_llama_label": "llama"}
HARD_RULE, OUTCOME_RULE = "prm_hard_label", "orm_label"
VERDICTS: dict[Any, Label] = {1: "correct", 0: "incorrect"}
TEST_ANSWER = "ground truth"
# `data_source` of the test file to the paper's name; MMLU's subjects come one by one.
TEST_SETS = {
    "med_qa_4op": "MedQA-4",
    "med_qa": "MedQA-5",
    "medmc_qa": "MedMCQA",
    "ddxplus": "DDXPlus",
    "osce": "AgentClinic-MedQA",
    "nejm": "AgentClinic-NEJM",
}
MMLU_PREFIX, MMLU = "mmlu_", "MMLU-Med"


def load_med_prm(path: str | Path) -> Reading:
    """The cases of a file; `refused` counts solutions without steps, `left_out` lists of labels that do not fit."""
    path = Path(path)
    questions = parse_json(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(questions, list):
        raise RecordError(f"{path}: expected a list of questions")
    refused: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    cases, num_read = [], 0
    for place, question in enumerate(questions):
        where = f"{path} question {place}"
        rows = _field(question, "solutions", list, where)
        num_read += len(rows)
        solutions = [
            one
            for number, row in enumerate(rows)
            if (one := _solution(row, number, question, where, refused, left_out))
        ]
        cases.append(CaseSolutions(_case(question, where), solutions))
    return Reading(cases, num_read, dict(refused), dict(left_out))


def write_med_prm(cases: Iterable[CaseSolutions], writer: Writer) -> Writing:
    """Questions with their solutions, as in the training file. A kind of label that some step lacks is left out."""
    rows, num_read = [], 0
    for case, solutions in cases:
        written: list[dict[str, Any]] = []
        for solution in solutions:
            num_read += 1
            try:
                written.append(_row_of(without_images(case), solution, writer))
            except Unusable as reason:
                writer.refused[str(reason)] += 1
        if written:
            rows.append(
                {
                    "question_id": case.case_id,
                    "data_source": case.metadata.source,
                    "question": writer.statement(case.model_copy(update={"options": ()})),
                    "options": list(case.options),
                    "correct_answer": gold_answer(case),
                    "related_docs": [document.text for document in case.documents],
                    "solutions": written,
                }
            )
    return Writing(rows, num_read, writer.refused, +writer.changed)


def _row_of(case: Case, solution: Solution, writer: Writer) -> dict[str, Any]:
    gold_answer(case)
    texts = solution.step_texts
    if not texts:
        raise Unusable("no steps")
    if any(STEP_TOKEN.strip() in text for text in texts):
        raise Unusable("the step token in a text")
    sources = [step.sources or Sources() for step in solution.solution_steps]
    lists: dict[str, list[Any] | None] = {
        "prm_soft_label": _whole([_share(one) for one in sources]),
        HARD_RULE: _whole([_sign(one.rule, HARD_RULE) for one in sources]),
        **{name: _whole([_sign(one.judge, model) for one in sources]) for name, model in JUDGES.items()},
    }
    for name, found in lists.items():
        writer.changed[f"solutions written without {name}, which not every step has"] += found is None
    marked = " ".join(f"{text}{STEP_TOKEN}" for text in texts)
    whole = " ".join(texts)
    outcome = {} if solution.is_correct is None else {"orm_label": int(solution.is_correct)}
    return {
        "solution": whole,
        "prm_processed_solution": marked,
        "orm_processed_solution": whole + STEP_TOKEN,
        "answer": solution.answer,
        **{name: found for name, found in lists.items() if found is not None},
        **outcome,
    }


def _whole(found: list[Any]) -> list[Any] | None:
    return None if None in found else found


def _share(sources: Sources) -> float | None:
    runs = sources.monte_carlo
    is_sixteen = len(runs) == 1 and runs[0].num_correct + runs[0].num_wrong == NUM_ROLLOUTS
    return runs[0].num_correct / NUM_ROLLOUTS if is_sixteen else None


def _sign(verdicts: Sequence[JudgeVerdict] | Sequence[RuleVerdict], name: str) -> int | None:
    said = [one.verdict for one in verdicts if name == (one.model if isinstance(one, JudgeVerdict) else one.rule)]
    return {"correct": 1, "incorrect": 0}.get(said[0]) if len(said) == 1 else None


def _answer_name(question: Mapping[str, Any]) -> str:
    return TEST_ANSWER if "correct_answer" not in question and TEST_ANSWER in question else "correct_answer"


def _metadata(question: Mapping[str, Any]) -> Metadata:
    """The source as the file says it; of the test file also the paper's name of the set."""
    source = question.get("data_source")
    is_test = _answer_name(question) == TEST_ANSWER
    name = MMLU if str(source).startswith(MMLU_PREFIX) else TEST_SETS.get(str(source))
    return Metadata(source=source, extra={"data_source": name}) if is_test and name else Metadata(source=source)


def _case(question: Mapping[str, Any], where: str) -> Case:
    options = tuple(str(one) for one in question.get("options") or () if str(one).strip())
    documents = [str(one) for one in question.get("related_docs") or () if str(one).strip()]
    return Case(
        case_id=str(_field(question, "question_id", (str, int), where)),
        modality="text",
        metadata=_metadata(question),
        question=_field(question, "question", str, where),
        options=options,
        documents=tuple(Document(document_id=f"doc-{n}", text=text) for n, text in enumerate(documents)),
        gold_standard=GoldStandard(answer=str(_field(question, _answer_name(question), (str, int), where))),
    )


def _solution(
    row: Any, number: int, question: Mapping[str, Any], where: str, refused: Counter[str], left_out: Counter[str]
) -> Solution | None:
    where = f"{where} solution {number}"
    pieces = str(_field(row, "prm_processed_solution", str, where)).split(STEP_TOKEN)
    texts = [piece.strip() for piece in pieces if piece.strip()]
    if not texts:
        refused["no steps"] += 1
        return None
    labels = {name: _labels(row, name, len(texts), left_out) for name in ("prm_soft_label", HARD_RULE, *JUDGES)}
    outcome = VERDICTS.get(row.get("orm_label"))
    answer = None if row.get("answer") is None else str(row["answer"])
    is_correct = {"correct": True, "incorrect": False}.get(outcome or "")
    if is_correct is None and answer:
        is_correct = answers_match(answer, str(question[_answer_name(question)]), question.get("options") or ())
    steps = tuple(
        Step(step_id=i, content=text, sources=_sources(labels, i, outcome if i == len(texts) - 1 else None, where))
        for i, text in enumerate(texts)
    )
    return Solution(
        solution_id=f"{question['question_id']}-{number}", answer=answer, is_correct=is_correct, solution_steps=steps
    )


def _labels(row: Mapping[str, Any], name: str, num_steps: int, left_out: Counter[str]) -> Sequence[Any] | None:
    found = row.get(name)
    if not isinstance(found, list) or not found:
        left_out[f"{name}, which is missing"] += 1
        return None
    if len(found) != num_steps:
        left_out[f"{name}, which has another length than the steps"] += 1
        return None
    return found


def _sources(labels: Mapping[str, Sequence[Any] | None], i: int, outcome: Label | None, where: str) -> Sources:
    judges = [(model, given[i]) for name, model in JUDGES.items() if (given := labels[name]) is not None]
    soft, hard = labels["prm_soft_label"], labels[HARD_RULE]
    return Sources(
        judge=tuple(JudgeVerdict(verdict=_verdict(value, where), model=model) for model, value in judges),
        monte_carlo=() if soft is None else (_counts(soft[i], where),),
        rule=() if hard is None else (RuleVerdict(verdict=_verdict(hard[i], where), rule=HARD_RULE),),
        outcome=() if outcome is None else (RuleVerdict(verdict=outcome, rule=OUTCOME_RULE),),
    )


def _verdict(value: Any, where: str) -> Label:
    if value not in VERDICTS:
        raise RecordError(f"{where}: label {value!r}; expected 0 or 1")
    return VERDICTS[value]


def _counts(share: Any, where: str) -> MonteCarlo:
    """k of 16; a share that is no sixteenth is refused, since its counts are not known."""
    right = share * NUM_ROLLOUTS if isinstance(share, int | float) else -1.0
    if not 0 <= right <= NUM_ROLLOUTS or abs(right - round(right)) > 1e-6:
        raise RecordError(f"{where}: prm_soft_label {share!r}; expected k/{NUM_ROLLOUTS}")
    return MonteCarlo(
        num_correct=round(right), num_wrong=NUM_ROLLOUTS - round(right), num_planned=NUM_ROLLOUTS, policy="med_prm"
    )


def _field(row: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(row, dict) or not isinstance(row.get(name), kind):
        raise RecordError(f"{where}: no {name} of the expected kind")
    return row[name]
