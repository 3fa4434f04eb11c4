"""The pages in Chromium without a screen: a whole project, times, hostile texts, accessibility.

Times are taken inside the page, from the input event to the pixels of the canvas or the next frame, on a CPU.
"""

import json
import os
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_browser import SAVED, SHOWN, browser, errors_of, log_in, open_work, press, wait
from review_project import PASSWORD, Served, drawn_records, drawn_scores, review_config, served, write_data
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from small_run import train_config, write_base
from small_run import write_records as write_small_records

from medprm.cases.jsonl import read_cases, read_records, write_records
from medprm.cases.schema import Image
from medprm.cases.schema import join as join_record
from medprm.commands import train
from medprm.config import LabelledSettings
from medprm.evaluation.scored import write_scored
from medprm.images.dicom import load_dicom

pytestmark = pytest.mark.browser

PAGES = ("/", "/account", "/accounts", "/progress", "/scored", "/scored/1")
SCRIPT = "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 1'>"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with browser() as found:
        yield found


def drag(chrome: Chrome, dx: int, dy: int, num_moves: int = 5) -> None:
    box = chrome.execute_script("const b = document.querySelector('canvas').getBoundingClientRect(); return [b.x, b.y]")
    x, y = box[0] + 200, box[1] + 200
    where = [(x + dx * k / num_moves, y + dy * k / num_moves) for k in range(num_moves + 1)]
    kinds = ["mousePressed", *["mouseMoved"] * num_moves]
    for kind, (at_x, at_y) in [*zip(kinds, where, strict=True), ("mouseReleased", where[-1])]:
        event = {"type": kind, "x": at_x, "y": at_y, "button": "left", "buttons": 1, "clickCount": 1}
        chrome.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def keep_screenshot(chrome: Chrome, name: str) -> None:
    """For the docs, where MEDPRM_SCREENSHOTS names a folder."""
    if folder := os.environ.get("MEDPRM_SCREENSHOTS"):
        chrome.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_a_whole_project(chrome: Chrome, tmp_path: Path) -> None:
    """Log in, window, judge 20 steps by keys, reload in the middle, a second expert, adjudication, export, training."""
    folder = write_small_records(tmp_path / "set")
    cases = read_cases(folder / "train.jsonl")
    records = [with_film(join_record(item.case, one)) for item in cases for one in item.solutions]
    write_records(folder / "train.jsonl", records)
    path = write_data(folder, records, size=256)
    with served(review_config(path, tmp_path / "review", rules={"steps": "all", "overlap": 1.0})) as server:
        open_work(chrome, server, "ana")
        before = chrome.execute_script("return document.querySelector('.values').textContent")
        drag(chrome, 120, -60)
        wait(chrome, f"document.querySelector('.values').textContent !== {json.dumps(before)}")
        num_judged = judge_by_keys(chrome, "1", 7)
        if chrome.execute_script("return document.querySelector('#ending button') !== null"):
            num_judged += judge_by_keys(chrome, "1", 1)  # into the next solution
        wait(chrome, SAVED)
        task = chrome.execute_script("return document.querySelector('#place').textContent")
        shown = "return [...document.querySelectorAll('.step')].map((one) => one.dataset.verdict ?? '')"
        states = chrome.execute_script(shown)
        chrome.refresh()
        wait(chrome, SHOWN)
        assert chrome.execute_script("return document.querySelector('#place').textContent") == task
        assert chrome.execute_script(shown) == states
        num_judged += judge_by_keys(chrome, "1", 20 - num_judged)
        assert num_judged == 20
        finish_all(server, "ana", lambda step: "correct")
        open_work(chrome, server, "ben")
        judge_by_keys(chrome, "2", 2)
        press(chrome, "n")
        ActionChains(chrome).send_keys("The border is sharp.", Keys.ESCAPE).perform()
        wait(chrome, SAVED)
        finish_all(server, "ben", lambda step: "correct" if step else "incorrect")
        open_work(chrome, server, "judith", "adjudicate")
        assert "reader A: correct" in chrome.page_source and "reader B: incorrect" in chrome.page_source
        keep_screenshot(chrome, "review_adjudication")
        judge_by_keys(chrome, "2", 1)
        wait(chrome, "document.querySelector('#ending button')")
        assert errors_of(chrome) == []
        root = server.client("root")
        (tmp_path / "labelled.jsonl").write_text(root.get("/export/labelled.jsonl").text)
    steps = [step for one in read_records(tmp_path / "labelled.jsonl") for step in one.solution_steps]
    assert all(step.sources is not None and len(step.sources.expert) >= 2 for step in steps)
    said = [(step, [(one.verdict, (one.extra or {}).get("role")) for one in step.sources.expert]) for step in steps]
    decided = [(step, verdicts) for step, verdicts in said if len(verdicts) > 2]
    assert [verdicts for _, verdicts in decided] == [
        [("correct", None), ("incorrect", None), ("incorrect", "adjudicator")]
    ]
    step = decided[0][0]
    assert (step.label, step.annotation_method) == ("incorrect", "expert_verified")
    assert step.expert_id == step.sources.expert[2].expert_id
    labelled = LabelledSettings(path=str(tmp_path / "labelled.jsonl"), only=True)
    changes: dict[str, Any] = {"labelled": labelled, "training": {"max_steps": 2}}
    train.run(train_config(write_base(tmp_path / "base"), folder, tmp_path / "run", **changes))
    assert (tmp_path / "run" / "checkpoint").is_dir()


