"""VisualPRM400K (OpenGVLab, arXiv 2503.10291): Monte Carlo counts (raw) and the + / - conversations made of them.

Raw: `steps_with_score` holds counts of rollouts. A step is correct where any rollout was right (threshold 0).
A count of 0 rollouts was never measured (the tool stopped early): unknown, though the published conversion writes `-`.
Conversation: a system message, one human turn a step, `+` or `-` from gpt. The first human turn holds the question.
ms-swift's chat has the same turns under `messages`, with the images beside.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from medprm.cases.answers import parse_answer
from medprm.cases.formats.images import case_images, image_fields, without_marks
from medprm.cases.formats.labels import SIGN_OF, SIGNS, ruled_steps
from medprm.cases.formats.reading import Labelled, Unusable, question_id, split_of
from medprm.cases.formats.writing import IMAGE, TWO, Writer, gold_answer
from medprm.cases.rows import Row
from medprm.cases.schema import Case, GoldStandard, Label, Metadata, MonteCarlo, Solution, Sources, Step

FILES = ("*.jsonl", "annotations/*.jsonl", "**/*.jsonl")
SOURCE, LICENCE = "VisualPRM400K", "MIT; images under the terms of their own sets"
QUESTION, PROCESS = "### Question:\n", "\n\n### Solution Process:\n"
RULE = "visualprm_conversation"


def read_raw(row: Row, left_out: Counter[str]) -> Iterator[Labelled]:
    """The one response of a row with its counts; blank pieces of the split response are left out and counted."""
    measured = row.rows("steps_with_score")
    planned = row.integer("num_mc_sequences") if "num_mc_sequences" in row.fields else None
    kept = [step for step in measured if str(step.fields.get("step") or "").strip()]
    if len(kept) < len(measured):
        left_out["blank pieces of a response"] += len(measured) - len(kept)
    steps = tuple(_measured_step(place, step, planned, left_out) for place, step in enumerate(kept))
    if not steps:
        raise Unusable("no steps")
    question = without_marks(row.text("question_orig" if "question_orig" in row.fields else "question"), left_out)
    truth = row.word("answer") if row.fields.get("answer") is not None else None
    yield Labelled(
        _case(row, question, truth),
        Solution(answer=parse_answer(steps[-1].content), is_correct=_outcome(steps[-1]), solution_steps=steps),
    )


def write_raw(case: Case, solution: Solution, writer: Writer) -> dict[str, Any]:
    """A raw row. Every step must have counts, or none at all (written as 0 of 0); wrong and unparsed count as wrong."""
    runs = [(step.sources or Sources()).monte_carlo for step in solution.solution_steps]
    if not any(runs):
        raise Unusable("no Monte Carlo counts, which the format asks for")
    if any(len(of_step) > 1 for of_step in runs):
        raise Unusable("several Monte Carlo runs of a step, of which the format holds one")
    if any(run.num_unparsed + run.num_truncated for of_step in runs for run in of_step):
        writer.changed["rollouts without a readable answer, written as wrong"] += 1
    counts = [(of_step[0].num_correct, of_step[0].num_total) if of_step else (0, 0) for of_step in runs]
    planned = [run.num_planned for of_step in runs for run in of_step if run.num_planned is not None]
    steps = [
        {"step": text, "score": right / total if total else 0.0, "num_mc_correct": right, "num_mc_total": total}
        for text, (right, total) in zip(solution.solution_steps, counts, strict=True)
        for text in [text.content]
    ]
    return {
        **_image_field(case),
        "question": _with_marks(case, writer),
        "answer": gold_answer(case),
        "response": "\n\n".join(solution.step_texts),
        "steps_with_score": steps,
        "num_mc_sequences": max([*planned, *(total for _, total in counts)]),
    }


def read_conversation(row: Row, left_out: Counter[str]) -> Iterator[Labelled]:
    """The one solution of a conversation."""
    turns = [(turn.text("from"), turn.text("value")) for turn in row.rows("conversations")]
    if turns and turns[0][0] == "system":
        turns = turns[1:]
    speakers = [speaker for speaker, _ in turns]
    if not turns or speakers != ["human", "gpt"] * (len(turns) // 2):
        raise Unusable("turns that are not human and gpt in turn")
    asked, signs = [text for _, text in turns[::2]], [text.strip() for _, text in turns[1::2]]
    if any(sign not in SIGNS for sign in signs):
        raise Unusable("a gpt turn other than + or -")
    question, separator, first_step = asked[0].partition(PROCESS)
    if not separator:
        raise Unusable("no header of the solution in the first turn")
    # Marks stand behind the header, or before it where the tool put them there.
    question = without_marks(question.replace(QUESTION, "", 1), left_out)
    steps = ruled_steps([first_step, *asked[1:]], [SIGNS[sign] for sign in signs], RULE, "monte_carlo_value")
    yield Labelled(_case(row, question, None), Solution(solution_steps=steps))


def write_conversation(case: Case, solution: Solution, writer: Writer) -> dict[str, Any]:
    """InternVL's training record: `image` a path or a list, marks in the first human turn, none in the system's.

    One image is written as a list too: the original's loader puts a mark into the system message for a bare path.
    """
    turns = _turns(case, solution, writer)
    conversations = [
        turn for step, sign in turns for turn in ({"from": "human", "value": step}, {"from": "gpt", "value": sign})
    ]
    if writer.system:
        conversations.insert(0, {"from": "system", "value": writer.system})
    images = [image.path for image in case.all_images]
    return {"id": -1, **({"image": images} if images else {}), "conversations": conversations}


def write_swift(case: Case, solution: Solution, writer: Writer) -> dict[str, Any]:
    """ms-swift's chat record (swift.readthedocs.io, custom datasets): `messages`, and `images` beside."""
    messages = [{"role": "system", "content": writer.system}] if writer.system else []
    for step, sign in _turns(case, solution, writer):
        messages += [{"role": "user", "content": step}, {"role": "assistant", "content": sign}]
    images = [image.path for image in case.all_images]
    return {"messages": messages, **({"images": images} if images else {})}


