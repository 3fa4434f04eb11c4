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

import numpy as np
import pydicom
from measure import Found, Side, measure, ratio, run_sizes, show
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from medprm.cases.schema import Case, Image
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.settings import TileSettings
from medprm.images.load import load_image
from medprm.images.settings import ImageSettings
from medprm.images.tiles import pixel_values, split_tiles

SIDE, TILE, MAX_TILES, NUM_FILES = 2048, 448, 12, 8


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


def epoch(root: Path, num_files: int, kept: Path) -> None:
    """A case's images, loader and all, for every file once."""
    loader = PixelLoader(root, ImageSettings(TILE, MAX_TILES), kept=TileSettings(folder=str(kept), memory_mib=0))
    for number in range(num_files):
        loader.load(Case(case_id="a", modality="chest_xray", question="?", image=Image(path=f"{number}.dcm")))


def first_epoch(root: Path, num_files: int) -> None:
    """The same where no tile is kept yet."""
    with tempfile.TemporaryDirectory() as kept:
        epoch(root, num_files, Path(kept))


def compare(name: str, is_compressed: bool, num_runs: int) -> Found:
    """One transfer syntax: against the bare decoder, by processes, and by epochs."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = [root / f"{number}.dcm" for number in range(NUM_FILES)]
        for number, path in enumerate(paths):
            write_film(path, is_compressed, number)
        one_file = measure(
            {"to tiles": Side(lambda: to_tiles(paths[0])), "pydicom alone": Side(lambda: bare(paths[0]))}, num_runs
        )
        kept = root / "tiles"
        epoch(root, NUM_FILES, kept)
        epochs = measure(
            {
                "later epoch": Side(lambda: epoch(root, NUM_FILES, kept)),
                "first epoch": Side(lambda: first_epoch(root, NUM_FILES)),
            },
            num_runs,
        )
        with ProcessPoolExecutor(1) as single, ProcessPoolExecutor(2) as pair:
            pools = {"two processes": pair, "one process": single}
            sides = {one: Side(lambda pool=pool: list(pool.map(to_tiles, paths))) for one, pool in pools.items()}
            processes = measure(sides, num_runs, clock=time.perf_counter, num_peaks=0)
    tables = {
        f"{name}, one file": show(f"{name}, one file, CPU seconds", one_file),
        f"{name}, epochs": show(f"{name}, {NUM_FILES} files through the loader, CPU seconds", epochs),
        f"{name}, processes": show(f"{name}, {NUM_FILES} files, wall seconds", processes),
    }
    ratios = {
        f"decoding {name}: throughput to tiles / bare decoding": ratio(one_file, "pydicom alone", "to tiles"),
        f"decoding {name}: one process / two processes": ratio(processes, "one process", "two processes"),
        f"decoding {name}: first epoch / a later one": ratio(epochs, "first epoch", "later epoch"),
    }
    return Found(tables, ratios, {})


if __name__ == "__main__":
    run_sizes(__doc__, compare, {name: (name, name == "JPEG 2000") for name in ("JPEG 2000", "uncompressed")})
