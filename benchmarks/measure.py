"""Time and memory for the benchmarks: the sides in turn, medians, and one table for all of them.

In: functions to compare and what each reads. Out: seconds, tokens, padding and peak memory of every side and the ratios
to the first, printed and for the JSON file. Peak memory is that of a process of its own.
"""

import argparse
import ctypes
import json
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch


class Side(NamedTuple):
    """One side of a comparison: a run of it, the tokens it reads and the padding beside them."""

    run: Callable[[], Any]
    num_tokens: int | None = None
    num_padding: int = 0


class Measured(NamedTuple):
    """What the runs of a side took."""

    seconds: list[float]
    peaks_mib: list[float]
    num_tokens: int | None = None
    num_padding: int = 0


class Found(NamedTuple):
    """What a benchmark has found: tables by title, ratios by name, and whatever else there is to keep."""

    tables: dict[str, Any]
    ratios: dict[str, float]
    figures: dict[str, Any]


def arguments(description: str | None) -> argparse.Namespace:
    """What every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each side; medians are reported")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", type=Path, help="file for the figures; the ratios are under `ratios`")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return given


def measure(
    sides: Mapping[str, Side],
    num_runs: int,
    *,
    clock: Callable[[], float] = time.process_time,
    num_peaks: int = 1,
) -> dict[str, Measured]:
    """Peaks first, in processes of their own; then seconds, after one run of each side that is not counted."""
    found = {name: Measured([], [], side.num_tokens, side.num_padding) for name, side in sides.items()}
    for _ in range(num_peaks):
        for name, side in sides.items():
            found[name].peaks_mib.append(peak_mib(side.run))
    for side in sides.values() if num_runs else ():
        side.run()
    for _ in range(num_runs):
        for name, side in sides.items():
            begin = clock()
            side.run()
            found[name].seconds.append(clock() - begin)
    return found


def ratio(found: Mapping[str, Measured], slow: str, fast: str) -> float:
    """The median of the ratios of neighbouring runs [seconds]."""
    pairs = zip(found[slow].seconds, found[fast].seconds, strict=True)
    return float(np.median([one / two for one, two in pairs]))


def peak_ratio(found: Mapping[str, Measured], large: str, small: str) -> float:
    """The same of peak memory."""
    pairs = zip(found[large].peaks_mib, found[small].peaks_mib, strict=True)
    return float(np.median([one / two for one, two in pairs]))


def show(title: str, found: Mapping[str, Measured]) -> dict[str, Any]:
    """Print both sides, and give them for the JSON file. The first side is ours; the ratios are to it."""
    ours = next(iter(found))
    rows = {name: _row(found, name, ours) for name in found}
    print(f"\n{title}\n{'':28}{'median s':>10}{'tokens':>9}{'padding':>9}{'peak MiB':>10}{'time':>8}{'memory':>8}")
    for name, row in rows.items():
        padding = None if row["padding_share"] is None else 100 * row["padding_share"]
        cells = [_cell(row["median_seconds"], 10, 4), _cell(row["tokens"], 9, 0), _cell(padding, 7, 1, " %")]
        cells += [_cell(row["peak_mib"], 10, 1), _cell(row["time_ratio"], 8, 2), _cell(row["memory_ratio"], 8, 2)]
        print(f"{name:28}" + "".join(cells))
    return rows


def _row(found: Mapping[str, Measured], name: str, ours: str) -> dict[str, Any]:
    one = found[name]
    has_seconds, has_peaks = bool(one.seconds), bool(one.peaks_mib)
    return {
        "median_seconds": float(np.median(one.seconds)) if has_seconds else None,
        "seconds": one.seconds,
        "tokens": one.num_tokens,
        "padding_share": one.num_padding / (one.num_tokens + one.num_padding) if one.num_tokens else None,
        "peak_mib": float(np.median(one.peaks_mib)) if has_peaks else None,
        "time_ratio": ratio(found, name, ours) if has_seconds else None,
        "memory_ratio": peak_ratio(found, name, ours) if has_peaks else None,
    }


def _cell(value: float | None, width: int, digits: int, unit: str = "") -> str:
    return f"{'-':>{width + len(unit)}}" if value is None else f"{value:{width},.{digits}f}{unit}"


def peak_mib(function: Callable[[], Any]) -> float:
    """Highest resident memory above that at the start, in a fresh process [MiB]."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(function, sender))
    process.start()
    sender.close()  # else a process that fails would be waited for without end
    found = receiver.recv()
    process.join()
    return found


def peak_rss_mib() -> float:
    """Highest resident memory of this process so far [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _measured(function: Callable[[], Any], sender: Any) -> None:
    torch.set_num_threads(1)  # the threads of the process that this one was forked from are not here
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before would be used without being counted
    Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
    before = _resident_mib()
    function()
    sender.send(_peak_mib() - before)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak_mib() -> float:
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def run_sizes(description: str | None, compare: Callable[..., Found], sizes: Mapping[str, tuple[Any, ...]]) -> None:
    """A whole benchmark: `compare(*size, num_runs)` for each size."""
    given = arguments(description)
    found = [compare(*size, given.runs) for size in sizes.values()]
    finish(
        given,
        {name: value for one in found for name, value in one.ratios.items()},
        {name: value for one in found for name, value in one.figures.items()},
        {name: value for one in found for name, value in one.tables.items()},
    )


def finish(
    given: argparse.Namespace,
    ratios: Mapping[str, float],
    figures: Mapping[str, Any],
    tables: Mapping[str, Any] | None = None,
) -> None:
    """Print the ratios, and write everything where it was asked for."""
    print()
    for name, value in ratios.items():
        print(f"{name:70} {value:8.2f}")
    if given.json:
        found = {"ratios": dict(ratios), "tables": dict(tables or {}), "figures": dict(figures)}
        found["machine"] = machine() | {"threads": getattr(given, "threads", 1)}
        given.json.write_text(json.dumps(found, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "cores_of_this_process": len(os.sched_getaffinity(0)),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
    }


def _field(file: str, name: str) -> str | None:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return None
