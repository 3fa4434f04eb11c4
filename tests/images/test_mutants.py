"""Damaged files: no hang, no crash of the caller, no gigabyte of memory, and every error names its file."""

from pathlib import Path

import pytest
from isolated_tasks import read_mutant
from mutants import mutate
from pydicom.data import get_testdata_file

from medprm.images.isolation import IsolationSettings, Item, run_isolated

# Transfer syntaxes, colour spaces and lookup tables of every kind that is decoded.
SOURCES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPEG2000.dcm",
    "examples_palette.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "rtdose_rle.dcm",
)
SETTINGS = IsolationSettings(num_workers=2, seconds_per_file=30.0, memory_mib=640)
MAX_MIB = 1000  # resident, of a worker, over all the files it was given


def items(num: int) -> list[Item]:
    paths = [str(get_testdata_file(name, download=False)) for name in SOURCES]
    assert "None" not in paths
    made = []
    for seed in range(num):
        source = paths[seed % len(paths)]
        name = f"mutants/{seed:05d}_{Path(source).name}"
        frame = 0 if "2frame" in source or "rtdose" in source else None
        made.append(Item(name, {"source": source, "name": name, "seed": seed, "frame": frame}))
    return made


def check(num: int) -> dict[str, int]:
    found = list(run_isolated(read_mutant, items(num), SETTINGS))
    assert len(found) == num
    counts = {"decoded": 0, "refused": 0, "ended": 0, "peak_mib": 0}
    for outcome in found:
        refusal = outcome.refusal or outcome.result["refusal"]
        counts["ended" if outcome.refusal else "refused" if refusal else "decoded"] += 1
        if refusal:
            assert outcome.name in refusal and "\n" not in refusal, outcome
        if outcome.result:
            counts["peak_mib"] = max(counts["peak_mib"], round(outcome.result["peak_mib"]))
    assert counts["peak_mib"] < MAX_MIB, counts
    # Both happen, or the mutations are too weak or too strong to show anything.
    assert counts["decoded"] > num / 10 and counts["refused"] > num / 5, counts
    return counts


def test_300_mutants() -> None:
    print(check(300))


@pytest.mark.slow
def test_3000_mutants() -> None:
    print(check(3000))


def test_mutants_differ_from_their_file_and_come_again() -> None:
    data = Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes()
    made = [mutate(data, seed) for seed in range(60)]
    assert made == [mutate(data, seed) for seed in range(60)]
    assert len({*made, data}) > 55
