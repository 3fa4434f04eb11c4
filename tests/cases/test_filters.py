"""Quality filters: each leaves out what it names, counts it, and touches nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from medprm.cases.answers import AnswerMatcher
from medprm.cases.filters.cases import TextIndex, filter_cases
from medprm.cases.filters.counts import check_is_training
from medprm.cases.filters.labels import filter_labelled
from medprm.cases.filters.settings import FilterSettings
from medprm.cases.filters.solutions import filter_solutions, has_repeated_step, repeated_share
from medprm.cases.fingerprints import normalised
from medprm.cases.jsonl import write_cases
from medprm.cases.schema import CaseSolutions, from_json
from medprm.errors import InputError

MATCHER = AnswerMatcher()


def case(name: str, *solutions: dict[str, Any], **changes: Any) -> CaseSolutions:
    value = {"case_id": name, "modality": "text", "question": f"question of {name}", "options": ["A1", "B2"]}
    value |= changes
    found = [from_json(value | {"solution_id": f"s{number}"} | one).solution() for number, one in enumerate(solutions)]
    return CaseSolutions(from_json(value).case(), found)


def steps(*texts: str, labels: str = "") -> dict[str, Any]:
    """`labels`: a sign a step, + correct, - incorrect, ? unknown."""
    words = {"+": "correct", "-": "incorrect", "?": "unknown"}
    found: list[dict[str, Any]] = [{"step_id": place, "content": text} for place, text in enumerate(texts)]
    for step, sign in zip(found, labels, strict=False):
        step["label"] = words[sign]
    return {"solution_steps": found}


def ids(cases: list[CaseSolutions]) -> dict[str, list[str | None]]:
    return {item.case.case_id: [one.solution_id for one in item.solutions] for item in cases}


GOOD = steps("a finding", "so it is this", "The answer is A1.")


@pytest.mark.parametrize(
    ("settings", "bad", "reason"),
    [
        ({"min_steps": 3}, steps("one", "The answer is A1."), "fewer than 3 steps"),
        ({"max_steps": 3}, steps("1a", "2b", "3c", "The answer is A1."), "more than 3 steps"),
        ({"refuse_repeated_steps": True}, steps("Step 1: A mass.", "Step 2: a mass", "The answer is A1."), "repeats"),
        ({"refuse_repeated_steps": True}, steps("a mass", "...", "The answer is A1."), "says nothing"),
        ({"max_repeated_share": 0.5}, steps("a b c d " * 10, "The answer is A1."), "a loop"),
        ({"refuse_unparsed": True}, steps("a", "It could be either."), "no answer that can be read"),
        ({"duplicates": True}, GOOD, "the same solution twice"),
    ],
)
def test_each_filter_leaves_out_what_it_names(settings: dict[str, Any], bad: dict[str, Any], reason: str) -> None:
    item = case("c", GOOD, bad)
    assert ids(filter_solutions([item], FilterSettings(), MATCHER).cases) == {"c": ["s0", "s1"]}
    found = filter_solutions([item], FilterSettings(**settings), MATCHER)
    assert ids(found.cases) == {"c": ["s0"]}
    assert list(found.counts.left_out.values()) == [1] and reason in next(iter(found.counts.left_out))
    again = filter_solutions(found.cases, FilterSettings(**settings), MATCHER)
    assert again.cases == found.cases and not again.counts.left_out


def test_an_answer_that_is_given_need_not_be_read_and_cases_without_solutions_stay() -> None:
    given = case("c", steps("a", "It could be either.") | {"answer": "A1"})
    found = filter_solutions([given, case("bare")], FilterSettings(refuse_unparsed=True, min_steps=1), MATCHER)
    assert ids(found.cases) == {"c": ["s0"], "bare": []}


def test_a_case_that_loses_all_solutions_is_counted_and_ids_are_those_by_place() -> None:
    short, bare = case("short", steps("one")), case("c", steps("x y"), GOOD)
    unnamed = CaseSolutions(bare.case, [one.model_copy(update={"solution_id": None}) for one in bare.solutions])
    found = filter_solutions([short, unnamed], FilterSettings(min_steps=2), MATCHER)
    assert ids(found.cases) == {"c": ["c-1"]}
    assert found.counts.cases_left_out == {"no solution left": 1} and found.counts.num_solutions_read == 3


def test_repetition_is_a_share_of_what_stood_before() -> None:
    assert has_repeated_step(["Step 1: No mass", "step 2: no MASS!"]) and not has_repeated_step(["left", "right"])
    assert repeated_share(["the heart is not enlarged", "the lung is clear of masses"]) == 0
    assert repeated_share(["one two three four"] * 2) == 1.0
    assert repeated_share(["short"]) == 0


def test_near_texts_are_found_and_others_are_not() -> None:
    generator = np.random.default_rng(0)
    words = [f"w{number}" for number in range(400)]
    texts = [" ".join(generator.choice(words, 60)) for _ in range(200)]
    index = TextIndex(0.8)
    for text in texts:
        index.add(text)
    near = [" ".join([*text.split()[:-2], "other", "end"]) for text in texts]
    assert sum(index.find(text) for text in near) >= 199
    far = [" ".join(generator.choice(words, 60)) for _ in range(200)]
    assert not any(index.find(text) for text in far)
    exact = TextIndex(1.0)
    exact.add(texts[0])
    assert exact.find(texts[0]) and not exact.find(near[0])


def image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 24), dtype=np.uint8)).save(path)


def test_doubles_of_cases_are_told_by_pixels_and_words(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 0)
    image(tmp_path / "b.png", 1)
    PillowImage.open(tmp_path / "a.png").convert("RGB").save(tmp_path / "copy.png", compress_level=1)
    same = {"question": "What is seen?"}
    cases = [
        case("first", GOOD, **same, images=[{"path": "a.png"}]),
        case("copy", GOOD, GOOD, **(same | {"question": "what is SEEN"}), images=[{"path": "copy.png"}]),
        case("other image", GOOD, **same, images=[{"path": "b.png"}]),
        case("other question", GOOD, question="Which side?", images=[{"path": "a.png"}]),
        case("other context", GOOD, **same, images=[{"path": "a.png"}], clinical_context={"age": 60}),
    ]
    found = filter_cases(cases, tmp_path, FilterSettings(duplicates=True))
    assert list(ids(found.cases)) == ["first", "other image", "other question", "other context"]
    assert found.counts.left_out == {"the same case twice": 2} and found.counts.cases_left_out == {
        "the same case twice": 1
    }


def test_what_an_evaluation_set_holds_is_left_out(tmp_path: Path) -> None:
    image(tmp_path / "held" / "x.png", 0)
    image(tmp_path / "train" / "renamed.png", 0)
    image(tmp_path / "train" / "own.png", 1)
    long = "a man of sixty has had fever and cough for three days and now breathes fast what is the best next step"
    held = [
        case("h1", GOOD, patient_id="p1", metadata={"source": "x"}, images=[{"path": "x.png"}], question="What?"),
        case("h2", GOOD, question=long),
    ]
    write_cases(tmp_path / "held" / "test.jsonl", held)
    cases = [
        case("patient", GOOD, patient_id="p1", metadata={"source": "x"}),
        case("namesake", GOOD, patient_id="p1", metadata={"source": "y"}),
        case("pixels", GOOD, images=[{"path": "renamed.png"}], question="Another?"),
        case("words", GOOD, question=long.replace("fast", "quickly")),
        case("own", GOOD, images=[{"path": "own.png"}], question="What?"),
    ]
    settings = FilterSettings(held_out=[str(tmp_path / "held" / "test.jsonl")], held_out_similarity=0.7)
    found = filter_cases(cases, tmp_path / "train", settings)
    assert list(ids(found.cases)) == ["namesake", "own"]
    assert sorted(found.counts.cases_left_out) == [
        "a patient of an evaluation set",
        "a question of an evaluation set",
        "an image of an evaluation set",
    ]


RIGHT, WRONG = {"is_correct": True}, {"is_correct": False}


def test_med_prms_balance() -> None:
    right, wrong = steps("a", "b", labels="++") | RIGHT, steps("a", "b", labels="+-") | WRONG
    silent = steps("a", "b", labels="++") | WRONG
    settings = FilterSettings(refuse_wrong_without_error=True, max_right_per_case=2)
    found = filter_labelled(
        [case("few wrong", *[right] * 5, wrong), case("many wrong", *[right] * 5, *[wrong] * 4), case("s", silent)],
        settings,
    )
    kept = {item.case.case_id: [one.is_correct for one in item.solutions] for item in found.cases}
    assert kept["few wrong"].count(True) == 2 and kept["few wrong"].count(False) == 1
    assert kept["many wrong"].count(True) == 4 and kept["many wrong"].count(False) == 4 and "s" not in kept
    assert found.counts.left_out == {
        "right solutions of a case beyond the wrong ones": 4,
        "a wrong answer and no incorrect step": 1,
    }
    unjudged = case("u", *[steps("a", labels="+")] * 5)
    assert filter_labelled([unjudged], settings).cases == [unjudged]


def test_the_share_of_correct_steps_is_met_without_giving_up_errors() -> None:
    cases = [case(f"c{n}", steps("a", "b", labels="++"), steps("a", "b", labels="+-")) for n in range(20)]
    found = filter_labelled(cases, FilterSettings(max_correct_step_share=0.6))
    labels = [label for item in found.cases for one in item.solutions for label in one.labels]
    assert labels.count("incorrect") == 20 and labels.count("correct") == 30
    fewest = filter_labelled(cases, FilterSettings(max_correct_step_share=0.1))
    assert fewest.counts.num_solutions_kept == 20


def test_evaluation_sets_are_never_filtered() -> None:
    with pytest.raises(InputError, match=r"test.jsonl: an evaluation set by its name, and filters.min_steps would"):
        check_is_training([case("c", GOOD)], Path("folder/test.jsonl"), ["min_steps"])
    with pytest.raises(InputError, match="case c: of the validation split"):
        check_is_training([case("c", GOOD, metadata={"split": "validation"})], Path("cases.jsonl"), ["min_steps"])
    check_is_training([case("c", GOOD, metadata={"split": "train"})], Path("cases.jsonl"), ["min_steps"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_steps": 9, "max_steps": 3}, "nothing is left"),
        ({"near_duplicates": 0.9}, "filters.duplicates=false"),
        ({"held_out_similarity": 0.5}, "names no file"),
        ({"max_correct_step_share": 0.0}, "expected above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FilterSettings(**settings)


def test_normalised_text_keeps_letters_of_any_script() -> None:
    assert normalised("  Ｗhat's\tSEEN — größe 5,0?") == "what s seen grösse 5 0"
