"""Chromium without a screen, driven by Selenium; Debian's browser and driver, nothing is downloaded."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from review_project import PASSWORD, Served
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--force-device-scale-factor=1"),
)
SAVED = "/^(saved|finished)$/.test(document.querySelector('#saved').textContent)"
SHOWN = "performance.getEntriesByName('image').length > 0"


@contextmanager
def browser(width: int = 1440, height: int = 900) -> Iterator[Chrome]:
    """A browser with a profile of its own; the test skips with a reason where there is none."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium and chromedriver; apt-get install chromium chromium-driver to run this test")
    with tempfile.TemporaryDirectory() as profile:
        options = ChromeOptions()
        options.binary_location = binary
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        chrome = Chrome(options, ChromeService(driver))
        try:
            # The window of a headless browser includes no frame; the page is to be exactly of this size.
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            yield chrome
        finally:
            chrome.quit()


def wait(chrome: Chrome, condition: str, seconds: float = 60) -> Any:
    """Until the JavaScript expression is true; its value."""
    return WebDriverWait(chrome, seconds, poll_frequency=0.02).until(
        lambda one: one.execute_script(f"return {condition}"), f"never true: {condition}"
    )


def log_in(chrome: Chrome, served: Served, name: str) -> None:
    chrome.delete_all_cookies()
    chrome.get(f"{served.url}/login")
    chrome.find_element(By.NAME, "name").send_keys(name)
    chrome.find_element(By.NAME, "password").send_keys(PASSWORD)
    chrome.find_element(By.CSS_SELECTOR, "button.primary").click()
    wait(chrome, "document.querySelector('.who') !== null")


def open_work(chrome: Chrome, served: Served, name: str, kind: str = "review") -> None:
    log_in(chrome, served, name)
    chrome.get(f"{served.url}/work/{kind}")
    wait(chrome, SHOWN)


def press(chrome: Chrome, *keys: str) -> None:
    for key in keys:
        ActionChains(chrome).send_keys(key).perform()


def errors_of(chrome: Chrome) -> list[str]:
    """What the browser's console complains of, such as a script or style that the policy refuses."""
    return [one["message"] for one in chrome.get_log("browser") if one["level"] in ("SEVERE", "WARNING")]
