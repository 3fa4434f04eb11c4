"""Med-PRM's records come in with every source kept; the shares left open are those counted by hand."""

import json
from pathlib import Path

import pytest

from medprm.annotation.consensus import label_steps
from medprm.annotation.settings import ConsensusSettings
from medprm.cases.formats.med_prm import load_med_prm
from medprm.cases.parsing import RecordError
from medprm.cases.schema import Sources

# One solution a line: judges, soft labels (of 16), outcome. By hand, brief's rule, with the two judges' majority:
SOLUTIONS = [
    # right answer: all judges +, as in the published file; 16, 12 > 0.7 settle; 8 is open -> 1 of 3 open
    ([1, 1, 1], [1, 1, 1], [8, 12, 16], 1),
    # wrong answer: + with 16 settles; judges disagree -> open; both - with 4 (0.25) settles; both - with 8 -> open;
    # both - with 0 settles -> 2 of 5 open
    ([1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [16, 8, 4, 8, 0], 0),
    # a judge that counted sentences: its list is left out, the other's verdict stands -> + with 4: open -> 1 of 2 open
    ([1, 1, 1, 1, 1, 1], [1, 0], [4, 0], 0),
]
FIELDS = ("prm_gemini_label", "prm_llama_label")


def write(path: Path, **changes: object) -> Path:
    rows = []
    for gemini, llama, soft, outcome in SOLUTIONS:
        steps = [f"Step {i + 1}: text." for i in range(len(soft))]
        rows.append(
            {
                "solution": " ".join(steps),
                "prm_processed_solution": " ".join(f"{one} ки" for one in steps),
                "answer": "A" if outcome else "B",
                "prm_soft_label": [one / 16 for one in soft],
                "prm_hard_label": [int(one > 0) for one in soft],
                "prm_gemini_label": gemini,
                "prm_llama_label": llama,
                "orm_label": outcome,
            }
            | changes
        )
    question = {
        "question_id": 7, "data_source": "med_qa", "question": "Which?", "options": ["x", "y"], "correct_answer": "A",
        "related_docs": ["A passage."], "solutions": rows,
    }  # fmt: skip
    path.write_text(json.dumps([question]))
    return path


def test_every_source_is_kept(tmp_path: Path) -> None:
    reading = load_med_prm(write(tmp_path / "train.json"))
    (item,) = reading.cases
    assert (reading.num_read, reading.num_kept) == (3, 3)
    assert not reading.refused
    assert reading.left_out == {"prm_gemini_label, which has another length than the steps": 1}
    assert item.case.documents[0].text == "A passage." and item.case.metadata.source == "med_qa"
    for solution, (gemini, llama, soft, outcome) in zip(item.solutions, SOLUTIONS, strict=True):
        assert len(solution.solution_steps) == len(soft) and solution.is_correct == bool(outcome)
        for i, step in enumerate(solution.solution_steps):
            assert step.sources is not None and step.label is None
            (counts,) = step.sources.monte_carlo
            assert (counts.num_correct, counts.num_total) == (soft[i], 16)
            assert step.sources.rule[0].verdict == ("correct" if soft[i] else "incorrect")
            verdicts = [one.verdict for one in step.sources.judge]
            wanted = ([gemini[i]] if len(gemini) == len(soft) else []) + [llama[i]]
            assert verdicts == ["correct" if one else "incorrect" for one in wanted]
            assert bool(step.sources.outcome) == (i == len(soft) - 1)


def test_the_open_shares_are_those_counted_by_hand(tmp_path: Path) -> None:
    (item,) = load_med_prm(write(tmp_path / "train.json")).cases
    open_steps = []
    for solution in item.solutions:
        sources = [step.sources or Sources() for step in solution.solution_steps]
        labelled = label_steps(solution.solution_steps, sources, ConsensusSettings())
        open_steps.append(sum(step.label == "unknown" for step in labelled))
    assert open_steps == [1, 2, 1]  # 4 of 10 in all, 3 of 7 where the answer is wrong


@pytest.mark.parametrize("bad", [{"prm_soft_label": [0.3, 0.5, 1]}, {"prm_llama_label": [2, 1, 1]}])
def test_labels_of_another_kind_are_refused(bad: dict, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="question 0 solution 0"):
        load_med_prm(write(tmp_path / "train.json", **bad))
