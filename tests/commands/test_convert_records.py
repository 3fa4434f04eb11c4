"""Records out in published formats from the command line: counts shown, nothing replaced, one line for mistakes."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medprm.cases.formats.table import load_format
from medprm.cases.jsonl import write_cases
from medprm.cases.schema import Case, CaseSolutions, ClinicalContext, GoldStandard, Image, Label, Solution, Step
from medprm.commands.convert_records import main


def records(folder: Path, **fields: Any) -> Path:
    case = Case(
        case_id="c", modality="text", question="What is it?", options=("pneumonia", "effusion"),
        clinical_context=ClinicalContext(age=63, sex="M"), gold_standard=GoldStandard(answer="effusion"), **fields,
    )  # fmt: skip
    labels: list[list[Label]] = [["correct", "incorrect"], ["correct", "neutral"], ["incorrect", "unknown"]]
    solutions = [
        Solution(
            solution_id=f"s{number}",
            is_correct=False,
            solution_steps=tuple(
                Step(step_id=place, content=f"step {place}", label=label) for place, label in enumerate(of_solution)
            ),
        )
        for number, of_solution in enumerate(labels)
    ]
    path = folder / "records.jsonl"
    write_cases(path, [CaseSolutions(case, solutions)])
    return path


def test_counts_are_shown_and_the_prompt_holds_context_and_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.jsonl"
    assert main(["trl", "--from", str(records(tmp_path)), "--to", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "trl: 3 solutions read, 1 written" in shown
    assert "refused 1: a neutral step, which the format has no word for" in shown
    assert "refused 1: a step without a label, which the format has no word for" in shown
    (row,) = [json.loads(line) for line in target.read_text().splitlines()]
    assert row == {
        "prompt": "Context: age 63, sex M.\nWhat is it?\n(A) pneumonia (B) effusion",
        "completions": ["step 0", "step 1"],
        "labels": [True, False],
    }


def test_told_how_to_write_what_the_format_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.parquet"
    told = ["--unknown", "truncate", "--neutral", "correct"]
    assert main(["trl", "--from", str(records(tmp_path)), "--to", str(target), *told]) == 0
    assert "changed 1: steps from the first unknown one on, cut" in capsys.readouterr().out
    assert [row["labels"] for row in pq.read_table(target).to_pylist()] == [[True, False], [True, True], [False]]
    assert load_format("trl", target).num_kept == 3


def test_from_one_published_format_to_another(tmp_path: Path) -> None:
    first = tmp_path / "trl.json"
    first.write_text(json.dumps([{"prompt": "Q?", "completions": ["a", "b"], "labels": [True, False]}]))
    second = tmp_path / "chat.jsonl"
    assert main(["swift", "--read", "trl", "--from", str(first), "--to", str(second)]) == 0
    row = json.loads(second.read_text())
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert [message["content"] for message in row["messages"][2::2]] == ["+", "-"]


@pytest.mark.parametrize(
    ("arguments", "fields", "message"),
    [
        (["trl", "--to", "out.csv"], {}, "out.csv: expected a name that ends in .jsonl, .json, .parquet"),
        (["trl", "--to", "records.jsonl"], {}, "records.jsonl exists; give another --to, or --overwrite"),
        (["visualprm_raw", "--to", "x.jsonl"], {}, "(3: no Monte Carlo counts, which the format asks for)"),
        (
            ["trl", "--to", "x.jsonl"],
            {"image": Image(path="a.png")},
            "no solution can be written as trl (1: images, which",
        ),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str],
    fields: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = records(tmp_path, **fields)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main([*arguments, "--from", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("convert_records: ")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
