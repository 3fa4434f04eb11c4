"""Gates: each one shuts by itself, what was not measured has not passed, and a stage waits for the one before."""

import json
from pathlib import Path

import pytest

from medprm.annotation.gates import GATES_FILE, Facts, check_previous, gates_of, write_gates
from medprm.annotation.settings import StageSettings
from medprm.errors import InputError

GOOD = Facts(50, 2, 3, 0.7, 0.92, 0.99, 0.95, 600.0)
GATES = {
    "min_cases": 50,
    "min_modalities": 2,
    "min_experts": 3,
    "min_kappa": 0.6,
    "min_label_accuracy": 0.9,
    "min_judge_coverage": 0.98,
    "min_readable_share": 0.9,
    "max_dollars_per_10000_cases": 620.0,
}
SHUT = {
    "num_cases": 49,
    "num_modalities": 1,
    "num_experts": 2,
    "lowest_kappa": 0.59,
    "label_accuracy": 0.89,
    "judge_coverage": 0.97,
    "readable_share": 0.8,
    "dollars_per_10000_cases": 621.0,
}


def test_all_open() -> None:
    gates = gates_of(StageSettings(**GATES), GOOD)
    assert len(gates) == len(GATES) and all(one.is_passed for one in gates)
    assert gates_of(StageSettings(), GOOD) == []


@pytest.mark.parametrize("fact", SHUT)
def test_each_gate_shuts_by_itself(fact: str) -> None:
    gates = gates_of(StageSettings(**GATES), GOOD._replace(**{fact: SHUT[fact]}))
    assert [one.name for one in gates if not one.is_passed] == [fact]


@pytest.mark.parametrize("fact", ["lowest_kappa", "label_accuracy", "readable_share"])
def test_what_was_not_measured_has_not_passed(fact: str) -> None:
    (shut,) = [one for one in gates_of(StageSettings(**GATES), GOOD._replace(**{fact: None})) if not one.is_passed]
    assert str(shut).startswith(f"{fact}: not measured, wanted at least")


def test_a_stage_waits_for_the_one_before(tmp_path: Path) -> None:
    pilot = StageSettings(name="pilot", previous=str(tmp_path))
    with pytest.raises(InputError, match=r"no gates.json in it; finish a run with stage=prototype"):
        check_previous(pilot)
    settings = StageSettings(name="prototype", **GATES)
    write_gates(tmp_path, "prototype", gates_of(settings, GOOD._replace(label_accuracy=0.5)))
    with pytest.raises(
        InputError, match=r"stage prototype has not passed 1 of 8 gates \(label_accuracy: 0.5, wanted at least 0.9\)"
    ):
        check_previous(pilot)
    write_gates(tmp_path, "prototype", gates_of(settings, GOOD))
    check_previous(pilot)
    with pytest.raises(InputError, match=r"of stage 'prototype'; stage=full wants the run of stage=pilot"):
        check_previous(StageSettings(name="full", previous=str(tmp_path)))
    kept = json.loads((tmp_path / GATES_FILE).read_text())
    assert kept["gates"][0] == {"name": "num_cases", "value": 50, "wanted": 50.0, "is_most": False, "is_passed": True}


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(InputError, match=r"stage=pilot and stage.previous=None: name the folder of the prototype run"):
        StageSettings(name="pilot")
    with pytest.raises(InputError, match=r"stage=prototype and stage.previous=x: nothing comes before it"):
        StageSettings(name="prototype", previous="x")
    with pytest.raises(InputError, match=r"stage.min_kappa is 2; expected null or a share"):
        StageSettings(min_kappa=2)
