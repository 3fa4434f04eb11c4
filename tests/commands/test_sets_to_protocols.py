"""From the files of published sets to their protocols: read, joined into one test split, given solutions, measured."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from set_folders import BUILDERS

from medprm.cases.folder import open_data
from medprm.cases.formats.med_prm import load_med_prm
from medprm.cases.formats.table import load_format
from medprm.cases.schema import CaseSolutions, Solution, Step
from medprm.commands.build_benchmark import main
from medprm.commands.make_records import make_records
from medprm.evaluation.protocol_sets import NUM_CANDIDATES, SETS
from medprm.evaluation.protocols import ProtocolInput, measure
from medprm.evaluation.scored import ScoredSolution, scored_solutions
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.steps import draw_resampling

SETTINGS = EvaluationSettings(num_bootstrap=100, num_vote_subsets=20)
READERS: Mapping[str, Mapping[str, str]] = {
    "med_prm": {
        "MedQA-4": "medqa",
        "MedQA-5": "medqa5",
        "MedMCQA": "medmcqa",
        "MMLU-Med": "mmlu_med",
        "DDXPlus": "ddxplus",
        "AgentClinic-MedQA": "agentclinic_medqa",
        "AgentClinic-NEJM": "agentclinic_nejm",
    },
    "visualprm": {
        "MMMU": "mmmu",
        "MathVista": "mathvista",
        "MathVision": "mathvision",
        "MathVerse-VO": "mathverse_vo",
        "DynaMath": "dynamath",
        "WeMath": "wemath",
        "LogicVista": "logicvista",
    },
}


def with_solutions(item: CaseSolutions, num: int) -> CaseSolutions:
    """The first candidate of each is right, and the one of the highest score."""
    steps = (Step(step_id=0, content="so"),)
    made = [
        Solution(solution_id=f"{item.case.case_id}-{k}", answer=f"{k > 0}", is_correct=k == 0, solution_steps=steps)
        for k in range(num)
    ]
    return CaseSolutions(item.case, made)


def scored(item: CaseSolutions) -> list[ScoredSolution]:
    return scored_solutions(item, [[0.9 / (k + 1)] for k in range(len(item.solutions))], "test")


def given(test: list[ScoredSolution]) -> ProtocolInput:
    return ProtocolInput([], test, 0.5, "mean", SETTINGS, draw_resampling((one.group_id for one in test), 100, 0))


def joined(protocol: str, folder: Path) -> list[CaseSolutions]:
    """The recipe's test split from the raw folders of all seven sets."""
    command = ["build", f"{protocol}_sets", "--to", str(folder / "joined")]
    for name in READERS[protocol].values():
        (folder / name).mkdir()
        BUILDERS[name](folder / name)
        make_records(name, folder / name, folder / f"{name}_records")
        command += ["--set", f"{name}={folder / f'{name}_records'}"]
    assert main(command) == 0
    return open_data(folder / "joined").split("test", require_steps=False)


@pytest.mark.parametrize("protocol", READERS)
def test_seven_sets_from_their_files_to_the_mean_of_sets(protocol: str, tmp_path: Path) -> None:
    assert tuple(READERS[protocol]) == SETS[protocol]
    cases = joined(protocol, tmp_path)
    assert all(item.case.gold_standard and item.case.gold_standard.answer for item in cases)
    num = NUM_CANDIDATES[protocol]
    found = measure(protocol, given([one for item in cases for one in scored(with_solutions(item, num))]))
    assert set(found.numbers) == {*SETS[protocol], "mean of sets"}
    part, name = ("mean of sets", "best_of_n_min" if protocol == "med_prm" else "best_of_8")
    assert found.numbers[part][name].value == 1
    assert found.words()["num_candidates"] == num
    assert found.words()["absent_sets"] == []
    if protocol == "visualprm":
        # Two variants of one question: right where both are.
        assert found.numbers["DynaMath"]["pass@1"].n == 1
        assert found.numbers["DynaMath"]["pass@1"].value == pytest.approx(1 / num**2)


def test_mathverse_whole_counts_with_its_vision_only_versions_alone(tmp_path: Path) -> None:
    BUILDERS["mathverse"](tmp_path)
    make_records("mathverse", tmp_path, tmp_path / "records")
    cases = open_data(tmp_path / "records").split("test", require_steps=False)
    words = measure("visualprm", given([one for item in cases for one in scored(with_solutions(item, 8))])).words()
    assert words["other_sources"] == {"MathVerse": 1}
    assert "MathVerse (1 cases)" in " ".join(words["notes"])


