"""Ingest: files a second on two workers, memory over the run, and a run that is killed and resumed.

python benchmarks/ingest.py [--files 5000] [--json FILE]
Generated radiographs of 256 x 256, 12 bits in 16: two fifths uncompressed, one fifth each RLE, JPEG 2000 and deflated;
one file in a hundred is cut off. Every file is opened, checked and decoded, and written as PNG. The other side is one
process that reads the same files with pydicom's `pixel_array` and Pillow, and checks nothing. Memory is that of the
parent and of all its workers together, read from /proc every quarter of a second.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

SIDE = 256
SYNTAXES = (
    ExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
    DeflatedExplicitVRLittleEndian,
)


def write_files(root: Path, num_files: int) -> None:
    """Files of `num_files` / 4 patients, in folders of 100."""
    row, column = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    for number in range(num_files):
        generator = np.random.default_rng(number)
        shade = 2000 + 1200 * np.sin(4 * row + number) * np.cos(3 * column) + generator.normal(0, 20, (SIDE, SIDE))
        syntax = SYNTAXES[number % len(SYNTAXES)]
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = syntax if syntax == DeflatedExplicitVRLittleEndian else ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        film = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        film.StudyInstanceUID = generate_uid(entropy_srcs=["study", str(number // 2)])
        film.PatientID, film.Modality, film.BodyPartExamined = f"P{number // 4:06d}", "DX", "CHEST"
        film.Rows = film.Columns = SIDE
        film.SamplesPerPixel, film.PixelRepresentation, film.PhotometricInterpretation = 1, 0, "MONOCHROME2"
        film.BitsAllocated, film.BitsStored, film.HighBit = 16, 12, 11
        film.WindowCenter, film.WindowWidth = 2000, 4000
        film.PixelData = shade.clip(0, 4095).astype("<u2").tobytes()
        if syntax in (RLELossless, JPEG2000Lossless):
            film.compress(syntax, generate_instance_uid=False)
        path = root / f"{number // 100:03d}" / f"{number:06d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        film.save_as(path, enforce_file_format=True)
        if number % 100 == 99:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def command(source: Path, target: Path, *more: str) -> list[str]:
    fixed = ["--question", "What is seen?", "--images", "png", "--split"]
    return [sys.executable, "-m", "medprm.commands.ingest", str(source), "--to", str(target), *fixed, *more]


def watched(arguments: list[str], journal: Path, num_files: int) -> dict[str, Any]:
    """Seconds, and the highest memory in each fifth of the run [MiB]."""
    begin = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks = [0.0] * 5
    while process.poll() is None:
        done = journal.read_bytes().count(b"\n") if journal.exists() else 0
        part = min(4, 5 * done // (num_files + 1))
        peaks[part] = max(peaks[part], tree_mib(process.pid))
        time.sleep(0.25)
    seconds = time.perf_counter() - begin
    assert process.returncode == 0, process.returncode
    return {
        "seconds": seconds,
        "files_a_second": num_files / seconds,
        "peak_mib_by_fifth": [round(one) for one in peaks],
    }


def tree_mib(pid: int) -> float:
    """Resident memory of a process and all below it [MiB]; what they share is counted for each."""
    try:
        total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return total + sum(tree_mib(int(child)) for child in children)


def killed_and_resumed(source: Path, target: Path, num_files: int) -> int:
    """Kill with SIGKILL after a tenth, a third and three quarters, then let it finish; returns how often it was."""
    journal = target.with_name(f"{target.name}.journal") / "journal.jsonl"
    num_kills = 0
    for share in (0.1, 0.33, 0.75):
        process = subprocess.Popen(
            command(source, target, *(["--resume"] if num_kills else [])),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and (
            not journal.exists() or journal.read_bytes().count(b"\n") < share * num_files
        ):
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            num_kills += 1
        process.wait()
    subprocess.run(
        command(source, target, "--resume"), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return num_kills


def digest(folder: Path) -> str:
    """sha256 over names and contents of all files."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(f"{path.relative_to(folder)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def plain_seconds(source: Path, target: Path) -> float:
    """One process: pydicom decodes, Pillow writes, nothing is checked."""
    target.mkdir()
    begin = time.perf_counter()
    for number, path in enumerate(sorted(source.rglob("*.dcm"))):
        try:
            pixels = pydicom.dcmread(path).pixel_array
        # The files that are cut off raise several types.
        except Exception:
            continue
        Image.fromarray((pixels >> 4).astype(np.uint8)).save(target / f"{number:06d}.png")
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000, help="how many files are generated (default 5000)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_files(root / "source", given.files)
        whole = root / "whole"
        figures = watched(command(root / "source", whole), root / "whole.journal" / "journal.jsonl", given.files)
        figures["counts"] = json.loads((whole / "ingest.json").read_text())["files"]
        figures["num_kills"] = killed_and_resumed(root / "source", root / "killed", given.files)
        figures["is_identical_after_kills"] = digest(whole) == digest(root / "killed")
        seconds = plain_seconds(root / "source", root / "plain")
    figures["plain_files_a_second"] = given.files / seconds
    ratios = {"ingest, two workers, against one process of pydicom and Pillow": seconds / figures["seconds"]}
    for name, value in {**figures, **ratios}.items():
        print(f"{name:64} {value}")
    if given.json:
        given.json.write_text(json.dumps({"ratios": ratios, "figures": figures}, indent=2) + "\n")
    assert figures["is_identical_after_kills"] and figures["num_kills"] == 3, "a resumed run differs"


if __name__ == "__main__":
    main()
