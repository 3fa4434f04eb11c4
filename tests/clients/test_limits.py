"""Rates, back-off and the breaker, by a clock that only sleeping moves; the journal on a network file system."""

import threading
import time
from pathlib import Path

import pytest

from medprm.cases.schema import Case
from medprm.clients import journal, limits
from medprm.clients.chat import ChatRequest, Message
from medprm.clients.journal import Journal, is_on_network
from medprm.clients.limits import Breaker, Bucket, backoff_seconds
from medprm.clients.openai_http import _seconds, likely_tokens


class Clock:
    """Time in seconds; a thread that sleeps moves it on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(limits, "time", made)
    return made


def test_a_bucket_lets_a_burst_through_and_then_the_rate(clock: Clock) -> None:
    bucket = Bucket(60.0)  # one a second, six at once
    for _ in range(66):
        bucket.take()
    assert clock.now - 1000.0 == pytest.approx(60.0)
    clock.now += 1000.0
    before = clock.now
    for _ in range(6):
        bucket.take()
    assert clock.now == before, "what was not used is there again, up to the burst"
    bucket.take()
    assert clock.now - before == pytest.approx(1.0)


def test_more_than_a_bucket_holds_is_owed(clock: Clock) -> None:
    bucket = Bucket(600.0)  # ten a second, 60 at once
    bucket.take(160.0)
    assert clock.now == 1000.0, "a full bucket gives it"
    bucket.take(10.0)
    assert clock.now - 1000.0 == pytest.approx(11.0), "and the next one pays"


def test_no_limit_waits_for_nothing(clock: Clock) -> None:
    Bucket(None).take(1e9)
    assert clock.slept == []


def test_tokens_count_images_and_all_answers() -> None:
    case = Case(case_id="a", modality="text", question="?")
    plain = ChatRequest("judge", case, (Message("user", "x" * 400),), {"max_tokens": 50})
    assert likely_tokens(plain) == 100 + 50
    seen = ChatRequest("judge", case, (Message("user", "x" * 400, (b"1", b"2")),), {"max_tokens": 50, "n": 32})
    assert likely_tokens(seen) == 100 + 2 * 3400 + 32 * 50


def test_back_off_doubles_up_to_its_most_half_by_chance() -> None:
    for number, longest in ((0, 1.0), (3, 8.0), (10, 60.0)):
        waits = [backoff_seconds(number, 1.0, 60.0, None) for _ in range(200)]
        assert longest / 2 <= min(waits) and max(waits) <= longest and max(waits) - min(waits) > longest / 4


def test_a_server_that_asks_for_five_minutes_gets_them() -> None:
    assert backoff_seconds(0, 1.0, 60.0, 300.0) == 300.0
    assert backoff_seconds(3, 1.0, 60.0, 0.01) >= 4.0, "it never shortens the wait"


def test_retry_after_is_seconds_or_a_date() -> None:
    assert _seconds("120") == 120.0 and _seconds("-3") == 0.0
    assert _seconds(None) is None and _seconds("soon") is None
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 90))
    assert 80 < (_seconds(date) or 0) <= 90


def test_the_breaker_rests_and_then_lets_one_try(clock: Clock) -> None:
    breaker = Breaker(num_failures=3, rest_seconds=30.0)
    for _ in range(3):
        breaker.wait()
        breaker.failed()
    assert clock.slept == [] and breaker.num_openings == 1
    breaker.wait()
    assert clock.now == 1030.0, "the first to come after the rest tries"
    assert breaker._seconds_left() > 0, "the others wait meanwhile"
    breaker.failed()
    assert breaker.num_openings == 2 and breaker._seconds_left() == 30.0
    breaker.wait()
    breaker.let_go()
    breaker.wait()  # nothing was learnt: another tries
    breaker.succeeded()
    assert breaker._seconds_left() == 0.0 and breaker._seconds_left() == 0.0, "all may send"


def test_of_many_that_wait_one_goes_until_it_is_known_how_it_went() -> None:
    breaker = Breaker(num_failures=1, rest_seconds=0.05)
    breaker.failed()
    gone: list[int] = []
    threads = [threading.Thread(target=lambda: (breaker.wait(), gone.append(1))) for _ in range(16)]
    for one in threads:
        one.start()
    time.sleep(0.5)
    assert len(gone) == 1
    breaker.succeeded()
    for one in threads:
        one.join(10)
    assert len(gone) == 16


def test_a_journal_on_a_network_file_system_is_no_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = "/dev/a / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\n/dev/b /data/local xfs rw 0 0\n"
    assert is_on_network(Path("/data/run/journal.sqlite"), mounts)
    assert not is_on_network(Path("/data/local/run/journal.sqlite"), mounts)
    assert not is_on_network(Path("/database/journal.sqlite"), mounts), "a folder of a like name is another"
    for on_network, mode in ((True, "delete"), (False, "wal")):
        monkeypatch.setattr(journal, "is_on_network", lambda path, found=on_network: found)
        with Journal(tmp_path / f"{mode}.sqlite", is_paid=False) as opened:
            assert list(opened.rows("pragma journal_mode")) == [(mode,)]
            # 2 is FULL: flushed at every commit, where no second file tells what was meant.
            assert list(opened.rows("pragma synchronous")) == [(2 if on_network else 1,)]
