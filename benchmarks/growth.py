"""How the cost grows: candidates of a case, tiles of an image, records of a set.

python benchmarks/growth.py [--json FILE]
Scoring 1 to 64 candidates and 1 to 13 tiles; reading, encoding and packing 100 to 100,000 records, with time and memory
per record; and the fill of rows of 16,384 tokens on lengths with VisualPRM400K's means (126.9 words and 5.6 steps a
solution, arXiv 2503.10291; log-normal, sigma 0.5; 1, 3, 5, 7 or 13 tiles of 256 tokens, equally likely; 1.5 tokens a
word, 11 a step, 100 of prompt).
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import alternate, arguments, finish, peak_mib, peak_rss_mib
from workload import GRIDS, make_work

from medprm.cases.jsonl import read_cases, write_cases
from medprm.encoding.packing import fill, pack
from medprm.encoding.settings import LabelSettings
from medprm.scoring.scorer import StepScorer
from medprm.training.dataset import build_dataset
from medprm.training.packing import pack_dataset

BUDGET = 16_384


def stated_lengths(num_records: int, seed: int = 0) -> list[int]:
    """Tokens of a sample of solutions, each with its image."""
    generator = np.random.default_rng(seed)
    words = generator.lognormal(np.log(126.9) - 0.125, 0.5, num_records)
    steps = np.maximum(1, generator.poisson(5.6, num_records))
    tiles = generator.choice(sorted(GRIDS), num_records)
    return (1.5 * words + 11 * steps + 256 * tiles + 100).astype(int).tolist()


def scoring_seconds(num_tiles: int, num_candidates: int, num_runs: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        work = make_work(Path(folder), num_tiles, num_candidates)
        scorer = StepScorer(work.loaded, work.encoder)
        case, solutions = work.cases[0]
        return float(np.median(alternate({"": lambda: scorer.score(case, solutions, work.root)}, num_runs)[""]))


def records_seconds(num_records: int) -> dict[str, float]:
    """Read, encode and pack cases of ten solutions each."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        work = make_work(root, 1, 10, 1)
        (item,) = work.cases
        cases = [
            item._replace(case=item.case.model_copy(update={"case_id": f"case_{number}"}))
            for number in range(max(1, num_records // 10))
        ]
        write_cases(root / "cases.jsonl", cases)
        seconds: dict[str, float] = {}

        def whole() -> None:
            begin = time.perf_counter()
            read = list(read_cases(root / "cases.jsonl"))
            seconds["read"] = time.perf_counter() - begin
            dataset = build_dataset(read, work.encoder, LabelSettings(), root, work.loaded.image_settings)
            pack_dataset(dataset, "tree", BUDGET)
            seconds["read, encode and pack"] = time.perf_counter() - begin

        peak = peak_mib(whole)
        whole()
    return {f"{name} [microseconds a record]": 1e6 * value / num_records for name, value in seconds.items()} | {
        "memory [KiB a record]": 1024 * peak / num_records
    }


def main() -> None:
    given = arguments(__doc__)
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {"scoring seconds": {}, "records": {}}
    for num_tiles, num_candidates in [(7, n) for n in (1, 4, 16, 64)] + [(tiles, 8) for tiles in sorted(GRIDS)]:
        seconds = scoring_seconds(num_tiles, num_candidates, given.runs)
        figures["scoring seconds"][f"{num_tiles} tiles, {num_candidates} candidates"] = seconds
        print(f"scoring {num_tiles:3} tiles {num_candidates:3} candidates {seconds:8.3f} s")
    by_candidates = figures["scoring seconds"]
    ratios["growth: 64 candidates / 1 candidate, 7 tiles"] = (
        by_candidates["7 tiles, 64 candidates"] / by_candidates["7 tiles, 1 candidates"]
    )
    for num_records in (100, 1_000, 10_000, 100_000):
        figures["records"][num_records] = found = records_seconds(num_records)
        print(f"records {num_records:7} " + ", ".join(f"{name} {value:.1f}" for name, value in found.items()))
    lengths = stated_lengths(100_000)
    begin = time.perf_counter()
    rows = pack(lengths, BUDGET)
    figures["packing seconds of 100,000"] = time.perf_counter() - begin
    ratios["packing: fill of rows of 16,384 tokens"] = fill(lengths, rows, BUDGET)
    print(f"packing 100,000 lengths: {figures['packing seconds of 100,000']:.2f} s")
    figures["peak_rss_mib"] = peak_rss_mib()
    finish(given, ratios, figures)


if __name__ == "__main__":
    main()
