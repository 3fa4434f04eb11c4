"""Reference answers of open data: each is read back from a sentence, matches itself, and no other that differs plainly.

The counts stand in docs/annotation.md.
"""

import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pytest

from medprm.cases.answers import AnswerMatcher, answers_match, kind_of, reference_answer
from medprm.cases.schema import Case, GoldStandard

MATCHER = AnswerMatcher()
SENTENCES = ("The answer is {}.", "**Final answer:** {}", "Answer: **{}**, because the film shows it.", r"\boxed{{{}}}")


def as_case(question: str, **gold: str) -> Case:
    return Case(case_id="a", modality="text", question=question, gold_standard=GoldStandard(**gold))


def vqa_rad(folder: Path) -> list[Case]:
    rows = json.loads((folder / "splits" / "vqa_rad_chest_pack.json").read_text())
    return [as_case(row["question"], answer=str(row["answer"])) for row in rows]


def pubmed_qa(folder: Path) -> list[Case]:
    rows = json.loads((folder / "splits" / "pubmedqa_pack.json").read_text())
    return [as_case(row["QUESTION"], answer=row["final_decision"]) for row in rows.values()]


def agent_clinic(folder: Path) -> list[Case]:
    lines = (folder / "qa_agentclinic_medqa" / "agentclinic_medqa_extended.jsonl").read_text().splitlines()
    examinations = [json.loads(line)["OSCE_Examination"] for line in lines]
    return [as_case(one["Objective_for_Doctor"], diagnosis=one["Correct_Diagnosis"]) for one in examinations]


def slake(folder: Path) -> list[Case]:
    rows = json.loads((folder / "vqa_slake" / "validate.json").read_text())
    return [as_case(row["question"], answer=row["answer"]) for row in rows if row["q_lang"] == "en"]


SETS = {"vqa_rad": vqa_rad, "pubmed_qa": pubmed_qa, "agent_clinic": agent_clinic, "slake": slake}
KINDS = {
    "vqa_rad": {"yes_no": 492, "open": 257, "number": 8},
    "pubmed_qa": {"yes_no": 500},
    "agent_clinic": {"diagnosis": 214},
    "slake": {"open": 639, "yes_no": 358, "number": 56},
}
# Different to the letter, and the same answer; all other pairs of different references differ plainly.
THE_SAME = {
    ("Benign Paroxysmal Positional Vertigo (BPPV)", "Benign paroxysmal positional vertigo"),
    ("Chickenpox", "Varicella"),
    ("Chronic lymphocytic leukemia", "Chronic lymphocytic leukemia (CLL)"),
    ("Chronic obstructive pulmonary disease", "Chronic obstructive pulmonary disease (COPD)"),
    ("Hirschsprung disease", "Hirschsprung’s disease"),
    ("Transverse  Plane", "Transverse Plane"),
}


@pytest.mark.parametrize("name", SETS)
def test_each_reference_is_read_back_and_right(real_data: Path, name: str) -> None:
    cases = SETS[name](real_data)
    assert MATCHER.check(cases) == KINDS[name]
    lost = []
    for case in cases:
        reference = reference_answer(case)
        for sentence in SENTENCES:
            answer = MATCHER.read(case, sentence.format(reference))
            if MATCHER.is_right(case, answer) is not True:
                lost.append((reference, answer))
    assert lost == []


@pytest.mark.parametrize("name", SETS)
def test_only_the_same_match(real_data: Path, name: str) -> None:
    of_kind = defaultdict(set)
    for case in SETS[name](real_data):
        of_kind[kind_of(case, MATCHER.settings)].add(reference_answer(case) or "")
    matched = {
        (one, other)
        for kind, references in of_kind.items()
        for one, other in combinations(sorted(references), 2)
        if answers_match(one, other, kind=kind) and one.casefold() != other.casefold()
    }
    assert matched <= THE_SAME
    assert matched or name != "agent_clinic"
