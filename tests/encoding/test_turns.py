"""The text of a case: complete, in a fixed order, and nothing but the whitelist."""

from tiny import full_record

from medprm.cases.schema import ClinicalContext
from medprm.encoding.prompts import PROMPTS
from medprm.encoding.turns import build_turns, render_context


def test_context_is_one_line_in_a_fixed_order() -> None:
    context = ClinicalContext(
        vitals={"temp": "38.5C", "spo2": "92%"},
        symptoms=("cough", "fever"),
        history=("smoker",),
        sex="M",
        age=63,
        laboratory={"crp": 12.5},
        note="seen at night",
    )
    assert render_context(context) == (
        "Context: age 63, sex M; symptoms: cough, fever; history: smoker; vitals: spo2 92%, temp 38.5C; "
        "laboratory: crp 12.5; seen at night.\n"
    )
    assert render_context(ClinicalContext()) == ""
    assert render_context(ClinicalContext(age=0)) == "Context: age 0.\n"
    assert render_context(ClinicalContext(age_group="60-70")) == "Context: age 60-70.\n"


def test_the_order_of_measurements_in_the_file_does_not_matter() -> None:
    one, two = ClinicalContext(vitals={"a": 1, "b": 2}), ClinicalContext(vitals={"b": 2, "a": 1})
    assert render_context(one) == render_context(two)


def test_turn_0_holds_every_part() -> None:
    case = full_record().case()
    turns = build_turns(case, ["first", "second"], PROMPTS["medprm"], ["passage"])
    assert turns.documents == ("Document 1: passage\n",)
    assert turns.statement == (
        "Context: age 63, sex M; symptoms: cough, fever; vitals: temp 38.5C.\n"
        "Question: What is seen?\n(A) pneumonia (B) effusion\n### Solution Process:\n"
    )
    assert turns.steps == ("first", "second")


def test_visualprm_presets_keep_the_original_headers() -> None:
    case = full_record(options=[], clinical_context={}).case()
    for name in ("visualprm_paper", "visualprm_v1"):
        turns = build_turns(case, ["first"], PROMPTS[name], [])
        assert turns.opening + turns.statement == "### Question:\nWhat is seen?\n\n### Solution Process:\n"


def test_the_medprm_preset_is_short() -> None:
    assert len(PROMPTS["medprm"].system.split()) <= 20
