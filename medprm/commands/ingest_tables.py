"""What an ingest writes when all files are read: records, the table of files, the table of refusals, and the counts.

All of it follows from the journal and the questions, in their order, so that a run that was killed and went on writes
the same bytes as one that was not. Nothing here holds more than one record at a time, but for --split.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from medprm.cases.atomic import replaced_file
from medprm.cases.deidentify_record import clean_case
from medprm.cases.folder import DESCRIPTION, SPLITS
from medprm.cases.jsonl import read_cases, write_cases
from medprm.cases.questions import Question
from medprm.cases.schema import Case, CaseSolutions
from medprm.cases.splits import SHARES, check_leakage, split_by_patient
from medprm.commands.ingest_journal import Journal, shown
from medprm.commands.ingest_records import CaseMaker, Refused, group_rows, relative_root
from medprm.commands.ingest_settings import IngestSettings
from medprm.errors import InputError

RECORDS, FILES, REFUSED, COUNTS = "records.jsonl", "files.csv", "refused.csv", "ingest.json"
OUTPUTS = (RECORDS, *(f"{name}.jsonl" for name in SPLITS), DESCRIPTION, FILES, REFUSED, COUNTS, "images")
FACTS = (
    "modality", "body_part", "view", "laterality", "patient_id", "age", "sex", "study_id", "series_id",
    "sop_instance_uid", "series_number", "instance_number", "num_frames", "rows", "columns", "burned_in",
)  # fmt: skip
APPLIED = ("transfer_syntax", "photometric", "decoder", "window", "inverted", "contradiction")
NUM_REASONS = 12


def write_outputs(journal: Journal, rows: Sequence[Question], settings: IngestSettings) -> dict[str, Any]:
    """Write everything to the target; returns the counts, which ingest.json holds as well."""
    target = settings.target
    # Tables hold paths and what libraries say of values: of de-identified files they stay beside the journal.
    tables = target if settings.deidentify is None else settings.working
    counts: dict[str, Any] = {"files": Counter(), "questions": Counter(), "refused": Counter(), "notes": Counter()}
    maker = CaseMaker(journal, rows, settings)
    groups = group_rows(rows)
    with replaced_file(tables / REFUSED) as draft, open(draft, "w", encoding="utf-8", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("kind", "where", "reason"))
        _write_files(tables / FILES, journal, table, counts)
        made = _made(maker, groups, table, counts)
        if settings.deidentify is not None:
            counts["texts"] = Counter()
            made = _cleaned(made, settings, counts["texts"])
        first = next(made, None)
        if first is None:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in counts["refused"].most_common(3))
            raise InputError(
                f"none of {len(rows)} questions has a case, so there is nothing to write: "
                f"{reasons or 'no file was read'}"
            )
        write_cases(target / RECORDS, _with(first, made))
    _write_json(target / DESCRIPTION, _description(settings))
    if settings.split:
        _write_splits(settings, counts)
    found = {
        name: dict(sorted(value.items())) if isinstance(value, Counter) else value for name, value in counts.items()
    }
    _write_json(tables / COUNTS, found)
    return found


def _with(first: CaseSolutions, others: Iterable[CaseSolutions]) -> Iterator[CaseSolutions]:
    yield first
    yield from others


def _made(maker: CaseMaker, groups: Any, table: Any, counts: dict[str, Any]) -> Iterator[CaseSolutions]:
    for made in maker.make(groups):
        if isinstance(made, Refused):
            counts["questions"]["refused"] += 1
            counts["refused"][kind_of(made.reason)] += 1
            table.writerow(("question", made.where, made.reason))
            continue
        assert isinstance(made, Case)
        counts["questions"]["kept"] += 1
        counts["questions"]["without patient id"] += made.patient_id is None
        counts["questions"][f"modality {made.modality}"] += 1
        yield CaseSolutions(made, [])


def _cleaned(made: Iterable[CaseSolutions], settings: IngestSettings, found: Counter[str]) -> Iterator[CaseSolutions]:
    """The cases with what identifies replaced in their texts; how much of each kind goes into `found`."""
    for item in made:
        before = found.total()
        case = clean_case(item.case, settings.text, found)
        found["cases with any"] += found.total() > before
        yield CaseSolutions(case, [])


def _write_files(path: Path, journal: Journal, refused: Any, counts: dict[str, Any]) -> None:
    first_of: dict[str, str] = {}
    with replaced_file(path) as draft, open(draft, "w", encoding="utf-8", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("path", "status", "reason", *FACTS, *APPLIED, "duplicate_of", "notes"))
        for line in journal.read():
            name = shown(line["entry"][0])
            facts = line.get("facts", {})
            frames = line.get("frames", {}).values()
            applied = next((one["applied"] for one in frames if "applied" in one), {})
            uid = facts.get("sop_instance_uid")
            duplicate_of = first_of.setdefault(uid, name) if uid else name
            counts["files"][line["status"]] += 1
            counts["files"]["same SOP Instance UID as another"] += duplicate_of != name
            counts["notes"].update(kind_of(note) for note in line["notes"])
            if applied.get("contradiction"):
                counts["notes"][applied["contradiction"]] += 1
            if line["status"] == "refused":
                counts["refused"][kind_of(line["reason"])] += 1
                refused.writerow(("file", name, line["reason"]))
            table.writerow(
                (
                    name,
                    line["status"],
                    line.get("reason") or next((one["refusal"] for one in frames if "refusal" in one), ""),
                    *(_cell(facts.get(one)) for one in FACTS),
                    *(_cell(applied.get(one)) for one in APPLIED),
                    duplicate_of if duplicate_of != name else "",
                    " | ".join(line["notes"]),
                )
            )


def kind_of(reason: str) -> str:
    """A reason without the file's name and its numbers, so that reasons can be counted."""
    text = re.sub(r"^.*?: ", "", reason, count=1) if ": " in reason else reason
    return re.sub(r"\d[\d,.]*", "#", text.partition(";")[0])[:120]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value


