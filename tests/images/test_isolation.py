"""Workers that crash, hang, or take too much memory cost one file, and the order stays."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from isolated_tasks import misbehave

from medprm.errors import InputError
from medprm.images.isolation import IsolatedPool, IsolationSettings, Item, Outcome, run_isolated

LIMITS = IsolationSettings(num_workers=2, seconds_per_file=20.0, memory_mib=256)


def outcomes(*how: str, settings: IsolationSettings = LIMITS) -> list[Outcome]:
    return list(run_isolated(misbehave, [Item(f"file {number}", one) for number, one in enumerate(how)], settings))


def test_results_come_in_the_order_of_the_items() -> None:
    how = [f"sleep{0.02 * (number % 3)}" for number in range(40)]
    assert [one.result for one in outcomes(*how)] == [one.upper() for one in how]
    assert outcomes() == []


def test_a_crash_costs_one_file() -> None:
    found = outcomes("a", "crash", "b", "exit", "refuse", "memory", "c")
    assert [one.result for one in found] == ["A", None, "B", None, None, None, "C"]
    assert found[1].refusal == "file 1: its decoder crashed (SIGSEGV); damaged"
    assert found[3].refusal == "file 3: its decoder crashed (exit code 3); damaged"
    assert found[4].refusal == "x.dcm: refused"
    assert found[5].refusal == "x.dcm: does not fit (the limit is 256 MiB)"


def test_a_file_that_takes_too_long_is_ended() -> None:
    begin = time.monotonic()
    settings = IsolationSettings(num_workers=2, seconds_per_file=5.0, memory_mib=256)
    found = outcomes("a", "hang", "b", settings=settings)
    assert time.monotonic() - begin < 60
    assert [one.result for one in found] == ["A", None, "B"]
    assert found[1].refusal == "file 1: took longer than 5 seconds; damaged, or raise seconds_per_file"


def test_an_error_of_ours_is_raised_with_its_place() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)file 0: .*misbehave.*KeyError: 'ours'"):
        outcomes("bug")


def test_warnings_are_kept_and_noise_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    assert outcomes("warn")[0].notes == ("of a library",)
    assert "noise" not in "".join(capfd.readouterr())


def test_items_are_taken_as_they_are_needed() -> None:
    taken = 0

    def many() -> Iterator[Item]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield Item(str(number), "a")

    running = run_isolated(misbehave, many(), LIMITS)
    assert next(running).result == "A"
    running.close()
    assert taken <= 1 + 16 * LIMITS.num_workers


def test_a_pool_keeps_its_processes_and_replaces_those_that_die() -> None:
    pool = IsolatedPool(misbehave, IsolationSettings(num_workers=1, seconds_per_file=20.0, memory_mib=256))
    try:
        first, again = (pool.call(Item("file", "who")).result for _ in range(2))
        assert first == again != str(os.getpid())
        assert pool.call(Item("bad", "crash")).refusal == "bad: its decoder crashed (SIGSEGV); damaged"
        assert pool.call(Item("file", "who")).result not in (first, str(os.getpid()))
        assert "took longer than 20 seconds" in (pool.call(Item("slow", "hang")).refusal or "")
        with pytest.raises(RuntimeError, match="KeyError"):
            pool.call(Item("file", "bug"))
        assert pool.call(Item("file", "a")).result == "A"
        pool.close()
    finally:
        pool.close()


def test_a_pool_serves_many_threads() -> None:
    pool = IsolatedPool(misbehave, LIMITS)
    try:
        with ThreadPoolExecutor(8) as threads:
            how = ["crash" if number % 7 == 3 else f"sleep0.0{number}" for number in range(30)]
            found = list(threads.map(lambda one: pool.call(Item(one, one)), how))
    finally:
        pool.close()
    for one, outcome in zip(how, found, strict=True):
        assert outcome.name == one and (
            outcome.refusal is not None if one == "crash" else outcome.result == one.upper()
        )


def test_limits_that_make_no_sense_are_refused() -> None:
    for name, value in (("num_workers", 0), ("seconds_per_file", 0), ("memory_mib", 10)):
        with pytest.raises(InputError, match=f"{name} is {value}"):
            IsolationSettings(**{name: value})
