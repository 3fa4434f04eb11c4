"""Annotation against a server: calls a second of client CPU, and what memory a further case takes.

python benchmarks/annotation.py [--cases 10000] [--json FILE]
The stub server of the tests in a process of its own (one core), cases of 5 steps, one judge's call and four calls of
n = 32 rollouts each, journal on disk. The other side is what the brief asks for: 150 calls a second of one client core.
Seconds are CPU seconds of the client, all its threads together.
"""

import argparse
import json
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from measure import peak_mib, peak_rss_mib

TESTS = Path(__file__).parents[1] / "tests"
sys.path.append(str(TESTS))

import stub_server  # noqa: E402
from annotation_run import annotate_config, write_inputs  # noqa: E402

from medprm.annotation.settings import MonteCarloSettings  # noqa: E402
from medprm.commands import annotate  # noqa: E402
from medprm.config import AnnotateConfig  # noqa: E402

NUM_STEPS, NUM_ROLLOUTS = 5, 32
USUAL: dict[str, Any] = {"overwrite": True, "num_bootstrap": AnnotateConfig.num_bootstrap}


def write(num_cases: int, folder: Path) -> None:
    """What is to be annotated."""
    write_inputs(folder / f"in_{num_cases}", num_cases=num_cases, num_solutions=1, num_steps=NUM_STEPS)


def run(num_cases: int, folder: Path, url: str) -> dict[str, float]:
    """One annotation of the cases of `write`; CPU seconds of this process for it, and calls by the ledger."""
    monte_carlo = MonteCarloSettings(
        policy="server", num_rollouts=NUM_ROLLOUTS, rollouts_per_round=NUM_ROLLOUTS, stopping="fixed"
    )
    server = {"concurrency": 16, "timeout_seconds": 120.0}
    config = annotate_config(
        folder / f"in_{num_cases}", folder / f"out_{num_cases}", url, server, monte_carlo=monte_carlo, **USUAL
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    annotate.run(config)
    after = resource.getrusage(resource.RUSAGE_SELF)
    ledger = json.loads((folder / f"out_{num_cases}" / "ledger.json").read_text())
    calls = sum(stage["num_attempts"] for stage in ledger["stages"].values())
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"calls": float(calls), "cpu_seconds": seconds, "peak_rss_mib": peak_rss_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="file for the figures; the ratios are under `ratios`")
    given = parser.parse_args()
    sizes = (given.cases // 10, given.cases)
    peaks = []
    with tempfile.TemporaryDirectory() as folder, stub_server.started() as url:
        for size in sizes:
            with ProcessPoolExecutor(1) as apart:  # what it frees here would be used again without being counted
                apart.submit(write, size, Path(folder)).result()
            peaks.append(peak_mib(lambda size=size: run(size, Path(folder), url)))  # type: ignore[misc]
        figures: dict[str, Any] = run(given.cases, Path(folder), url)
    rate = figures["calls"] / figures["cpu_seconds"]
    figures |= {f"peak MiB above the start, {size} cases": peak for size, peak in zip(sizes, peaks, strict=True)}
    figures["KiB a case"] = 1024 * (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
    ratios = {"annotation: calls a second of client CPU / 150": rate / 150}
    print(f"{given.cases} cases of {NUM_STEPS} steps: {figures['calls']:.0f} calls, {rate:.0f} a second of client CPU")
    print(
        f"memory: {peaks[1]:.0f} MiB, for a tenth of the cases {peaks[0]:.0f}: {figures['KiB a case']:.1f} KiB a case"
    )
    if given.json:
        given.json.write_text(json.dumps({"ratios": ratios, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
