"""Files of synonyms: errors name file and line, and the shipped table is one of them."""

import json
from pathlib import Path

import pytest

from medprm.cases.answers import AnswerMatcher, AnswerSettings, answers_match
from medprm.cases.answers.synonyms import SHIPPED, read_synonyms
from medprm.cases.answers.wording import normalise
from medprm.cases.schema import Case, GoldStandard
from medprm.errors import InputError


def write(folder: Path, *lines: str) -> str:
    path = folder / "names.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_file_of_ones_own_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    path = write(tmp_path, '["water on the lung", "pleural effusion"]', "", '["PE", "pleural empyema"]')
    settings = AnswerSettings(kind="diagnosis", synonyms=path)
    assert answers_match("Water on the lung", "pleural effusion", kind="diagnosis", settings=settings)
    assert answers_match("PE", "pleural empyema", kind="diagnosis", settings=settings)
    assert not answers_match("PE", "pulmonary embolism", kind="diagnosis", settings=settings)
    assert answers_match("PE", "pulmonary embolism", kind="diagnosis")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['["a1", "b1"]', '["c1", "The B1"]'], r"names.jsonl:2: 'The B1' stands at .*names.jsonl:1 already"),
        (['["a1", "b1"'], r"names.jsonl:1: broken JSON"),
        (['{"a": "b"}'], r"names.jsonl:1: \{'a': 'b'\}; expected a JSON list of two names or more"),
        (['["a1", 2]'], r"names.jsonl:1: .*expected a JSON list"),
        (['["a1", " "]'], r"names.jsonl:1: .*expected a JSON list"),
        (['["a1", "b1"]', '["Edema", "oedema"]'], r"names.jsonl:2: .*one name, however it is written"),
        ([""], r"names.jsonl: no names"),
    ],
)
def test_an_error_names_file_and_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_synonyms(write(tmp_path, *lines))


def test_a_file_that_is_not_there_stops_before_any_work(tmp_path: Path) -> None:
    case = Case(case_id="a", modality="text", question="?", gold_standard=GoldStandard(diagnosis="asthma"))
    matcher = AnswerMatcher(AnswerSettings(synonyms=str(tmp_path / "none.jsonl")))
    with pytest.raises(InputError, match=r"answers.synonyms=.*none.jsonl: no such file"):
        matcher.check([case])
    (tmp_path / "none.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        matcher.check([case])


def test_the_shipped_table() -> None:
    groups = [json.loads(line) for line in SHIPPED.read_text().splitlines()]
    synonyms = read_synonyms()
    assert len(groups) >= 200 and len(synonyms.group_of) >= 500
    for first, *others in groups:
        assert all(answers_match(first, other, kind="diagnosis") for other in others)
    # No name of one group is that of another with a qualifier, and no short name is a word of plain English.
    assert not set(synonyms.group_of) & {
        "all",
        "as",
        "is",
        "it",
        "ten",
        "or",
        "no",
        "none",
        "left",
        "right",
        "ms",
        "ra",
    }
    assert {normalise(group[0]) for group in groups} == set(synonyms.group_of.values())
