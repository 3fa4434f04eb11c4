"""Fixtures for all rooms. The checkout is searched last, so that `import evaluate` finds Hugging Face's package."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from medprm import import_last

import_last(ROOT)

# The suite is offline.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real, openly licensed data; tests skip where it is absent, fail where it is required."""
    given = os.environ.get("MEDPRM_REAL_DATA")
    if given and Path(given).is_dir():
        return Path(given).resolve()
    reason = f"MEDPRM_REAL_DATA is {given!r}: not a folder; set it to the folder of real data to run this test"
    if os.environ.get("MEDPRM_REQUIRE_REAL_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Skips are counted even where there are none."""
    terminalreporter.write_line(f"skipped: {len(terminalreporter.stats.get('skipped', []))}")
