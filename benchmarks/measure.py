"""Time and memory for the benchmarks: two sides in turn, medians, and a table.

In: functions to compare. Out: seconds by side, their ratio, peak memory of a function in a process of its own.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

Side = Callable[[], Any]


def arguments(description: str | None) -> argparse.Namespace:
    """What every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each side; medians are reported")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", type=Path, help="file for the figures; the ratios are under `ratios`")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return given


def alternate(sides: Mapping[str, Side], num_runs: int) -> dict[str, list[float]]:
    """CPU seconds of each run, the sides in turn, after one run of each that is not counted."""
    for side in sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(num_runs):
        for name, side in sides.items():
            begin = time.process_time()
            side()
            seconds[name].append(time.process_time() - begin)
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """The median of the ratios of neighbouring runs."""
    return float(np.median([one / two for one, two in zip(seconds[slow], seconds[fast], strict=True)]))


def peak_mib(function: Callable[[], Any]) -> float:
    """Highest resident memory above that at the start, in a fresh process [MiB]."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(function, sender))
    process.start()
    found = receiver.recv()
    process.join()
    return found


def peak_rss_mib() -> float:
    """Highest resident memory of this process so far [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _measured(function: Callable[[], Any], sender: Any) -> None:
    before = _resident_mib()
    function()
    sender.send(peak_rss_mib() - before)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def run_sizes(
    description: str | None,
    compare: Callable[..., tuple[dict[str, float], dict[str, Any]]],
    sizes: Mapping[str, tuple[Any, ...]],
) -> None:
    """A whole benchmark: `compare(*size, num_runs)` gives the ratios and figures of each size."""
    given = arguments(description)
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {}
    for name, size in sizes.items():
        found, figures[name] = compare(*size, given.runs)
        ratios |= found
    finish(given, ratios, figures)


def finish(given: argparse.Namespace, ratios: Mapping[str, float], figures: Mapping[str, Any]) -> None:
    """Print the ratios, and write everything where it was asked for."""
    for name, value in ratios.items():
        print(f"{name:70} {value:8.2f}")
    if given.json:
        machine = {"processor": platform.processor() or platform.machine(), "threads": given.threads}
        machine |= {"torch": torch.__version__, "python": platform.python_version()}
        found = {"ratios": dict(ratios), "figures": dict(figures), "machine": machine}
        given.json.write_text(json.dumps(found, indent=2) + "\n")
