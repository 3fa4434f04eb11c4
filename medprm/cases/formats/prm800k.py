"""PRM800K (openai/prm800k, arXiv 2305.20050, MIT): people rated the steps of solutions to MATH problems -1, 0 or 1.

A line is one labelled solution. Its trajectory is the chosen completion of every step, a person's own step where one
was written, or the wrong step at which labelling ended. Ratings: 1 correct, 0 neutral, -1 incorrect; null is unknown.
What `pre_generated_steps` has beyond the judged steps was never judged: unknown. Other completions of a step, which
phase 1 also rated, are counted and left out.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from medprm.cases.answers import answers_match
from medprm.cases.formats.labels import RATING_OF, RATINGS, first_error_of
from medprm.cases.formats.reading import Labelled, Unusable, question_id, split_of
from medprm.cases.formats.writing import THREE, Writer, gold_answer, without_images
from medprm.cases.rows import Row
from medprm.cases.schema import Case, ExpertVerdict, GoldStandard, Label, Metadata, Solution, Sources, Step

FILES = ("phase*_train.jsonl", "phase*_test.jsonl", "*.jsonl")
NO_TRAJECTORY = ("bad_problem", "give_up")
NOBODY = "prm800k_labeler"


def read_row(row: Row, left_out: Counter[str]) -> Iterator[Labelled]:
    """The one solution of a line."""
    question, label = row.row("question"), row.row("label")
    finish = label.text("finish_reason")
    if finish in NO_TRAJECTORY:
        raise Unusable(f"labelling ended with {finish}")
    expert = row.optional_text("labeler") or NOBODY
    steps = [_step(place, step, expert, left_out) for place, step in enumerate(label.rows("steps"))]
    if not steps:
        raise Unusable("no steps")
    texts = [step.content for step in steps]
    generated = [text.strip() for text in question.fields.get("pre_generated_steps") or []]
    is_whole_given = generated[: len(texts)] == texts
    if is_whole_given:
        steps += [
            Step(step_id=place, content=text, label="unknown")
            for place, text in enumerate(generated)
            if place >= len(texts) and text
        ]
    truth = question.text("ground_truth_answer")
    answer = question.optional_text("pre_generated_answer") if is_whole_given else None
    yield Labelled(
        _case(row, question, truth),
        Solution(
            answer=answer,
            is_correct=answers_match(answer, truth) if answer else None,
            solution_steps=tuple(steps),
        ),
    )


def write_row(case: Case, solution: Solution, writer: Writer) -> dict[str, Any]:
    """The line of one solution: one completion a step, up to the last step that was judged."""
    without_images(case)
    labels = solution.labels
    end = max((place + 1 for place, label in enumerate(labels) if label != "unknown"), default=0)
    judged = writer.judged(solution.model_copy(update={"solution_steps": solution.solution_steps[:end]}), THREE)
    first_error = first_error_of(solution)
    is_error_last = first_error is not None and first_error == end - 1
    experts = {one.expert_id for step in solution.solution_steps for one in (step.sources or Sources()).expert}
    steps = [
        {
            "completions": [{"text": text, "rating": RATING_OF[label], "flagged": False}],
            "human_completion": None,
            "chosen_completion": None if is_error_last and place == end - 1 else 0,
        }
        for place, (text, label) in enumerate(zip(*judged, strict=True))
    ]
    return {
        "labeler": sorted(experts)[0] if experts else NOBODY,
        "timestamp": None,
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {
            "problem": writer.statement(case),
            "ground_truth_answer": gold_answer(case),
            "pre_generated_steps": solution.step_texts,
            "pre_generated_answer": solution.answer,
        },
        "label": {"steps": steps, "total_time": None, "finish_reason": "found_error" if is_error_last else "solution"},
    }


def _case(row: Row, question: Row, truth: str) -> Case:
    problem = question.text("problem")
    return Case(
        case_id=question_id("prm800k", problem, truth),
        modality="text",
        metadata=Metadata(source="PRM800K", licence="MIT", split=split_of(row.where)),
        question=problem,
        gold_standard=GoldStandard(answer=truth),
    )


def _step(place: int, step: Row, expert: str, left_out: Counter[str]) -> Step:
    completions = step.rows("completions") if step.fields.get("completions") else []
    chosen = step.fields.get("chosen_completion")
    if chosen is None and step.fields.get("human_completion"):
        taken = step.row("human_completion")
    elif chosen is None:
        # Labelling ended here: at the completion that is wrong, or at the only one.
        wrong = [one for one in completions if one.fields.get("rating") == -1]
        if not wrong and len(completions) != 1:
            raise Unusable("no completion was chosen and none is wrong")
        taken = (wrong or completions)[0]
    else:
        if type(chosen) is not int or not 0 <= chosen < len(completions):
            raise step.error("chosen_completion", f"null or a place from 0 to {len(completions) - 1}")
        taken = completions[chosen]
    num_others = len(completions) - any(one is taken for one in completions)
    if num_others:
        left_out["completions of a step beside its trajectory"] += num_others
    label = _label(taken)
    verdicts = () if label == "unknown" else (ExpertVerdict(verdict=label, expert_id=expert),)
    if not str(taken.fields.get("text") or "").strip():
        raise Unusable("a blank step")
    return Step(
        step_id=place,
        content=taken.text("text").strip(),
        label=label,
        annotation_method="human_rating",
        sources=Sources(expert=verdicts),
    )


def _label(completion: Row) -> Label:
    rating = completion.fields.get("rating")
    if rating is None:
        return "unknown"
    if type(rating) is not int or rating not in RATINGS:
        raise completion.error("rating", "-1, 0, 1 or null")
    return RATINGS[rating]
