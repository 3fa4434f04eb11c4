"""The shards of an annotation run: tasks of a SLURM array, each with a folder and a journal of its own.

In: i/n, or n to put together. Out: the cases of a shard; the candidates or the machines' records of all shards in the
order of the cases, as one run would have written them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from medprm.cases.jsonl import read_records
from medprm.cases.schema import CaseSolutions, Record
from medprm.config import AnnotateConfig, Shard, parse_shard
from medprm.errors import InputError
from medprm.run import CONFIG_FILE, flat


def run_folder(config: AnnotateConfig) -> Path:
    """Where the run, or its shard, leaves what it makes."""
    folder = Path(config.output_dir)
    return folder if config.shard is None else shard_folder(folder, parse_shard(config.shard))


def shard_folder(folder: Path, shard: Shard) -> Path:
    """Beside the run's own folder, which is there only when the shards are put together."""
    return folder.with_name(f"{folder.name}.shards") / f"{shard.index}_of_{shard.num}"


def cases_of_shard(cases: Sequence[CaseSolutions], config: AnnotateConfig) -> Sequence[CaseSolutions]:
    """Every n-th case, so that shards are of one size and alike."""
    if config.shard is None:
        return cases
    shard = parse_shard(config.shard)
    return cases[shard.index :: shard.num]


def budget_of_shard(config: AnnotateConfig) -> float | None:
    """An even part of the run's budget: shards have journals of their own, and do not know what others spend."""
    if config.budget_dollars is None or config.shard is None:
        return config.budget_dollars
    return config.budget_dollars / parse_shard(config.shard).num


def shard_folders(config: AnnotateConfig, file_name: str, free: tuple[str, ...]) -> list[Path]:
    """The folders of all shards; InputError where one is missing, not finished, or made with other settings."""
    assert config.merge_shards is not None
    folders = [
        shard_folder(Path(config.output_dir), Shard(index, config.merge_shards)) for index in range(config.merge_shards)
    ]
    wanted = flat(asdict(config))
    for index, folder in enumerate(folders):
        again = f"python annotate.py ... shard={index}/{config.merge_shards} resume=true"
        if not (folder / file_name).is_file():
            raise InputError(f"{folder}: not there, or not finished; {again}")
        found = flat(yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8")))
        differ = [
            f"{name} was {found.get(name)!r}, is {wanted.get(name)!r}"
            for name in sorted(found.keys() | wanted.keys())
            if found.get(name) != wanted.get(name) and not name.startswith((*free, "shard", "merge_shards"))
        ]
        if differ:
            raise InputError(f"{folder}: made with other settings: {'; '.join(differ)}; give those again, or {again}")
    return folders


def merged_records(folders: Sequence[Path], cases: Sequence[CaseSolutions], file_name: str) -> Iterator[Record]:
    """The records of every case, taken from the shard that had it. InputError where a shard has other cases."""
    streams = [_Stream(folder / file_name) for folder in folders]
    for place, item in enumerate(cases):
        stream = streams[place % len(streams)]
        records = stream.of_case(item.case.case_id)
        if not records and item.solutions:
            raise InputError(
                f"{stream.path}: case {item.case.case_id} is not where it should be; the cases are others than those "
                "that the shards were made of"
            )
        yield from records
    for stream in streams:
        if stream.next is not None:
            raise InputError(f"{stream.path}: case {stream.next.case_id} is none of the cases of this run")


class _Stream:
    """Records of a file, one case at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records = read_records(path)
        self.next: Record | None = next(self._records, None)

    def of_case(self, case_id: str) -> list[Record]:
        found = []
        while self.next is not None and self.next.case_id == case_id:
            found.append(self.next)
            self.next = next(self._records, None)
        return found
