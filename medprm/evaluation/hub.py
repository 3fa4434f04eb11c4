"""A set in the layout of the Hugging Face hub: README.md with its YAML header, Parquet by split, images.

In: cases by split, the folder of their images, the numbers of the data card. Out: a new folder; nothing is sent. Only
cases that say they are free of identifiers and name a licence may go into it: a hub is outside.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from medprm.cases.jsonl import records_of, write_records
from medprm.cases.schema import CaseSolutions
from medprm.errors import InputError
from medprm.evaluation.data_card_page import TITLES, totals_of
from medprm.images.files import resolve_image

ROWS_PER_FILE = 50_000
# Names as the records give them -> identifiers of the hub.
LICENCES = {
    "cc0": "cc0-1.0",
    "cc0-1.0": "cc0-1.0",
    "cc by 4.0": "cc-by-4.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc by-sa 4.0": "cc-by-sa-4.0",
    "mit": "mit",
    "apache-2.0": "apache-2.0",
}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
TABLES = ("modality", "source", "label", "category", "solution_labels", "final_answer")


def write_hub(
    folder: Path,
    name: str,
    splits: Mapping[str, Sequence[CaseSolutions]],
    image_root: Path,
    card: Mapping[str, Any],
) -> None:
    """README.md, data/SPLIT-00000-of-00001.parquet, and the images under the paths that the records name."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: not empty; give a new folder, so that nothing old goes along")
    licences = check_may_leave(splits)
    files: dict[str, int] = {}
    for split, cases in splits.items():
        files[split] = _write_split(folder / "data", split, cases)
        for item in cases:
            for image in item.case.all_images:
                target = folder / image.path
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    shutil.copyfile(resolve_image(image_root, image.path), target)
    (folder / "README.md").write_text(dataset_card(name, list(files), licences, card), encoding="utf-8")


def check_may_leave(splits: Mapping[str, Sequence[CaseSolutions]]) -> Counter[str]:
    """The licences of the cases; InputError where a case may hold identifiers, or names none."""
    licences: Counter[str] = Counter()
    for split, cases in splits.items():
        for item in cases:
            metadata = item.case.metadata
            where = f"{split} case {item.case.case_id}"
            if metadata.phi_removed is not True:
                raise InputError(
                    f"{where}: metadata.phi_removed is {metadata.phi_removed}; only cases that are known to be free of "
                    "identifiers go to a hub: de-identify them, and say so in the records"
                )
            if not metadata.licence:
                raise InputError(
                    f"{where}: metadata.licence is not given; a set is published under the licences of its cases: name "
                    "them in the records"
                )
            licences[metadata.licence] += 1
    return licences


def dataset_card(name: str, splits: Sequence[str], licences: Mapping[str, int], card: Mapping[str, Any]) -> str:
    """README.md: the header that the hub reads, then the numbers. No text, id or path of a case enters."""
    totals = card["totals"]
    known = {LICENCES.get(one.casefold(), "other") for one in licences}
    header: dict[str, Any] = {
        "pretty_name": name,
        "license": next(iter(known)) if len(known) == 1 else "other",
        "language": ["en"],
        "task_categories": ["image-text-to-text" if totals.get("images") else "text-classification"],
        "tags": ["process-reward-model", "medical", "step-labels", "medprm"],
        "size_categories": [next((word for limit, word in SIZES if totals["solutions"] < limit), "n>1M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits],
            }
        ],
    }
    if header["license"] == "other":
        header["license_name"] = "; ".join(sorted(licences))
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        f"# {name}",
        "",
        "Medical cases with candidate solutions in steps, and a label for each step. One row is a case with one",
        "solution; nested fields are JSON text (the schema is MedPRM's record). Unknown labels are not incorrect ones.",
        "**For research; not for clinical use.**",
        "",
        ", ".join(f"{num:,} {what}" for what, num in totals_of(card)) + ".",
        "",
        "Licences by case: " + ", ".join(f"{one} ({num:,})" for one, num in sorted(licences.items())) + ".",
    ]
    for key in TABLES:
        table = card["tables"].get(key, {})
        lines += ["", f"| {TITLES[key]} | |", "|---|---:|"]
        lines += [f"| {_cell(row)} | {num:,} |" for row, num in table.items()]
    if card["agreement"]:
        lines += [
            "",
            "| label sources | steps of both | same verdict | Cohen's kappa [95 % by patient] |",
            "|---|---:|---:|---:|",
        ]
        for one in card["agreement"]:
            kappa = one.get("kappa")
            shown = f"{kappa['value']:.3f} [{kappa['low']:.3f}, {kappa['high']:.3f}]" if kappa else "undefined"
            lines.append(
                f"| {one['first']}, {one['second']} | {one['n']:,} | {one['raw_agreement']['value']:.3f} | {shown} |"
            )
    return "\n".join([*lines, ""])


def _write_split(folder: Path, split: str, cases: Sequence[CaseSolutions]) -> int:
    num_rows = sum(max(1, len(item.solutions)) for item in cases)
    num_files = max(1, -(-num_rows // ROWS_PER_FILE))
    records: Iterator[Any] = records_of(cases)
    for number in range(num_files):
        path = folder / f"{split}-{number:05d}-of-{num_files:05d}.parquet"
        write_records(path, islice(records, ROWS_PER_FILE))
    return num_files


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