def with_film(record):
    return record.model_copy(update={"images": (Image(path="films/film.dcm"),), "image": None})


def judge_by_keys(chrome: Chrome, key: str, num: int) -> int:
    """Judge so many steps, over the end of a solution where need be; only keys."""
    for _ in range(num):
        if chrome.execute_script("return document.querySelector('#ending button') !== null"):
            press(chrome, Keys.ENTER)
            wait(chrome, "document.querySelector('#ending button') === null && document.querySelector('.step')")
        press(chrome, key, Keys.ENTER)
        done = "[...document.querySelectorAll('.step')].every((one) => one.dataset.verdict)"
        if chrome.execute_script(f"return {done}"):
            wait(chrome, "document.querySelector('#ending button')")
    return num


def finish_all(server: Served, name: str, verdict) -> None:
    """The rest of an expert's work without a browser."""
    client = server.client(name)
    while client.judge(verdict=verdict):
        pass


def test_twenty_steps_by_keys(chrome: Chrome, tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", drawn_records(1, num_steps=20), size=512)
    with served(review_config(path, tmp_path / "review")) as server:
        open_work(chrome, server, "ana")
        chrome.execute_script(
            "window.begun = performance.now(); window.late = []; document.addEventListener('keydown', (e) => "
            "requestAnimationFrame(() => setTimeout(() => window.late.push(performance.now() - e.timeStamp))), true)"
        )
        for step in range(20):
            press(chrome, str(1 + step % 4), Keys.ENTER)
        wait(chrome, "document.querySelector('#ending button')")
        seconds = chrome.execute_script("return (performance.now() - window.begun) / 1000")
        late = np.array(chrome.execute_script("return window.late"))
        median, p95 = np.percentile(late, [50, 95])
        print(
            f"\n20 steps: {seconds:.1f} s; key to paint: median {median:.0f} ms, p95 {p95:.0f}, most {late.max():.0f}"
        )
        # Not the most: on a shared machine one of 40 may be the scheduler's.
        assert len(late) >= 40 and seconds < 45 and p95 < 100
        rows = server.project.assignment.database.rows("SELECT verdict FROM verdicts ORDER BY step_id")
        assert [row["verdict"] for row in rows] == ["correct", "incorrect", "neutral", "unknown"] * 5


def test_windows_follow_the_mouse(chrome: Chrome, tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", drawn_records(1), size=2048)
    with served(review_config(path, tmp_path / "review")) as server:
        open_work(chrome, server, "ana")
        chrome.execute_script("performance.clearMeasures('redraw')")
        for number in range(50):
            drag(chrome, 40 * (-1) ** number, 30)
        times = chrome.execute_script("return performance.getEntriesByName('redraw').map((one) => one.duration)")
        median, p95 = np.percentile(times, [50, 95])
        print(f"\n{len(times)} redraws of 50 drags: median {median:.1f} ms, p95 {p95:.1f} ms")
        assert len(times) >= 50 and median < 60 and p95 < 60


def test_the_next_image_is_there_at_once(chrome: Chrome, tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", drawn_records(6, num_steps=1), size=2048)
    times = []
    with served(review_config(path, tmp_path / "review")) as server:
        open_work(chrome, server, "ana")
        for number in range(5):
            press(chrome, "1", Keys.ENTER)
            wait(chrome, "document.querySelector('#ending button')")
            wait(chrome, f"performance.getEntriesByType('resource').filter((r) => r.name.includes('/api/pixels/')"
                         f" && r.responseEnd > 0).length >= {number + 2}")  # fmt: skip
            chrome.execute_script(
                "performance.clearMeasures('image'); document.addEventListener('keydown', (e) => "
                "{ window.pressed = e.timeStamp; }, { capture: true, once: true })"
            )
            press(chrome, Keys.ENTER)
            wait(chrome, SHOWN)
            times.append(
                chrome.execute_script(
                    "const one = performance.getEntriesByName('image')[0];"
                    "return one.startTime + one.duration - window.pressed"
                )
            )
        print(f"\nnext image of 2048 x 2048, 16 bits: {[round(one) for one in times]} ms from the key to the canvas")
        assert np.median(times) < 500


def test_the_canvas_shows_what_the_decoder_shows(chrome: Chrome, tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", drawn_records(1), size=200)
    with served(review_config(path, tmp_path / "review")) as server:
        open_work(chrome, server, "ana")
        # One pixel of the image a pixel of the canvas.
        pixels = chrome.execute_script(
            """const c = document.querySelector('canvas'); const scale = Number(document.querySelector('.values')
            .textContent.match(/([\\d]+) %/)[1]); return import('/static/window.js').then(async (w) => {
              const { loadFrame } = await import('/static/frames.js'); const f = await loadFrame(0);
              const t = new Uint32Array(65536); w.fillTable(t, f, f.window, true, false);
              return [scale, [...f.data].map((code) => t[code] & 255)]; })"""
        )
        shown = load_dicom(tmp_path / "data" / "images" / "0.dcm").pixels
        assert np.abs(np.array(pixels[1]).reshape(200, 200) - shown.astype(int)).max() <= 1
        grey = chrome.execute_script(
            "const c = document.querySelector('canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width,"
            " c.height).data; let s = 0; for (let i = 0; i < d.length; i += 4) s += d[i]; return [s, c.width, c.height]"
        )
        side = min(grey[1:])
        # The square film fills the shorter side; outside is black.
        assert grey[0] / side**2 == pytest.approx(shown.mean(), rel=0.01)


def check_hostile_page(chrome: Chrome, place: str) -> None:
    """The script of a record is a text on this page, and did nothing."""
    assert chrome.execute_script("return window.stolen ?? null") is None
    text = chrome.execute_script(f"return document.querySelector({json.dumps(place)}).textContent")
    assert SCRIPT in text, place
    assert chrome.execute_script("return document.querySelectorAll('main img, main script').length") == 0
    assert errors_of(chrome) == []


def test_hostile_texts_stay_texts(chrome: Chrome, tmp_path: Path) -> None:
    records = drawn_records(1, text=SCRIPT)
    path = write_data(tmp_path / "data", records, size=32)
    write_scored(tmp_path / "scored.jsonl", drawn_scores(records, SCRIPT))
    data = {"scored": str(tmp_path / "scored.jsonl")}
    config = review_config(path, tmp_path / "review", run_name=SCRIPT, rules={"overlap": 1.0}, data=data)
    with served(config) as server:
        open_work(chrome, server, "ana")
        press(chrome, "2", "n")
        ActionChains(chrome).send_keys(SCRIPT, Keys.ESCAPE).perform()
        wait(chrome, SAVED)
        chrome.refresh()
        wait(chrome, SHOWN)
        for place in (
            ".step .content",
            ".machines",
            ".machines mark",
            ".machines .quiet",
            "#case details b",
            "#case dl",
        ):
            check_hostile_page(chrome, place)
        server.client("ana").judge(verdict="incorrect", note=SCRIPT)
        server.client("ben").judge(note=SCRIPT)
        open_work(chrome, server, "judith", "adjudicate")
        for place in (".step .content", ".others", ".machines mark"):
            check_hostile_page(chrome, place)
        for page, place in (
            ("/scored", "td.text"),
            ("/scored/1", ".candidate summary"),
            ("/scored/1", ".scored .text"),
        ):
            chrome.get(server.url + page)
            check_hostile_page(chrome, place)
    config = review_config(path, tmp_path / "split", run_name=SCRIPT, protocol={"kind": "split_check"})
    with served(config) as server:
        server.client("ana").judge(note=SCRIPT)
        open_work(chrome, server, "judith", "check")
        for place in (".step .content", ".others", ".machines mark"):
            check_hostile_page(chrome, place)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768)])
def test_pages_are_accessible_and_nothing_overlaps(width: int, height: int, tmp_path: Path) -> None:
    axe = (files("axe_core_python") / "axe.min.js").read_text()
    records = drawn_records(3)
    path = write_data(tmp_path / "data", records, size=256)
    write_scored(tmp_path / "scored.jsonl", drawn_scores(records))
    data = {"scored": str(tmp_path / "scored.jsonl")}
    with (
        served(review_config(path, tmp_path / "review", rules={"overlap": 1.0}, data=data)) as server,
        browser(width, height) as chrome,
    ):
        server.client("ana").judge()
        server.client("ben").judge(verdict="incorrect")
        chrome.get(f"{server.url}/login")
        found = {"/login": problems(chrome, axe)}
        log_in(chrome, server, "root")
        for page in (*PAGES, "/work/adjudicate", "/work/review"):
            chrome.get(server.url + page)
            if page.startswith(("/work", "/scored/")):
                wait(chrome, SHOWN)
            if page == "/work/review":
                press(chrome, "2")
                wait(chrome, SAVED)
            found[page] = problems(chrome, axe) + overflowing(chrome)
            keep_screenshot(chrome, f"review{page.replace('/', '_')}_{width}x{height}")
        press(chrome, *["1", Keys.ENTER] * 4)
        wait(chrome, "document.querySelector('#ending button')")
        found["finished"] = problems(chrome, axe) + overflowing(chrome)
        with served(
            review_config(path, tmp_path / "split", protocol={"kind": "split_check", "split_size": 1})
        ) as split:
            split.client("ana").judge()
            open_work(chrome, split, "root", "check")
            found["/work/check"] = problems(chrome, axe) + overflowing(chrome)
        assert {page: one for page, one in found.items() if one} == {}
        assert errors_of(chrome) == []


def problems(chrome: Chrome, axe: str) -> list[str]:
    """What axe calls serious or critical."""
    # By the debugger: the page's policy allows no script but its own.
    chrome.execute_cdp_cmd("Runtime.evaluate", {"expression": axe + "; undefined"})
    result = chrome.execute_cdp_cmd(
        "Runtime.evaluate",
        {"expression": "axe.run().then((one) => JSON.stringify(one.violations))", "awaitPromise": True},
    )
    found = json.loads(result["result"]["value"])
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found if one["impact"] in ("serious", "critical")
    ]


