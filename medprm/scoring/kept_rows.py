"""Scores of rows as they come: in memory, or in a file that a killed run goes on from.

In: numbered rows of scores. Out: the same again. A file begins with a line that names what is scored; each further
line is one row. The last line may be torn by a kill: its row is scored again. Every rank has a file of its own and
reads those of all; processes that are joined already can hand theirs over without files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import distributed

from medprm.errors import InputError


class KeptRows:
    """Row number -> its scores, in order; in memory alone."""

    def __init__(self) -> None:
        self._scores: dict[int, list[float]] = {}

    def __contains__(self, row: int) -> bool:
        return row in self._scores

    def __getitem__(self, row: int) -> list[float]:
        return self._scores[row]

    def add(self, row: int, scores: list[float]) -> None:
        self._scores[row] = scores

    def reload(self) -> None:
        """Nobody else writes."""


class SharedRows(KeptRows):
    """In the memory of several processes; `reload` gives each what all have scored, and waits for all of them."""

    def reload(self) -> None:
        if not (distributed.is_available() and distributed.is_initialized()):
            return
        parts: list[dict[int, list[float]]] = [{}] * distributed.get_world_size()
        distributed.all_gather_object(parts, self._scores)
        self._scores = {row: scores for part in parts for row, scores in part.items()}


class RowFile(KeptRows):
    """The same in `folder`, one file a rank. `identity` names checkpoint, settings and data; another one is refused."""

    def __init__(self, folder: Path, identity: str, rank: int = 0) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.identity = folder, identity
        self.path = folder / f"rank_{rank}.jsonl"
        _cut_torn_line(self.path)
        self.reload()
        if not self.path.is_file() or not self.path.stat().st_size:
            self._append({"scored": identity})

    def reload(self) -> None:
        """Take in what the other ranks have written."""
        for path in sorted(self.folder.glob("rank_*.jsonl")):
            head, *rows = _whole_lines(path) or [{"scored": self.identity}]
            if head.get("scored") != self.identity:
                raise InputError(
                    f"{path}: holds scores of another checkpoint, data or settings; resume=true needs those it began "
                    "with; overwrite=true scores anew"
                )
            self._scores |= {int(one["row"]): one["scores"] for one in rows}

    def add(self, row: int, scores: list[float]) -> None:
        super().add(row, scores)
        self._append({"row": row, "scores": scores})

    def _append(self, line: Mapping[str, Any]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that were written whole; another rank may be at its last one."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def _cut_torn_line(path: Path) -> None:
    """Back to the last whole line."""
    if path.is_file():
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            with open(path, "r+b") as file:
                file.truncate(whole)
