"""Decoding: DICOM file to tiles against the bare decoder, one and two processes, and an epoch after the first.

python benchmarks/decoding.py [--json FILE]
A frame of 2048 x 2048, 16 bits, JPEG 2000 lossless and uncompressed; smooth shapes with noise, as a radiograph has. The
other side is `pydicom`'s `pixel_array` alone. The second epoch reads the tiles that the first has kept on disk
(`tiles.folder`), in a loader with an empty memory. Wall seconds for processes, CPU seconds else.
"""

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from measure import alternate, ratio, run_sizes
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from medprm.cases.schema import Case, Image
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.settings import TileSettings
from medprm.images.load import load_image
from medprm.images.settings import ImageSettings
from medprm.images.tiles import pixel_values, split_tiles

SIDE, TILE, MAX_TILES = 2048, 448, 12


def write_film(path: Path, is_compressed: bool, seed: int) -> None:
    """A made-up film."""
    generator = np.random.default_rng(seed)
    row, column = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    shade = 20_000 + 15_000 * np.sin(4 * row + seed) * np.cos(3 * column) + generator.normal(0, 60, (SIDE, SIDE))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(seed)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Modality, film.PhotometricInterpretation = "DX", "MONOCHROME2"
    film.Rows, film.Columns, film.SamplesPerPixel = SIDE, SIDE, 1
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 16, 15, 0
    film.WindowCenter, film.WindowWidth = 20_000, 40_000
    film.PixelData = shade.clip(0, 65_535).astype("<u2").tobytes()
    if is_compressed:
        film.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg")
    film.save_as(path, enforce_file_format=True)


def to_tiles(path: Path) -> int:
    """All that a case needs: decoding, window, RGB, tiles, normalised values."""
    return len(pixel_values(split_tiles(load_image(path), TILE, MAX_TILES)))


def bare(path: Path) -> int:
    return int(pydicom.dcmread(path).pixel_array.shape[0])


def wall_seconds(paths: list[Path], num_workers: int) -> float:
    with ProcessPoolExecutor(num_workers) as pool:
        list(pool.map(to_tiles, paths[:num_workers]))  # processes start, packages load
        begin = time.perf_counter()
        list(pool.map(to_tiles, paths))
        return time.perf_counter() - begin


def epoch_seconds(root: Path, num_files: int, kept: Path) -> float:
    """CPU seconds of a case's images, loader and all, for every file once."""
    loader = PixelLoader(root, ImageSettings(TILE, MAX_TILES), kept=TileSettings(folder=str(kept), memory_mib=0))
    begin = time.process_time()
    for number in range(num_files):
        loader.load(Case(case_id="a", modality="chest_xray", question="?", image=Image(path=f"{number}.dcm")))
    return time.process_time() - begin


def compare(name: str, is_compressed: bool, num_runs: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Ratios and figures of one transfer syntax."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.dcm" for number in range(8)]
        for number, path in enumerate(paths):
            write_film(path, is_compressed, number)
        seconds = alternate({"tiles": lambda: to_tiles(paths[0]), "bare": lambda: bare(paths[0])}, num_runs)
        walls = {str(number): wall_seconds(paths, number) for number in (1, 2)}
        epochs = [epoch_seconds(Path(folder), len(paths), Path(folder) / "tiles") for _ in range(1 + num_runs)]
    medians = {side: 1000 * float(np.median(runs)) for side, runs in seconds.items()}
    later = 1000 * float(np.median(epochs[1:])) / len(paths)
    print(f"{name}: {medians['tiles']:.0f} ms a file to tiles, {medians['bare']:.0f} ms bare, {later:.0f} ms kept")
    ratios = {
        f"decoding {name}: throughput to tiles / bare decoding": ratio(seconds, "bare", "tiles"),
        f"decoding {name}: one process / two processes": walls["1"] / walls["2"],
        f"decoding {name}: first epoch / a later one": epochs[0] / float(np.median(epochs[1:])),
    }
    figures = {"cpu_seconds": seconds, "wall_seconds_of_8_by_processes": walls, "cpu_seconds_of_epochs": epochs}
    return ratios, figures


if __name__ == "__main__":
    run_sizes(__doc__, compare, {name: (name, name == "JPEG 2000") for name in ("JPEG 2000", "uncompressed")})