def overflowing(chrome: Chrome) -> list[str]:
    """Text that its box cuts off, and controls that cover each other."""
    return chrome.execute_script(
        """const found = [];
        if (document.documentElement.scrollWidth > innerWidth) found.push('the page is wider than the window');
        const shown = [...document.querySelectorAll('button, a, select, input, textarea, .bar p')].filter((one) =>
          one.checkVisibility() && one.getBoundingClientRect().width > 1 && !one.closest('.skip'));
        for (const [k, one] of shown.entries()) { const a = one.getBoundingClientRect();
          for (const other of shown.slice(k + 1)) { if (one.contains(other) || other.contains(one)) continue;
            const b = other.getBoundingClientRect();
            if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1
                && one.closest('.panel') === other.closest('.panel'))
              found.push(`${one.outerHTML.slice(0, 80)} over ${other.outerHTML.slice(0, 80)}`); } }
        return found;"""
    )


def test_focus_goes_where_the_keys_go(chrome: Chrome, tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", drawn_records(1), size=32)
    with served(review_config(path, tmp_path / "review")) as server:
        open_work(chrome, server, "ana")
        focused = "return document.activeElement.dataset.step ?? document.activeElement.tagName"
        assert chrome.execute_script(focused) == "0"
        press(chrome, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
        assert chrome.execute_script(focused) == "2"
        press(chrome, "n")
        assert chrome.execute_script(focused) == "TEXTAREA"
        press(chrome, "1", Keys.ESCAPE, "u")
        wait(chrome, "document.querySelector('#saved').textContent === 'undone'")
        assert chrome.execute_script(focused) == "2"
        press(chrome, Keys.TAB)
        assert chrome.execute_script("return document.activeElement.dataset.verdict") == "correct"
        time.sleep(0.1)
        assert PASSWORD not in chrome.page_source