def _description(settings: IngestSettings) -> dict[str, Any]:
    root = {"image_root": relative_root(settings.target, settings.source)} if settings.images == "keep" else {}
    return {
        **root,
        "source": "ingest",
        "images": settings.images,
        "windows": list(settings.windows),
        "deidentified": settings.deidentify is not None,
    }


def _write_splits(settings: IngestSettings, counts: dict[str, Any]) -> None:
    """By the column split where every row has it, else by patient."""
    cases = read_cases(settings.target / RECORDS)
    if all(item.case.metadata.split for item in cases):
        splits = {name: [item for item in cases if item.case.metadata.split == name] for name in SPLITS}
    else:
        splits = split_by_patient(cases, SHARES, settings.seed)
    check_leakage(splits)
    for name, inside in splits.items():
        if inside:
            write_cases(settings.target / f"{name}.jsonl", inside)
    counts["splits"] = {name: len(inside) for name, inside in splits.items()}


def _write_json(path: Path, value: Any) -> None:
    with replaced_file(path) as draft:
        draft.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def print_table(counts: dict[str, Any], target: Path, seconds: float) -> None:
    """The counts, and what was refused and why, the commonest reasons first."""
    num_files = counts["files"].get("read", 0) + counts["files"].get("refused", 0)
    print(f"{num_files} files in {seconds:.0f} s ({num_files / max(seconds, 1e-9):.0f} a second)")
    for kind in ("files", "questions"):
        print(f"{kind}: " + ", ".join(f"{count} {name}" for name, count in counts[kind].items() if count))
    if "texts" in counts:
        replaced = ", ".join(f"{count} {name}" for name, count in counts["texts"].items() if count)
        print(f"replaced in texts: {replaced or 'nothing'}; the risk is lower, not gone: read a sample")
    for title, kind in (("refused", "refused"), ("read, but note", "notes")):
        reasons = sorted(counts[kind].items(), key=lambda item: (-item[1], item[0]))
        for reason, count in reasons[:NUM_REASONS]:
            print(f"  {title} {count:>7}  {reason}")
        if len(reasons) > NUM_REASONS:
            print(
                f"  {title} {sum(count for _reason, count in reasons[NUM_REASONS:]):>7}  for other reasons: {REFUSED}"
            )
    print(f"written to {target}")
