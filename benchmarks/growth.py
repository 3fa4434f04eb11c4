"""How the cost grows: candidates of a case, tiles of an image, records of a set.

python benchmarks/growth.py [--json FILE]
Scoring 1 to 64 candidates and 1 to 13 tiles; reading, encoding and packing 100 to 100,000 records, with time and memory
per record (medians of three); and the fill of rows of 16,384 tokens on lengths with VisualPRM400K's means (126.9 words
and 5.6 steps a solution, arXiv 2503.10291; log-normal, sigma 0.5; 1, 3, 5, 7 or 13 tiles of 256 tokens, equally likely;
1.5 tokens a word, 11 a step, 100 of prompt). CPU seconds.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from measure import Measured, Side, arguments, finish, measure, ratio, show
from workload import GRIDS, Work, make_work

from medprm.cases.jsonl import read_cases, write_cases
from medprm.encoding.packing import fill, pack
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.settings import LabelSettings
from medprm.encoding.tree import tree_size
from medprm.scoring.scorer import StepScorer
from medprm.training.dataset import build_dataset
from medprm.training.packing import pack_dataset

BUDGET = 16_384
RECORDS, RECORD_RUNS, SOLUTIONS_A_CASE = (100, 1_000, 10_000, 100_000), 3, 10


def stated_lengths(num_records: int, seed: int = 0) -> list[int]:
    """Tokens of a sample of solutions, each with its image."""
    generator = np.random.default_rng(seed)
    words = generator.lognormal(np.log(126.9) - 0.125, 0.5, num_records)
    steps = np.maximum(1, generator.poisson(5.6, num_records))
    tiles = generator.choice(sorted(GRIDS), num_records)
    return (1.5 * words + 11 * steps + 256 * tiles + 100).astype(int).tolist()


def scoring(sizes: Sequence[tuple[int, int]], num_runs: int) -> dict[str, Measured]:
    """Trees of (tiles, candidates), in turn."""
    with ExitStack() as stack:
        sides = {}
        for num_tiles, num_candidates in sizes:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            work = make_work(root, num_tiles, num_candidates)
            sides[f"{num_tiles} tiles, {num_candidates} candidates"] = scoring_side(work)
        return measure(sides, num_runs)


def scoring_side(work: Work) -> Side:
    scorer = StepScorer(work.loaded, work.encoder)
    case, solutions = work.cases[0]
    num_tiles = PixelLoader(work.root, work.loaded.image_settings).count(case)
    tree = tree_size([work.encoder.encode(case, one.step_texts, num_tiles) for one in solutions])
    return Side(lambda: scorer.score(case, solutions, work.root), tree)


def records(num_records: int) -> tuple[Measured, float]:
    """Read, encode and pack cases of ten solutions each; the second number is seconds of reading alone."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        work = make_work(root, 1, SOLUTIONS_A_CASE, 1)
        (item,) = work.cases
        cases = [
            item._replace(case=item.case.model_copy(update={"case_id": f"case_{number}"}))
            for number in range(num_records // SOLUTIONS_A_CASE)
        ]
        write_cases(root / "cases.jsonl", cases)
        reading = []

        def whole() -> None:
            begin = time.process_time()
            read = list(read_cases(root / "cases.jsonl"))
            reading.append(time.process_time() - begin)
            dataset = build_dataset(read, work.encoder, LabelSettings(), root, work.loaded.image_settings)
            pack_dataset(dataset, "tree", BUDGET)

        found = measure({"": Side(whole)}, RECORD_RUNS)[""]
    return found, float(np.median(reading[-RECORD_RUNS:]))


def a_record(num_records: int, found: Measured, reading: float) -> dict[str, float]:
    """Time and memory by record."""
    return {
        "read [microseconds a record]": 1e6 * reading / num_records,
        "read, encode and pack [microseconds a record]": 1e6 * float(np.median(found.seconds)) / num_records,
        "memory [KiB a record]": 1024 * float(np.median(found.peaks_mib)) / num_records,
    }


def main() -> None:
    given = arguments(__doc__)
    by_candidates = scoring([(7, number) for number in (1, 4, 16, 64)], given.runs)
    by_tiles = scoring([(tiles, 8) for tiles in sorted(GRIDS)], given.runs)
    tables = {"candidates": show("scoring, candidates of a case", by_candidates)}
    tables["tiles"] = show("scoring, tiles of the image", by_tiles)
    ratios = {
        "growth: 64 candidates / 1 candidate, 7 tiles": ratio(
            by_candidates, *(list(by_candidates)[i] for i in (-1, 0))
        ),
        "growth: 13 tiles / 1 tile, 8 candidates": ratio(by_tiles, *(list(by_tiles)[i] for i in (-1, 0))),
    }
    measured = {number: records(number) for number in RECORDS}
    tables["records"] = show(
        "read, encode and pack", {f"{number:,} records": one for number, (one, _) in measured.items()}
    )
    by_record = {number: a_record(number, *one) for number, one in measured.items()}
    for number, one in by_record.items():
        print(f"records {number:7} " + ", ".join(f"{name} {value:.1f}" for name, value in one.items()))
    whole = "read, encode and pack [microseconds a record]"
    ratios["growth: time a record, 100,000 / 1,000 records"] = by_record[100_000][whole] / by_record[1_000][whole]
    lengths = stated_lengths(100_000)
    begin = time.process_time()
    rows = pack(lengths, BUDGET)
    seconds = time.process_time() - begin
    ratios["packing: fill of rows of 16,384 tokens"] = fill(lengths, rows, BUDGET)
    print(f"packing 100,000 lengths: {seconds:.2f} s")
    finish(given, ratios, {"records": by_record, "packing seconds of 100,000": seconds}, tables)


if __name__ == "__main__":
    main()
