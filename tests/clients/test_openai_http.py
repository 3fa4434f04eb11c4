"""The client against servers on loopback that answer oddly, break down, or are asked the same thing twice."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stub_server
from annotation_run import server_settings

from medprm.cases.schema import Case, Metadata
from medprm.clients.chat import ChatRequest, Message, Unanswered
from medprm.clients.guard import Guard, GuardRefusal
from medprm.clients.journal import Journal
from medprm.clients.openai_http import OpenAIClient, _seconds
from medprm.clients.settings import GuardSettings, ModelPrice, PriceSettings


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", is_paid=False) as opened:
        yield opened


def client(url: str, journal: Journal, **changes: Any) -> OpenAIClient:
    settings = replace(server_settings(url), **{"max_attempts": 2, **changes})
    return OpenAIClient(settings, PriceSettings(), Guard(GuardSettings()), journal)


def asked(text: str, case_id: str = "a") -> ChatRequest:
    case = Case(case_id=case_id, modality="text", question="?", metadata=Metadata(source="made_up"))
    return ChatRequest("judge", case, (Message("user", text),))


def states(journal: Journal) -> list[tuple[str, int | None]]:
    return [(state, status) for state, status in journal.rows("select state, status from attempts order by id")]


@pytest.mark.parametrize("fault", [*stub_server.ODD, "never"])
def test_an_odd_answer_is_a_failed_attempt_and_no_crash(journal: Journal, fault: str) -> None:
    with stub_server.started() as url, pytest.raises(Unanswered, match="case a"):
        client(url, journal).ask(asked(f"fault={fault}"))
    assert states(journal) == [("failed", 429 if fault == "never" else 200)] * 2


@pytest.mark.parametrize("endless", ["inf", "nan", "1e999"])
def test_a_wait_without_end_is_none(endless: str) -> None:
    assert _seconds(endless) is None


def test_two_cases_that_ask_the_same_at_once_are_one_request(journal: Journal) -> None:
    requests = [asked("the same question", case_id) for case_id in ("a", "b")]
    with stub_server.started(delay=0.3) as url, ThreadPoolExecutor(2) as pool:
        first, second = pool.map(client(url, journal).ask, requests)
        assert list(stub_server.counts(url)["seen"].values()) == [1]
    assert first == second and states(journal) == [("ok", 200)]


def test_a_key_that_the_server_repeats_is_written_nowhere(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-of-this-test")
    with stub_server.started() as url, pytest.raises(Unanswered, match=r"wrong key: Bearer \*\*\*'$"):
        client(url, journal, api_key_env="SOME_KEY").ask(asked("fault=echo"))
    assert list(journal.rows("select error from attempts")) == [("status 400: b'wrong key: Bearer ***'",)]


def test_with_one_of_two_addresses_dead_everything_is_answered(journal: Journal) -> None:
    requests = [asked(f"question {number}", f"case-{number}") for number in range(20)]
    with stub_server.started() as url, ThreadPoolExecutor(4) as pool:
        both = {"base_urls": ["http://127.0.0.1:9/v1", url], "breaker_failures": 3, "rest_seconds": 60.0}
        replies = list(pool.map(client(url, journal, **both).ask, requests))
    assert len(replies) == 20
    failed = states(journal).count(("failed", None))
    assert 1 <= failed <= 6, "three in a row, and those under way with them; then the dead address rests"


def test_the_next_address_passes_the_guard_too(journal: Journal) -> None:
    urls = ["http://127.0.0.1:9/v1", "http://example.org/v1"]
    settings = {"base_urls": urls, "breaker_failures": 100}
    prices = PriceSettings(models={"stub": ModelPrice()})
    asking = OpenAIClient(replace(server_settings(urls[0]), **settings), prices, Guard(GuardSettings()), journal)
    for number in range(8):  # of some the first address is the dead one, of others the one outside
        with pytest.raises(GuardRefusal, match="example.org is outside"):
            asking.ask(asked(f"question {number}", f"case-{number}"))
    assert 0 < len(states(journal)) < 8
