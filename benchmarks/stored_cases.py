"""Memory of a train split that stays in its file beside one that is read: `python benchmarks/stored_cases.py`

Writes a file of cases with long documents (--cases, --kilobytes each), opens it in a fresh process by `read_cases` and
by `scan_cases`, and reads every case once in random order. Prints file size, time, and what the process grew by (RSS).
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--kilobytes", type=int, default=20)
    parser.add_argument("--open", choices=("read", "scan"), help="used by the benchmark itself")
    parser.add_argument("--file", type=Path, help="used by the benchmark itself")
    given = parser.parse_args()
    if given.open:
        measure(given.file, given.open)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.jsonl"
        write(file, given.cases, given.kilobytes)
        print(f"{given.cases} cases, {file.stat().st_size / 2**20:.0f} MiB")
        for way in ("read", "scan"):
            command = [sys.executable, __file__, "--open", way, "--file", str(file)]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def write(file: Path, num_cases: int, kilobytes: int) -> None:
    words = random.Random(0).choices(
        ["opacity", "effusion", "nodule", "left", "right", "lower", "lobe", "heart", "clear", "fever"], k=20_000
    )
    with open(file, "w", encoding="utf-8") as lines:
        for number in range(num_cases):
            begin = number * 7 % 10_000
            text = " ".join(words[begin:])[: 1000 * kilobytes]
            record = {
                "case_id": f"case_{number}",
                "modality": "text",
                "question": "What is it?",
                "documents": [{"document_id": "d", "text": f"{number} {text}"}],
                "solution_id": "s0",
                "solution_steps": [{"step_id": 0, "content": "It is this.", "label": "correct"}],
            }
            lines.write(json.dumps(record) + "\n")


def measure(file: Path, way: str) -> None:
    from medprm.cases.jsonl import read_cases
    from medprm.cases.stored import scan_cases

    process = psutil.Process()
    before, begin = process.memory_info().rss, time.perf_counter()
    cases = read_cases(file) if way == "read" else scan_cases(file)
    opened = time.perf_counter() - begin
    order = list(range(len(cases)))
    random.Random(0).shuffle(order)
    begin = time.perf_counter()
    length = sum(len(cases[number].case.documents[0].text) for number in order)
    grown = (process.memory_info().rss - before) / 2**20
    passed = time.perf_counter() - begin
    print(
        f"{way}: {grown:.0f} MiB more, opened in {opened:.1f} s, read through in {passed:.1f} s ({length:,} characters)"
    )


if __name__ == "__main__":
    main()
