"""The report: self-contained, escaped, the same for the same numbers, with the cases its rule promises."""

import io
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from review_browser import browser, errors_of

from medprm.cases.schema import Case, ClinicalContext, Document, GoldStandard
from medprm.errors import InputError
from medprm.evaluation.comparison import Differences, Run, write_comparison
from medprm.evaluation.metrics import evaluate_scored
from medprm.evaluation.report import About, Shown, write_report
from medprm.evaluation.scored import ScoredSolution, group_by_case
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.shown_cases import majority_of, pick_cases, pick_of, score_colour

SETTINGS = EvaluationSettings(num_bootstrap=200, num_vote_subsets=50)
ABOUT = About("Title", ["A note"], SETTINGS)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}</li>"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags, their attributes and whether they close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"closes nothing: {tag}"
        assert self.open.pop() == tag


def grey_png(case_id: str) -> list[bytes]:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 90).save(buffer, format="PNG")
    return [buffer.getvalue()]


def cases_of(solutions: list[ScoredSolution], text: str = "plain") -> dict[str, Case]:
    return {
        one.case_id: Case(
            case_id=one.case_id,
            modality="chest_xray",
            clinical_context=ClinicalContext(age=61, symptoms=("cough", text), vitals={"temperature": 38.5}),
            question=f"What is the diagnosis? {text}",
            options=("A", "B", "C"),
            documents=(Document(document_id="d1", title="Guideline", text=f"The rule. {text}"),),
            gold_standard=GoldStandard(answer="A"),
        )
        for one in solutions
    }


@pytest.fixture(scope="module")
def page(make_solutions, tmp_path_factory) -> str:
    test = make_solutions()
    hostile = replace(
        test[0], step_texts=[HOSTILE] * len(test[0].labels), answer=HOSTILE, categories=[HOSTILE] * len(test[0].labels)
    )
    test[0] = hostile
    metrics = evaluate_scored(make_solutions(20, 8, 1, "validation"), test, SETTINGS)
    path = tmp_path_factory.mktemp("report") / "report.html"
    settings = replace(SETTINGS, num_report_cases=30)
    about = About(f"Title {HOSTILE}", [f"Note {HOSTILE}"], settings)
    write_report(path, metrics, test, about, Shown(cases_of(test, HOSTILE), grey_png))
    return path.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_asks_the_network_for_nothing(page: str) -> None:
    tags = Page(page).tags
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,", "data:text/csv;base64,")), (
                f"<{tag} {name}={value[:60]}>"
            )
    styles = re.findall(r"url\((.)", page) + re.findall(r"@import", page)
    assert set(styles) <= {"#"}


def test_hostile_text_is_shown_and_not_run(page: str) -> None:
    assert "<script" not in page
    assert "onerror=" in page, "the text itself is shown"
    for _, attributes in Page(page).tags:
        assert not any(name.startswith("on") for name in attributes)
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7 * 7 }}" in page


def test_ids_are_unique(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_promised_part_is_there(page: str) -> None:
    tags = Page(page).tags
    assert sum(tag == "svg" for tag, _ in tags) == 5
    assert sum(tag == "article" for tag, _ in tags) == 30
    assert sum(tag == "img" for tag, _ in tags) == 30
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    for text in ("macro F1", "majority vote", "oracle", "all correct", "base rate", "200 resamples"):
        assert text in page
    for mark in ("✓ correct", "✗ incorrect", "? unknown", "– neutral"):
        assert mark in page
    assert "missed error" in page


def test_the_same_numbers_give_the_same_page(make_solutions, tmp_path: Path) -> None:
    test = make_solutions(12, 4)
    metrics = evaluate_scored([], test, SETTINGS)
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, metrics, test, ABOUT, Shown(cases_of(test), grey_png))
    text = (tmp_path / "a.html").read_text()
    assert text == (tmp_path / "b.html").read_text()
    assert text.count("<article") == 12