def _turns(case: Case, solution: Solution, writer: Writer) -> list[tuple[str, str]]:
    texts, labels = writer.judged(solution, TWO)
    first = QUESTION + _with_marks(case, writer) + PROCESS + texts[0]
    return list(zip([first, *texts[1:]], [SIGN_OF[label] for label in labels], strict=True))


def _with_marks(case: Case, writer: Writer) -> str:
    if any(image.frame is not None for image in case.all_images):
        raise Unusable("an image that is one frame of a file, which the format cannot say")
    statement = writer.statement(case)
    if IMAGE in statement:
        raise Unusable("the mark of an image inside the question")
    return f"{IMAGE}\n" * len(case.all_images) + statement


def _image_field(case: Case) -> dict[str, Any]:
    paths = [image.path for image in case.all_images]
    return {"image": paths[0] if len(paths) == 1 else paths} if paths else {}


def _measured_step(place: int, row: Row, planned: int | None, left_out: Counter[str]) -> Step:
    right, total = row.integer("num_mc_correct"), row.integer("num_mc_total")
    if not 0 <= right <= total:
        raise row.error("num_mc_correct", f"0 to num_mc_total, {total}")
    if total == 0:
        left_out["steps without a rollout: unknown, not wrong"] += 1
        return Step(step_id=place, content=row.text("step").strip(), label="unknown", sources=Sources())
    score = row.fields.get("score")
    if not isinstance(score, int | float) or abs(score - right / total) > 1e-4:
        raise row.error("score", f"num_mc_correct of num_mc_total, {right / total:g}")
    label: Label = "correct" if right else "incorrect"
    run = MonteCarlo(num_correct=right, num_wrong=total - right, num_planned=planned)
    return Step(
        step_id=place,
        content=row.text("step").strip(),
        label=label,
        annotation_method="monte_carlo_value",
        mc_score=right / total,
        sources=Sources(monte_carlo=(run,)),
    )


def _outcome(last: Step) -> bool | None:
    """The rollouts of the last step have nothing left to say but whether the response was right."""
    return {0.0: False, 1.0: True}.get(last.mc_score) if last.mc_score is not None else None


def _case(row: Row, question: str, truth: str | None) -> Case:
    images = image_fields(row)
    if not question:
        raise row.error("question", "a question beside the marks of images")
    return Case(
        case_id=question_id("visualprm", question, truth, [image.path for image in images]),
        modality="other" if images else "text",
        metadata=Metadata(source=SOURCE, licence=LICENCE, split=split_of(row.where)),
        question=question,
        gold_standard=GoldStandard(answer=truth) if truth else None,
        **case_images(images),
    )