def test_med_prms_own_test_file_goes_to_its_protocol(tmp_path: Path) -> None:
    names = ("med_qa_4op", "med_qa", "medmc_qa", "mmlu_anatomy", "ddxplus", "osce", "nejm", "pubmed_qa")
    rows = [
        {"question_id": n, "data_source": name, "question": "Which? (A) x (B) y", "options": [], "ground truth": "A",
         "solutions": [{"prm_processed_solution": "Step 1: so ки", "answer": "A" if k == 0 else "B"}
                       for k in range(64)]}
        for n, name in enumerate(names)
    ]  # fmt: skip
    (tmp_path / "test.json").write_text(json.dumps(rows))
    cases = load_med_prm(tmp_path / "test.json").cases
    found = measure("med_prm", given([one for item in cases for one in scored(item)]))
    assert set(found.numbers) == {*SETS["med_prm"], "mean of sets"}
    assert found.numbers["MMLU-Med"]["pass@1"].value == pytest.approx(1 / 64)
    assert found.words()["other_sources"] == {"pubmed_qa": 1}


def test_processbenchs_files_are_its_splits(tmp_path: Path) -> None:
    def row(split: str, number: int, label: int) -> dict[str, object]:
        return {"id": f"{split}-{number}", "generator": "g", "problem": f"{split} {number}?", "steps": ["a", "b"],
                "final_answer_correct": label < 0, "label": label}  # fmt: skip

    for split in ("gsm8k", "math", "olympiadbench", "omnimath"):
        (tmp_path / f"{split}.json").write_text(json.dumps([row(split, n, n - 1) for n in range(3)]))
    cases = load_format("processbench", tmp_path).cases
    assert {item.case.metadata.source for item in cases} == {"ProcessBench"}
    # Of gsm8k's solutions every first error is found; of the others only the error-free ones are right.
    test = []
    for item in cases:
        labels = item.solutions[0].labels
        is_seen = (item.case.metadata.extra or {})["data_source"] == "gsm8k"
        scores = [0.1 if is_seen and label == "incorrect" else 0.9 for label in labels]
        test += scored_solutions(item, [scores], "test")
    found = measure("processbench", given(test)).numbers
    assert set(found) == {"all", "pooled", "gsm8k", "math", "olympiadbench", "omnimath"}
    assert found["gsm8k"]["f1"].value == 1
    assert found["math"]["f1"].value == 0
    assert found["all"]["f1"].value == pytest.approx(1 / 4)
    assert found["pooled"]["f1"].value == pytest.approx(2 * 0.25 / 1.25)


def test_processbenchs_split_comes_from_the_id_where_the_file_has_another_name(tmp_path: Path) -> None:
    row = {"generator": "g", "problem": "?", "steps": ["a"], "final_answer_correct": True, "label": -1}
    rows = [row | {"id": "omnimath-3"}, row | {"id": "math-1"}]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    cases = load_format("processbench", tmp_path).cases
    assert [(item.case.metadata.extra or {})["data_source"] for item in cases] == ["omnimath", "math"]


def test_prm_clinics_gold_note_is_chosen_among_its_dialogues_notes(tmp_path: Path) -> None:
    def row(case_id: str, signs: str, **more: object) -> dict[str, object]:
        steps = [{"Step": f"Step {place}", "Step_no": f"{place}", "Step_score": one} for place, one in enumerate(signs)]
        whole = {"Problem": "Cough", "Problem_score": "+", "Steps": steps, "Problem_completeness_score": "+"}
        gone = {"Problem": "Gone", "Problem_score": "-", "Steps": [], "Problem_completeness_score": "-"}
        about = {"Dialogue": f"about {case_id}", "Data_source": case_id[:-2], "Case_id": case_id}
        return about | {"Problems": [whole, gone], "Note_completeness_score": "-" if more else "+"} | more

    names = ("A_Verify_0", "A_Verify_1", "Dialogue_G_0")
    gold = [row(name, "++") for name in names]
    errors = [row(name, "+-", Sample_no=number) for name in names for number in range(3)]
    for kind, rows in (("gold", gold), ("error", [*errors, row("A_Verify_0", "", Sample_no=3)])):
        (tmp_path / f"verificaiton_tasks_{kind}.json").write_text(json.dumps(rows))
    reading = load_format("prm_clinic", tmp_path)
    assert reading.refused == {"no steps": 1}
    assert reading.left_out["the name of a problem whose steps were all taken away"] == 12
    assert {item.case.metadata.split for item in reading.cases} == {"test"}
    assert (
        sorted(one.is_correct or False for item in reading.cases for one in item.solutions) == [False] * 9 + [True] * 3
    )
    test = []
    for item in reading.cases:
        is_seen = item.case.case_id != "prm_clinic_Dialogue_G_0"
        scores = [[0.9, 0.8 if is_seen and one.is_correct else 0.3] for one in item.solutions]
        test += scored_solutions(item, scores, "test")
    found = measure("prm_clinic", given(test)).numbers
    assert found["A_Verify"]["note_selection"].value == 1
    assert found["Dialogue_G"]["note_selection"].value == found["all"]["note_selection_by_chance"].value == 1 / 4
    assert found["all"]["note_selection"].value == pytest.approx((1 + 1 + 1 / 4) / 3)
