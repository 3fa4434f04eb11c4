"""Untrusted files in processes of their own: a limit of memory and of time for each, and a crash costs one file.

In: a function of one JSON value, and items with the name that errors give them. Out: outcomes in the order of the
items, at most `window` of them waiting, so memory stays flat however many there are. Decoders of compressed images are
C and C++: on a hostile file they may loop, crash or ask for any amount of memory, and Python cannot catch that.
What comes back from a worker is JSON, never pickle: a worker taken over by a file must not take over the parent.
"""

import json
import multiprocessing
import os
import queue
import resource
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from medprm.errors import InputError, check_least

Function = Callable[[Any], Any]

MAX_ANSWER_BYTES = 2**24


@dataclass(frozen=True)
class IsolationSettings:
    """How many processes, and what each may use for one file."""

    # Processes at a time.
    num_workers: int = 2
    # Longest that one file may take, in seconds; then its process is killed.
    seconds_per_file: float = 60.0
    # Memory beyond what a fresh process has, in MiB; 768 decode some 25 million grey pixels.
    memory_mib: int = 768

    def __post_init__(self) -> None:
        check_least("num_workers", self.num_workers, 1)
        check_least("seconds_per_file", self.seconds_per_file, 0.1)
        check_least("memory_mib", self.memory_mib, 64)


class Item(NamedTuple):
    """`name` stands in errors; `value` is what the function gets, and must survive JSON."""

    name: str
    value: Any


class Outcome(NamedTuple):
    """`result` of the function, or `refusal`: one line that names the item. `notes`: warnings of the libraries."""

    name: str
    result: Any = None
    refusal: str | None = None
    notes: tuple[str, ...] = ()


def run_isolated(
    function: Function, items: Iterable[Item], settings: IsolationSettings | None = None
) -> Iterator[Outcome]:
    """The outcome of every item, in order. An InputError of the function, a crash, a file that takes too long or too
    much memory are refusals; any other error is ours and is raised here with the worker's traceback."""
    settings = settings or IsolationSettings()
    window = 16 * settings.num_workers
    workers = _workers(function, settings)
    numbered = enumerate(items)
    done: dict[int, Outcome] = {}
    num_given = num_yielded = 0
    is_exhausted = False
    try:
        while True:
            for worker in workers:
                if worker.number is None and not is_exhausted and num_given - num_yielded < window:
                    number, item = next(numbered, (None, None))
                    if number is None or item is None:
                        is_exhausted = True
                    else:
                        worker.give(number, item)
                        num_given += 1
            if is_exhausted and num_yielded == num_given:
                return
            for number, outcome in _finished([worker for worker in workers if worker.number is not None]):
                done[number] = outcome
            while num_yielded in done:
                yield done.pop(num_yielded)
                num_yielded += 1
    finally:
        for worker in workers:
            worker.stop()


class IsolatedPool:
    """The same for single items that come from many threads: the processes live on between calls.

    A process is started when it is first needed, and anew after it died.
    """

    def __init__(self, function: Function, settings: IsolationSettings | None = None) -> None:
        settings = settings or IsolationSettings()
        self.num_workers = settings.num_workers
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._starting, self._closing = threading.Lock(), threading.Lock()
        for worker in _workers(function, settings):
            self._idle.put(worker)

    def call(self, item: Item) -> Outcome:
        """The outcome of one item, once a process is free for it."""
        worker = self._idle.get()
        try:
            with self._starting:  # multiprocessing starts processes from one thread at a time
                worker.give(0, item)
            while True:
                for _, outcome in _finished([worker]):
                    return outcome
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End the processes, once the calls under way are over; again does no harm."""
        with self._closing:
            workers = [self._idle.get() for _ in range(self.num_workers)]
            for worker in workers:
                worker.stop()
                self._idle.put(worker)


def _workers(function: Function, settings: IsolationSettings) -> list["_Worker"]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    return [_Worker(context, function, settings) for _ in range(settings.num_workers)]


def _finished(busy: list["_Worker"]) -> Iterator[tuple[int, Outcome]]:
    """Waits for an answer, a death or a deadline."""
    seconds = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
    ready = wait([worker.connection for worker in busy if worker.connection], timeout=seconds)
    for worker in busy:
        number = worker.number
        assert number is not None
        if worker.connection in ready:
            yield number, worker.answer()
        elif time.monotonic() >= worker.deadline:
            yield number, worker.overdue()


class _Worker:
    """A process that is started when it is first needed, and anew after it died."""

    def __init__(self, context: Any, function: Function, settings: IsolationSettings) -> None:
        self.context, self.function, self.settings = context, function, settings
        self.process: BaseProcess | None = None
        self.connection: Connection | None = None
        self.number: int | None = None
        self.name = ""
        self.deadline = 0.0

    def give(self, number: int, item: Item) -> None:
        if self.process is None:
            self._start()
        assert self.connection is not None
        self.number, self.name = number, item.name
        # A process that has just been started loads its libraries first.
        self.deadline = time.monotonic() + self.settings.seconds_per_file
        # One that died between two files is noticed when its answer is read.
        with suppress(BrokenPipeError):
            self.connection.send_bytes(json.dumps(item.value).encode())

    def answer(self) -> Outcome:
        assert self.connection is not None
        try:
            kind, content, notes = json.loads(self.connection.recv_bytes(MAX_ANSWER_BYTES))
        except (EOFError, OSError):
            return Outcome(self.name, refusal=f"{self.name}: its decoder crashed ({self._how_it_ended()}); damaged")
        self.number = None
        if kind == "error":
            raise RuntimeError(f"{self.name}: {content}")
        if kind == "refusal":
            return Outcome(self.name, refusal=content, notes=tuple(notes))
        return Outcome(self.name, result=content, notes=tuple(notes))

    def overdue(self) -> Outcome:
        self.stop()
        seconds = f"{self.settings.seconds_per_file:g}"
        return Outcome(
            self.name, refusal=f"{self.name}: took longer than {seconds} seconds; damaged, or raise seconds_per_file"
        )

    def stop(self) -> None:
        """Kill the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
        if self.connection is not None:
            self.connection.close()
        self.process = self.connection = self.number = None

    def _start(self) -> None:
        self.connection, theirs = self.context.Pipe()
        process = self.context.Process(
            target=_work, args=(theirs, self.function, self.settings.memory_mib), daemon=True
        )
        process.start()
        self.process = process
        theirs.close()

    def _how_it_ended(self) -> str:
        assert self.process is not None
        self.process.join()
        code = self.process.exitcode
        self.stop()
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _work(connection: Connection, function: Function, memory_mib: int) -> None:
    """The worker's loop: it ends when the parent's end of the pipe is closed, also by the parent's death."""
    _limit_memory(memory_mib)
    _silence()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            value = json.loads(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(json.dumps(_answer(function, value, memory_mib)).encode())


def _answer(function: Function, value: Any, memory_mib: int) -> tuple[str, Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            kind, content = "result", function(value)
        except InputError as error:
            kind, content = "refusal", str(error)
            if isinstance(error.__cause__, MemoryError):
                content = f"{content} (the limit is {memory_mib} MiB)"
        except Exception:
            kind, content = "error", traceback.format_exc()
    # Sorted and once each: which of two threads of a library warns first must not change what is written.
    return kind, content, sorted({" ".join(str(one.message).split()) for one in caught})


def _limit_memory(memory_mib: int) -> None:
    with open("/proc/self/statm") as sizes:
        in_use = int(sizes.read().split()[0]) * resource.getpagesize()
    limit = in_use + memory_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _silence() -> None:
    """C libraries write to stderr what the caller is told as a refusal."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
