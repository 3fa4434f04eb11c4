"""In Chromium: nothing that an expert said is lost without being told, and no time they spent."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from review_browser import SAVED, browser, log_in, open_work, press, wait
from review_project import Served, drawn_records, review_config, served, write_data
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.browser

ENDED = "document.querySelector('#ending button')"
SAID = "document.querySelector('#saved').textContent"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with browser() as found:
        yield found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    path = write_data(tmp_path / "data", drawn_records(1), size=32)
    with served(review_config(path, tmp_path / "review")) as found:
        yield found


def card(step: int) -> str:
    return f"document.querySelector('.step[data-step=\"{step}\"]')"


def is_unsaved(step: int) -> str:
    return f"{card(step)}.classList.contains('unsaved')"


def kept(server: Served) -> list[tuple[str, str | None]]:
    rows = server.project.assignment.database.rows("SELECT verdict, icd10 FROM verdicts ORDER BY step_id")
    return [(row["verdict"], row["icd10"]) for row in rows]


def judge_and_mistype_the_code(chrome: Chrome, server: Served) -> None:
    """Every step correct; then a code that is none on the diagnosis, step 4."""
    open_work(chrome, server, "ana")
    press(chrome, *["1", Keys.ARROW_DOWN] * 4)
    wait(chrome, SAVED)
    chrome.find_element(By.CSS_SELECTOR, "[data-step='3'] [data-field='icd10']").send_keys("J1", Keys.ESCAPE)
    wait(chrome, is_unsaved(3))


def test_a_refused_answer_stays_in_sight_until_it_is_saved(chrome: Chrome, server: Served) -> None:
    judge_and_mistype_the_code(chrome, server)
    press(chrome, Keys.ARROW_UP, "3", Keys.ARROW_DOWN, "2")
    wait(chrome, f"{SAID} === 'step 4 not saved' && {card(2)}.dataset.verdict === 'neutral'")
    press(chrome, Keys.ENTER)
    time.sleep(1)
    assert chrome.execute_script(f"return {ENDED}") is None
    assert kept(server) == [("correct", None), ("correct", None), ("neutral", None), ("correct", None)]
    assert "one code, such as J18.9" in chrome.execute_script(f"return {card(3)}.textContent")
    field = chrome.find_element(By.CSS_SELECTOR, "[data-step='3'] [data-field='icd10']")
    field.send_keys("8.9", Keys.ESCAPE)
    wait(chrome, f"{SAVED} && !{is_unsaved(3)}")
    press(chrome, Keys.ENTER)
    wait(chrome, ENDED)
    assert kept(server)[3] == ("incorrect", "J18.9")


def test_undo_takes_back_what_was_refused(chrome: Chrome, server: Served) -> None:
    judge_and_mistype_the_code(chrome, server)
    press(chrome, "2", "u")
    wait(chrome, f"{SAID} === 'undone' && !{is_unsaved(3)}")
    assert chrome.execute_script(f"return {card(3)}.dataset.verdict") == "correct"
    press(chrome, Keys.ENTER)
    wait(chrome, ENDED)
    assert kept(server) == [("correct", None)] * 4


def test_a_task_that_went_to_another_says_so_and_leads_on(chrome: Chrome, server: Served) -> None:
    open_work(chrome, server, "ana")
    press(chrome, "1")
    wait(chrome, SAVED)
    with server.project.assignment.database.transaction() as connection:
        connection.execute("UPDATE turns SET locked_until = 0")
    server.client("ben").next()
    press(chrome, Keys.ARROW_DOWN, "2")
    wait(chrome, ENDED)
    assert "Not yours any more" in chrome.execute_script("return document.querySelector('#ending').textContent")
    assert chrome.execute_script(f"return {is_unsaved(1)}")
    press(chrome, Keys.ENTER)
    wait(chrome, "document.querySelector('#steps').textContent.includes('Nothing is left')")


def test_time_after_the_last_answer_counts(chrome: Chrome, server: Served) -> None:
    open_work(chrome, server, "ana")
    press(chrome, *["1", Keys.ARROW_DOWN] * 4)
    wait(chrome, SAVED)
    rows = "SELECT sum(seconds) AS seconds FROM verdicts"
    before = server.project.assignment.database.rows(rows)[0]["seconds"]
    press(chrome, Keys.ARROW_UP)
    time.sleep(1.5)
    press(chrome, Keys.ENTER)
    wait(chrome, ENDED)
    assert server.project.assignment.database.rows(rows)[0]["seconds"] > before + 1.4


def test_progress_asks_again_only_after_the_last_answer(chrome: Chrome, server: Served) -> None:
    log_in(chrome, server, "judith")
    script = (
        "for (const name of ['setTimeout', 'setInterval']) { const own = window[name].bind(window);"
        " window[name] = (done, ms) => own(done, ms / 100); }"
        "window.asked = 0; window.fetch = () => { window.asked += 1; return new Promise((done) => "
        "{ window.answer = done; }); };"
    )
    added = chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        chrome.get(f"{server.url}/progress")
        wait(chrome, "window.asked === 1")
        time.sleep(0.5)
        assert chrome.execute_script("return window.asked") == 1
        chrome.execute_script("window.answer(new Response('', { status: 500 }))")
        wait(chrome, "window.asked === 2")
    finally:
        chrome.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