def test_a_set_without_best_of_n_or_images_still_has_a_report(make_solutions, tmp_path: Path) -> None:
    test = [replace(one, is_correct=None, answer=None) for one in make_solutions(9, 1)]
    metrics = evaluate_scored([], test, SETTINGS)
    write_report(tmp_path / "r.html", metrics, test, ABOUT, Shown(cases_of(test), lambda case_id: []))
    text = (tmp_path / "r.html").read_text()
    Page(text)
    assert "Best-of-N: does" not in text
    assert "no candidate answer is known" in text
    assert text.count("<article") == 9
    unjudged = [replace(one, labels=["unknown"] * len(one.labels)) for one in make_solutions(9, 2)]
    metrics = evaluate_scored([], unjudged, SETTINGS)
    write_report(tmp_path / "u.html", metrics, unjudged, ABOUT, Shown(cases_of(unjudged), grey_png))
    assert "no test step is judged" in (tmp_path / "u.html").read_text()


def test_a_case_without_a_record_is_an_error(make_solutions, tmp_path: Path) -> None:
    test = make_solutions(9, 2)
    with pytest.raises(InputError, match="9 scored cases have no record"):
        write_report(tmp_path / "r.html", evaluate_scored([], test, SETTINGS), test, ABOUT, Shown({}, grey_png))
    assert not (tmp_path / "r.html").exists()


def test_cases_are_picked_by_the_rule(make_solutions) -> None:
    groups = group_by_case(make_solutions(80, 8))
    picked = pick_cases(groups, "mean", 12, seed=0)
    assert len({one.case_id for one in picked}) == 12
    assert picked == pick_cases(groups, "mean", 12, seed=0)
    assert picked != pick_cases(groups, "mean", 12, seed=1)
    won = [one for one in picked if "majority vote wrong" in one.kind]
    failed = [one for one in picked if one.kind.startswith("PRM wrong")]
    worst = [one for one in picked if one.kind.startswith("worst")]
    assert len(won) == len(failed) == len(worst) == 3

    def margin(case_id: str) -> float:
        right = max(one.score("mean") for one in groups[case_id] if one.is_correct)
        return pick_of(groups[case_id], "mean").score("mean") - right

    assert min(margin(one.case_id) for one in worst) >= max(margin(one.case_id) for one in failed)
    for one in won:
        majority = majority_of(groups[one.case_id], "mean")
        assert majority is not None
        assert not majority.is_correct
        assert pick_of(groups[one.case_id], "mean").is_correct
    for one in failed:
        assert not pick_of(groups[one.case_id], "mean").is_correct
        assert any(solution.is_correct for solution in groups[one.case_id])
    assert len(pick_cases(group_by_case(make_solutions(5, 8)), "mean", 12, seed=0)) == 5


def test_step_colours_keep_dark_text_readable() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert score_colour(0.5) == "#ffffff"
    assert len({score_colour(one) for one in (0, 0.25, 0.5, 0.75, 1)}) == 5
    for score in (0, 0.2, 0.5, 0.8, 1):
        contrast = (luminance(score_colour(score)) + 0.05) / (luminance("#202124") + 0.05)
        assert contrast > 7, "WCAG AAA"


@pytest.mark.browser
def test_a_browser_shows_the_pages_and_runs_nothing(page: str, make_solutions, tmp_path: Path) -> None:
    """In Chromium at two widths, as it is: films painted, no sideways scrolling, no error, no request, text as text."""
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    metrics = evaluate_scored([], make_solutions(20, 8), SETTINGS)
    runs = [Run(name, metrics, {}, "same") for name in (HOSTILE, "plain", "costs $5 and $6")]
    write_comparison(tmp_path / "comparison.html", runs, "macro_f1", Differences([["minus", HOSTILE]], None))
    for width, file in itertools.product((1440, 1024, 480), ("report.html", "comparison.html")):
        with browser(width, 900) as chrome:
            chrome.get((tmp_path / file).as_uri())
            found = chrome.execute_script(
                """const films = [...document.images];
                return [films.length, films.filter((one) => one.naturalWidth > 0).length,
                  document.documentElement.scrollWidth <= innerWidth,
                  performance.getEntriesByType('resource').map((one) => one.name.slice(0, 60)),
                  document.querySelectorAll('script, main img:not([src^="data:image/png"])').length]"""
            )
            num_films = 30 if file == "report.html" else 0
            assert found == [num_films, num_films, True, [], 0], f"{file} at {width}"
            assert errors_of(chrome) == []
